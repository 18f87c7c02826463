// A vCPU actor: runs its engine until it halts or is kicked, and sleeps while it is halted. Which engine that is, only main.ts
// knows.

import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import { raiseMachineEvent, SHUTDOWN } from '#shared/ipc/machine-event.js';
import type { VcpuEngine } from './engine.js';
import type { VcpuParams } from './protocol.js';

export function createVcpu(context: ActorContext, engine: VcpuEngine): ActorBehaviour {
  const { index } = context.params as VcpuParams;
  if (context.generation === 1) engine.powerOn();
  else engine.takeOver();

  return {
    poll: () => {
      context.failpoint('run');
      const result = engine.run();
      if (result === 'shutdown') {
        raiseMachineEvent(context.layout, context.views.i32, SHUTDOWN, index);
        return false;
      }
      return result === 'kicked';
    },
    waitForWork: (timeoutMs) => engine.waitForWork(timeoutMs),
    pause: () => engine.pause(),
    resume: () => engine.resume(),
    save: () => engine.save(),
    restore: (state) => engine.restore(state),
    reset: () => engine.powerOn(),
    halt: () => {},
    inspect: () => engine.inspect(),
  };
}
