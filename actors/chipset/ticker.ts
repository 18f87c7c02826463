// Who is due when: finds the earliest deadline of the LAPIC timers, the PIT and the RTC, announces it on the chipset page,
// and signals whatever has expired. A vCPU that arms an earlier deadline than the announced one rings the doorbell:
// each side stores its own word first and reads the other's after, so one of the two sees the other.

import { getDouble, type ChipsetPage, viewChipsetPage } from '#shared/chipset/chipset-page.js';
import {
  CHIPSET_LOCK_TICKER,
  CHIPSET_PAGE_BYTES,
  CHIPSET_TICKER_WAKE,
  PIT_NEXT_EDGE,
} from '#shared/chipset/page-layout.js';
import { takePitEdge } from '#shared/chipset/pit.js';
import { rtcNextEventNs, rtcUpdate } from '#shared/chipset/rtc.js';
import { RTC_IRQ } from '#shared/acpi/platform.js';
import { breakChipsetLock, lockChipset, unlockChipset } from '#shared/x86/chipset-lock.js';
import { PENDING_TIMER } from '#shared/x86/cpu-state.js';
import { type InterruptFabric, setIsaIrq, signalVcpu } from '#shared/x86/interrupt-delivery.js';
import { createDeadlineViews, type DeadlineViews } from '#shared/x86/ticker-words.js';

/** Between two readings of the monotonic and the wall clock. */
const CLOCK_JITTER_NS = 2000;

export interface TickerClock {
  /** Host monotonic ns, and UTC ns since 1970. */
  nowNs(): number;
  wallNs(): number;
}

export class Ticker {
  readonly #fabric: InterruptFabric;
  readonly #clock: TickerClock;
  readonly #page: ChipsetPage;
  readonly #words: DeadlineViews;
  /** The deadline that each vCPU was last told of: it may take a while to act on it. */
  readonly #signalled: number[];

  constructor(fabric: InterruptFabric, clock: TickerClock) {
    this.#fabric = fabric;
    this.#clock = clock;
    this.#page = viewChipsetPage(fabric.words.buffer, fabric.chipset * 4, CHIPSET_PAGE_BYTES);
    this.#words = createDeadlineViews(fabric, CHIPSET_TICKER_WAKE);
    this.#signalled = new Array<number>(fabric.vcpuCount).fill(0);
  }

  /** After a restart: the predecessor may have died under the lock. */
  takeOver(): void {
    breakChipsetLock(this.#fabric, CHIPSET_LOCK_TICKER);
  }

  /** Signals all that has expired. */
  tick(): void {
    const nowNs = this.#clock.nowNs();
    for (let vcpu = 0; vcpu < this.#fabric.vcpuCount; vcpu++) {
      const deadline = this.#words.loadDeadlineNs(vcpu);
      if (deadline === 0 || deadline > nowNs || deadline === this.#signalled[vcpu]) continue;
      this.#signalled[vcpu] = deadline;
      signalVcpu(this.#fabric, vcpu, PENDING_TIMER);
    }
    lockChipset(this.#fabric, CHIPSET_LOCK_TICKER);
    const pitEdge = takePitEdge(this.#page, nowNs);
    const wallNs = this.#clock.wallNs();
    const rtcIrq = rtcNextEventNs(this.#page, wallNs) !== Infinity && rtcUpdate(this.#page, wallNs);
    unlockChipset(this.#fabric);
    if (pitEdge) {
      setIsaIrq(this.#fabric, 0, false);
      setIsaIrq(this.#fabric, 0, true);
    }
    if (rtcIrq) setIsaIrq(this.#fabric, RTC_IRQ, true);
  }

  /** Host ns at which {@link tick} is wanted next; announces it to the vCPUs. */
  announceWake(): number {
    for (;;) {
      const wakeNs = this.#earliestNs();
      this.#words.storeWakeNs(wakeNs);
      // Whoever armed before the store did not ring: look again.
      if (this.#earliestNs() >= wakeNs - CLOCK_JITTER_NS) return wakeNs;
    }
  }

  #earliestNs(): number {
    let earliest = Infinity;
    for (let vcpu = 0; vcpu < this.#fabric.vcpuCount; vcpu++) {
      const deadline = this.#words.loadDeadlineNs(vcpu);
      if (deadline !== 0 && deadline !== this.#signalled[vcpu]) earliest = Math.min(earliest, deadline);
    }
    lockChipset(this.#fabric, CHIPSET_LOCK_TICKER);
    const pit = getDouble(this.#page, PIT_NEXT_EDGE);
    const rtc = rtcNextEventNs(this.#page, this.#clock.wallNs());
    unlockChipset(this.#fabric);
    return Math.min(earliest, pit, rtc + this.#clock.nowNs());
  }
}
