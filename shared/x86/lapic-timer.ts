// The local APIC's timer: one-shot, periodic and TSC-deadline. Intel SDM vol. 3 §11.5.4. The bus clock is 1 GHz, as the
// TSC, so counts are host ns over the divider; nothing counts down, a deadline in host ns stands in the LAPIC page
// and the ticker (or HLT's time-out) watches it. Periods that passed unseen collapse into one interrupt.

import { CHIPSET_TICKER_WAKE } from '#shared/chipset/page-layout.js';
import { deliverToVcpu } from '#shared/x86/apic-message.js';
import { TSC_OFFSET } from '#shared/x86/cpu-state.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { type DeadlineViews, createDeadlineViews } from '#shared/x86/ticker-words.js';
import * as L from '#shared/x86/lapic-layout.js';

/** LVT bits 18:17. */
const MODE_MASK = 3 << 17;
const MODE_PERIODIC = 1 << 17;
const MODE_TSC_DEADLINE = 2 << 17;
const TWO_32 = 0x1_0000_0000;

export class LapicTimer {
  readonly #fabric: InterruptFabric;
  readonly #vcpu: number;
  readonly #hooks: { nowNs(): number; ringTicker(): void };
  readonly #page: number;
  readonly #ticker: DeadlineViews;
  readonly #tscOffset: number;
  /** The page's deadline as a number: only this worker writes it. */
  #deadlineNs = 0;

  constructor(fabric: InterruptFabric, vcpuIndex: number, hooks: { nowNs(): number; ringTicker(): void }) {
    this.#fabric = fabric;
    this.#vcpu = vcpuIndex;
    this.#hooks = hooks;
    this.#page = fabric.lapic[vcpuIndex]!;
    this.#ticker = createDeadlineViews(fabric, CHIPSET_TICKER_WAKE);
    this.#tscOffset = fabric.state[vcpuIndex]! + (TSC_OFFSET >> 2);
    this.reload();
  }

  /** Host ns of the next expiry; 0 is never. HLT waits no longer than this. */
  get deadlineNs(): number {
    return this.#deadlineNs;
  }

  /** After a restore: the page's deadline is the truth. */
  reload(): void {
    this.#deadlineNs = this.#ticker.loadDeadlineNs(this.#vcpu);
  }

  /** LVT timer entry. A change to or from TSC-deadline mode disarms. */
  writeLvt(value: number): void {
    const was = this.#load(L.LAPIC_LVT);
    this.#store(L.LAPIC_LVT, value);
    const isDeadline = (value & MODE_MASK) === MODE_TSC_DEADLINE;
    if (isDeadline === ((was & MODE_MASK) === MODE_TSC_DEADLINE)) return;
    this.#store(L.LAPIC_TIMER_INITIAL, 0);
    this.#storeTscDeadline(0, 0);
    this.#arm(0);
  }

