// The two kinds of i64 that a vCPU and the ticker tell each other: each LAPIC timer's deadline, and when the ticker wakes. As
// numbers of host ns: exact below 2^53, that is 104 days of uptime.

import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { LAPIC_TIMER_DEADLINE } from '#shared/x86/lapic-layout.js';

export interface DeadlineViews {
  /** Host ns, 0 for none. */
  loadDeadlineNs(vcpu: number): number;
  storeDeadlineNs(vcpu: number, deadlineNs: number): void;
  /** Host ns, or Infinity. */
  loadWakeNs(): number;
  storeWakeNs(wakeNs: number): void;
}

const NEVER = 0x7fff_ffff_ffff_ffffn;

/** `wakeOffset`: of CHIPSET_TICKER_WAKE in the chipset page. */
export function createDeadlineViews(fabric: InterruptFabric, wakeOffset: number): DeadlineViews {
  const longs = new BigInt64Array(fabric.words.buffer);
  const deadlines = fabric.lapic.map((page) => (page + (LAPIC_TIMER_DEADLINE >> 2)) >> 1);
  const wake = (fabric.chipset + (wakeOffset >> 2)) >> 1;
  return {
    loadDeadlineNs: (vcpu) => Number(Atomics.load(longs, deadlines[vcpu]!)),
    storeDeadlineNs: (vcpu, deadlineNs) => void Atomics.store(longs, deadlines[vcpu]!, BigInt(deadlineNs)),
    loadWakeNs: () => {
      const wakeNs = Atomics.load(longs, wake);
      return wakeNs === NEVER ? Infinity : Number(wakeNs);
    },
    storeWakeNs: (wakeNs) =>
      void Atomics.store(longs, wake, wakeNs === Infinity ? NEVER : BigInt(Math.floor(wakeNs))),
  };
}
