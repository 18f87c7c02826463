// An actor for tests: 64 registers in its state page, and a counter of accesses beside them. Register 0xf0 throws, 0xf4
// hangs, 0xf8 exits: each once a request, marked in the state page first, so that the request that is seen again passes.
import * as thread from 'node:worker_threads';
import { runActor } from '#shared/ipc/actor.js';

runActor(thread, (ctx) => {
  const state = new Uint32Array(ctx.memory.buffer, ctx.statePage.offset, 128);
  const fail = (offset) => {
    if (offset < 0xf0 || state[100] === server.sequence) return;
    state[100] = server.sequence;
    if (offset === 0xf0) throw new Error('register 0xf0');
    if (offset === 0xf4) for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    if (offset === 0xf8) process.exit(7);
  };
  const server = ctx.serveRegisters({
    read: (offset) => {
      ctx.failpoint('read');
      fail(offset);
      return state[offset >> 2];
    },
    write: (offset, _size, value) => {
      ctx.failpoint('write');
      fail(offset);
      state[offset >> 2] = value;
      state[101]++;
    },
  });
  return {
    poll: () => false,
    pause: () => {},
    resume: () => {},
    save: () => new Uint8Array(state.slice().buffer),
    restore: (bytes) => state.set(new Uint32Array(bytes.buffer, bytes.byteOffset, 128)),
    reset: () => state.fill(0),
    halt: () => {},
    inspect: () => ({ generation: ctx.generation, writes: state[101] }),
  };
});
