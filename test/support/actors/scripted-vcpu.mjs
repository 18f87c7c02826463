// A vCPU for tests of the machine: no engine, it does what its parameters say: raise an event, throw, or count turns in its
// state page until it is told otherwise. Sleeps on its PENDING word, as a real one does.
import * as thread from 'node:worker_threads';
import { runActor } from '#shared/ipc/actor.js';
import { raiseMachineEvent } from '#shared/ipc/machine-event.js';
import { BusClient, SPACE_MMIO } from '#shared/ipc/register-bus.js';

const PENDING = 176;

runActor(thread, (ctx) => {
  const { script = 'count', event, value, index } = ctx.params;
  const { i32 } = ctx.views;
  const pending = (ctx.layout.vcpus[index].state.offset + PENDING) >> 2;
  const state = new Int32Array(ctx.memory.buffer, ctx.statePage.offset, 16);
  const bus = new BusClient(ctx.views, ctx.layout, index, ctx.senderOptions);
  return {
    poll: () => {
      Atomics.exchange(i32, pending, 0);
      if (script === 'throw') throw new Error('vCPU failed');
      if (script === 'event') raiseMachineEvent(ctx.layout, i32, event, value);
      if (script === 'sleep' || script === 'event') return false;
      if (script === 'bus') bus.write(SPACE_MMIO, 0xfe000000, 4, 1, 0);
      state[0]++;
      return true;
    },
    waitForWork: (timeoutMs) => void Atomics.wait(i32, pending, 0, timeoutMs),
    pause: () => {},
    resume: () => {},
    save: () => new Uint8Array(0),
    restore: () => {},
    reset: () => {},
    halt: () => {},
    inspect: () => ({ turns: state[0] }),
  };
});
