// The chipset actor is the machine's ticker: it sleeps until the earliest deadline of all LAPIC timers, the PIT and the RTC,
// and then says so (PENDING_TIMER, IRQ 0, IRQ 8). The registers themselves are on the chipset page and are served by the
// vCPUs' workers (shared/x86/chipset-ports.ts), so the guest loses nothing when this actor is replaced.

import { monotonicNs, wallNs } from '#shared/base/clock.js';
import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import { resetChipset } from '#shared/x86/chipset-power-on.js';
import { createInterruptFabric } from '#shared/x86/interrupt-delivery.js';
import { restoreChipsetPage, saveChipsetPage } from './state.js';
import { Ticker } from './ticker.js';

export function createChipset(context: ActorContext): ActorBehaviour {
  const fabric = createInterruptFabric(context.memory, context.layout, context.wire);
  const ticker = new Ticker(fabric, { nowNs: monotonicNs, wallNs });
  ticker.takeOver();
  return {
    poll: () => {
      context.failpoint('tick');
      ticker.tick();
      return false;
    },
    nextDeadlineNs: () => ticker.announceWake(),
    pause: () => {},
    resume: () => {},
    save: () => saveChipsetPage(fabric, monotonicNs()),
    restore: (state) => restoreChipsetPage(fabric, state, monotonicNs()),
    reset: () => resetChipset(fabric, monotonicNs(), wallNs()),
    halt: () => {},
  };
}