  /** Starts the count, or stops it with 0; ignored in TSC-deadline mode. */
  writeInitialCount(value: number): void {
    if (this.#isTscDeadline()) return;
    this.#store(L.LAPIC_TIMER_INITIAL, value);
    this.#arm(value === 0 ? 0 : this.#hooks.nowNs() + (value >>> 0) * this.#divisor());
  }

  writeDivide(value: number): void {
    const count = this.currentCount();
    this.#store(L.LAPIC_TIMER_DIVIDE, value);
    if (count !== 0) this.#arm(this.#hooks.nowNs() + count * this.#divisor());
  }

  /** What the current-count register reads. */
  currentCount(): number {
    if (this.#deadlineNs === 0 || this.#isTscDeadline()) return 0;
    const left = this.#deadlineNs - this.#hooks.nowNs();
    if (left > 0) return Math.min(Math.ceil(left / this.#divisor()), this.#load(L.LAPIC_TIMER_INITIAL) >>> 0);
    if ((this.#load(L.LAPIC_LVT) & MODE_MASK) !== MODE_PERIODIC) return 0;
    const period = this.#periodNs();
    return Math.ceil((period - (-left % period)) / this.#divisor());
  }

  /** IA32_TSC_DEADLINE: 0 disarms; a deadline in the past fires at once. Ignored outside TSC-deadline mode. */
  writeTscDeadline(lo: number, hi: number): void {
    if (!this.#isTscDeadline()) return;
    this.#storeTscDeadline(lo, hi);
    if (lo === 0 && hi === 0) return this.#arm(0);
    const words = this.#fabric.words;
    const offset = (words[this.#tscOffset]! >>> 0) + words[this.#tscOffset + 1]! * TWO_32;
    const deadline = Math.max(1, (hi >>> 0) * TWO_32 + (lo >>> 0) - offset);
    // A deadline of centuries is never; the page holds an i64.
    this.#arm(Math.min(deadline, Number.MAX_SAFE_INTEGER));
  }

  readTscDeadlineLow(): number {
    return this.#load(L.LAPIC_TSC_DEADLINE) >>> 0;
  }

  readTscDeadlineHigh(): number {
    return this.#load(L.LAPIC_TSC_DEADLINE + 4) >>> 0;
  }

  /** After the guest moved its TSC: the deadline is in TSC time. */
  rebase(): void {
    if (this.#isTscDeadline() && this.#deadlineNs !== 0) {
      this.writeTscDeadline(this.readTscDeadlineLow(), this.readTscDeadlineHigh());
    }
  }

  /** Fires when the deadline has passed: true then. */
  expire(nowNs: number): boolean {
    const deadline = this.#deadlineNs;
    if (deadline === 0 || nowNs < deadline) return false;
    const lvt = this.#load(L.LAPIC_LVT);
    if ((lvt & MODE_MASK) === MODE_PERIODIC) {
      const period = this.#periodNs();
      this.#arm(deadline + period * (1 + Math.floor((nowNs - deadline) / period)));
    } else {
      this.#storeTscDeadline(0, 0);
      this.#arm(0);
    }
    if ((lvt & L.LVT_MASKED) === 0) {
      deliverToVcpu(this.#fabric, this.#vcpu, L.DELIVERY_FIXED, lvt & 0xff, false);
    }
    return true;
  }

  /** Rings the ticker when it would wake too late for the armed deadline. Call it on the way out of HLT. */
  alertTicker(): void {
    const deadline = this.#deadlineNs;
    if (deadline !== 0 && deadline < this.#ticker.loadWakeNs()) this.#hooks.ringTicker();
  }

  /** Store, then look at the ticker's wake time; the ticker stores that, then looks at the deadlines. */
  #arm(deadlineNs: number): void {
    this.#deadlineNs = deadlineNs === 0 ? 0 : Math.ceil(deadlineNs);
    this.#ticker.storeDeadlineNs(this.#vcpu, this.#deadlineNs);
    if (deadlineNs === 0) return;
    if (this.#deadlineNs <= this.#hooks.nowNs()) this.expire(this.#hooks.nowNs());
    else this.alertTicker();
  }

  #isTscDeadline(): boolean {
    return (this.#load(L.LAPIC_LVT) & MODE_MASK) === MODE_TSC_DEADLINE;
  }

  /** Never shorter than 10 µs: a guest cannot make its own vCPU do nothing but take ticks. */
  #periodNs(): number {
    return Math.max((this.#load(L.LAPIC_TIMER_INITIAL) >>> 0) * this.#divisor(), 10_000);
  }

  /** SDM figure 11-10: bits 3, 1, 0 give 2, 4, 8, …, 128, 1. */
  #divisor(): number {
    const divide = this.#load(L.LAPIC_TIMER_DIVIDE);
    return 1 << ((((divide & 3) | ((divide >> 1) & 4)) + 1) & 7);
  }

  #storeTscDeadline(lo: number, hi: number): void {
    this.#store(L.LAPIC_TSC_DEADLINE, lo);
    this.#store(L.LAPIC_TSC_DEADLINE + 4, hi);
  }

  #load(offset: number): number {
    return Atomics.load(this.#fabric.words, this.#page + (offset >> 2));
  }

  #store(offset: number, value: number): void {
    Atomics.store(this.#fabric.words, this.#page + (offset >> 2), value | 0);
  }
}
