// One vCPU's local APIC: xAPIC registers, x2APIC MSRs, IA32_APIC_BASE, priorities, EOI and IPIs. Intel SDM vol. 3 ch. 11.
// Runs in the vCPU's worker on its LAPIC page (lapic-layout.ts); nothing here hops to another thread. The timer is in
// lapic-timer.ts. Leaves out CMCI, SMI, directed EOI, and arbitration ids. After every change that could make an
// interrupt deliverable it sets PENDING_INTERRUPT; the engine clears the bit and asks again when IF allows.

import { picAcknowledge } from '#shared/chipset/pic.js';
import { picHasInterrupt } from '#shared/chipset/pic-lines.js';
import {
  XAPIC_BROADCAST,
  X2APIC_BROADCAST,
  deliverMessage,
  deliverToVcpu,
  x2apicLogicalId,
} from '#shared/x86/apic-message.js';
import { lockChipset, unlockChipset, vcpuLockOwner } from '#shared/x86/chipset-lock.js';
import { APIC_BASE, PENDING_INTERRUPT } from '#shared/x86/cpu-state.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { endOfInterrupt } from '#shared/x86/ioapic-page.js';
import * as L from '#shared/x86/lapic-layout.js';
import * as R from '#shared/x86/lapic-registers.js';
import { isRegister, isX2apicValue } from '#shared/x86/lapic-registers.js';
import { resetLapicPage, resetLapicRegisters, storeApicBase } from '#shared/x86/lapic-reset.js';
import { LapicTimer } from '#shared/x86/lapic-timer.js';

/** What a LAPIC needs from its surroundings. */
export interface LapicHooks {
  /** Host monotonic ns. */
  nowNs(): number;
  /** Rings the ticker: a deadline earlier than its announced wake time is armed. */
  ringTicker(): void;
}

/** A vCPU's local APIC. All methods run in that vCPU's worker. */
export class Lapic {
  readonly timer: LapicTimer;
  /** Results of {@link msrRead}, u32 each. */
  lo = 0;
  hi = 0;
  /** Guest-physical base of the register page as IA32_APIC_BASE says. */
  base = 0;
  readonly #fabric: InterruptFabric;
  readonly #words: Int32Array;
  readonly #page: number;
  readonly #state: number;
  readonly #pendingWord: number;
  readonly #vcpu: number;

  /** Attaches to the page as it is; call {@link reset} once at power-on. */
  constructor(fabric: InterruptFabric, vcpuIndex: number, hooks: LapicHooks) {
    this.#fabric = fabric;
    this.#words = fabric.words;
    this.#vcpu = vcpuIndex;
    this.#page = fabric.lapic[vcpuIndex]!;
    this.#state = fabric.state[vcpuIndex]!;
    this.#pendingWord = fabric.pending[vcpuIndex]!;
    this.timer = new LapicTimer(fabric, vcpuIndex, hooks);
    this.reload();
  }

  /** Power-on: APIC_BASE too. */
  reset(): void {
    resetLapicPage(this.#fabric, this.#vcpu);
    this.timer.reload();
    this.reload();
  }

  /** INIT: registers as after power-on; APIC_BASE, the mode and the ids stay. SDM §11.4.7.3, §11.12.5.1. */
  resetForInit(): void {
    resetLapicRegisters(this.#fabric, this.#vcpu);
    this.timer.reload();
  }

  /** After the pages were filled by a restore or by another worker: refreshes what this object caches. */
  reload(): void {
    const base = APIC_BASE >> 2;
    const lo = this.#words[this.#state + base]! & 0xffff_f000;
    this.base = (lo >>> 0) + (this.#words[this.#state + base + 1]! & R.APIC_BASE_HIGH_MASK) * 0x1_0000_0000;
    this.recheck();
  }

  /** LAPIC_MODE_*. The MMIO page answers only in xAPIC mode. */
  get mode(): number {
    return this.#load(L.LAPIC_MODE);
  }

  /**
   * Writes IA32_APIC_BASE. False is #GP: reserved bits, or a transition that SDM §11.12.5 forbids.
   * The caller drops its TLB when the base or the mode changed.
   */
  setApicBase(lo: number, hi: number): boolean {
    if ((lo & 0x2ff) !== 0 || (hi & ~R.APIC_BASE_HIGH_MASK) !== 0) return false;
    const enabled = (lo & R.APIC_BASE_EN) !== 0;
    const x2apic = (lo & R.APIC_BASE_EXTD) !== 0;
    const was = this.mode;
    const next = !enabled ? L.LAPIC_MODE_DISABLED : x2apic ? L.LAPIC_MODE_X2APIC : L.LAPIC_MODE_XAPIC;
    if (x2apic && !enabled) return false;
    if (was === L.LAPIC_MODE_X2APIC && next === L.LAPIC_MODE_XAPIC) return false;
    if (was === L.LAPIC_MODE_DISABLED && next === L.LAPIC_MODE_X2APIC) return false;
    const bsp = this.#words[this.#state + (APIC_BASE >> 2)]! & R.APIC_BASE_BSP;
    storeApicBase(this.#fabric, this.#vcpu, (lo & ~R.APIC_BASE_BSP) | bsp, hi);
    this.reload();
    if (next === L.LAPIC_MODE_DISABLED && was !== next) {
      this.resetForInit();
      this.#store(L.LAPIC_XAPIC_ID, this.#vcpu & 0xff);
    }
    this.recheck();
    return true;
  }

  /** A 32-bit read at an offset of the register page; only aligned offsets are defined. */
  mmioRead(offset: number): number {
    const register = offset >> 4;
    switch (register) {
      case R.R_ID:
        return this.#load(L.LAPIC_XAPIC_ID) << 24;
      case R.R_DFR:
        return this.#load(L.LAPIC_DFR);
      case R.R_ICR_HIGH:
        return this.#load(L.LAPIC_ICR_HIGH);
      case R.R_LDR:
        return this.#load(L.LAPIC_LDR);
      case R.R_ICR:
        return this.#load(L.LAPIC_ICR_LOW);
      case R.R_EOI:
      case R.R_APR:
      case R.R_RRD:
        return 0;
      default:
        return this.#readRegister(register);
    }
  }

  /** A 32-bit write at an offset of the register page. */
  mmioWrite(offset: number, value: number): void {
    const register = offset >> 4;
    switch (register) {
      case R.R_ID:
        return this.#store(L.LAPIC_XAPIC_ID, value >>> 24);
      case R.R_LDR:
        return this.#store(L.LAPIC_LDR, value & 0xff00_0000);
      case R.R_DFR:
        return this.#store(L.LAPIC_DFR, value | 0x0fff_ffff);
      case R.R_ICR_HIGH:
        return this.#store(L.LAPIC_ICR_HIGH, value & 0xff00_0000);
      case R.R_ICR:
        this.#store(L.LAPIC_ICR_LOW, value & 0xc_cfff);
        return this.#sendIpi(value, this.#load(L.LAPIC_ICR_HIGH) >>> 24, XAPIC_BROADCAST);
      case R.R_SELF_IPI:
        return this.#raiseError(R.ESR_ILLEGAL_REGISTER);
      case R.R_LVT_TIMER:
      case R.R_LVT_TIMER + 1:
      case R.R_LVT_TIMER + 2:
      case R.R_LVT_TIMER + 3:
      case R.R_LVT_TIMER + 4:
      case R.R_LVT_ERROR:
        return this.#writeLvt(register - R.R_LVT_TIMER, value & R.LVT_WRITABLE[register - R.R_LVT_TIMER]!);
      default:
        this.#writeRegister(register, value);
    }
  }

  /** RDMSR 0x800–0x8FF: the value in {@link lo} and {@link hi}; false is #GP. */
  msrRead(index: number): boolean {
    const register = index - 0x800;
    this.hi = 0;
    if (this.mode !== L.LAPIC_MODE_X2APIC) return false;
    switch (register) {
      case R.R_ID:
        this.lo = this.#load(L.LAPIC_X2APIC_ID);
        return true;
      case R.R_LDR:
        this.lo = x2apicLogicalId(this.#load(L.LAPIC_X2APIC_ID));
        return true;
      case R.R_ICR:
        this.lo = this.#load(L.LAPIC_ICR_LOW) >>> 0;
        this.hi = this.#load(L.LAPIC_ICR_HIGH) >>> 0;
        return true;
      case R.R_APR:
      case R.R_EOI:
      case R.R_RRD:
      case R.R_DFR:
      case R.R_ICR_HIGH:
      case R.R_SELF_IPI:
        return false;
      default:
        if (!isRegister(register)) return false;
        this.lo = this.#readRegister(register) >>> 0;
        return true;
    }
  }

  /** WRMSR 0x800–0x8FF; false is #GP. */
  msrWrite(index: number, lo: number, hi: number): boolean {
    const register = index - 0x800;
    if (this.mode !== L.LAPIC_MODE_X2APIC) return false;
    if (register === R.R_ICR) {
      if ((lo & ~0xc_cfff) !== 0) return false;
      this.#store(L.LAPIC_ICR_LOW, lo);
      this.#store(L.LAPIC_ICR_HIGH, hi);
      this.#sendIpi(lo, hi >>> 0, X2APIC_BROADCAST);
      return true;
    }
    if (hi !== 0 || !isX2apicValue(register, lo)) return false;
    if (register === R.R_SELF_IPI) this.#sendSelf(lo & 0xff);
    else if (register >= R.R_LVT_TIMER && register <= R.R_LVT_ERROR)
      this.#writeLvt(register - R.R_LVT_TIMER, lo);
    else this.#writeRegister(register, lo);
    return true;
  }

  /** CR8: TPR's high half. */
  get cr8(): number {
    return (this.#load(L.LAPIC_TPR) >> 4) & 15;
  }

  set cr8(value: number) {
    this.#writeTpr((value & 15) << 4);
  }

  /** Whether an interrupt (the 8259's or a vector of this LAPIC) would be delivered if IF allowed it. */
  hasInterrupt(): boolean {
    return this.hasExtInt() || this.pendingVector() >= 0;
  }

  /** Takes that interrupt: its vector, or −1 when it vanished. ExtINT goes first, with an INTA cycle. */
  acknowledgeInterrupt(): number {
    if (this.hasExtInt()) {
      this.#store(L.LAPIC_EXTINT_REQUEST, 0);
      lockChipset(this.#fabric, vcpuLockOwner(this.#vcpu));
      const vector = picAcknowledge(this.#fabric);
      unlockChipset(this.#fabric);
      return vector;
    }
    const vector = this.pendingVector();
    if (vector >= 0) this.acknowledge(vector);
    return vector;
  }

  /** Whether the 8259 pair has an interrupt that reaches this vCPU: by LINT0, past a disabled LAPIC, or by the IOAPIC. */
  hasExtInt(): boolean {
    if (this.#load(L.LAPIC_EXTINT_REQUEST) !== 0 && picHasInterrupt(this.#fabric)) return true;
    if (this.#vcpu !== 0) return false;
    if (this.mode !== L.LAPIC_MODE_DISABLED) {
      const lint0 = this.#load(L.LAPIC_LVT + L.LVT_LINT0 * 4);
      if ((lint0 & L.LVT_MASKED) !== 0 || ((lint0 >> 8) & 7) !== L.DELIVERY_EXTINT) return false;
    }
    return picHasInterrupt(this.#fabric);
  }

  /** The highest vector in IRR that PPR lets through, or −1. */
  pendingVector(): number {
    if (this.mode === L.LAPIC_MODE_DISABLED) return -1;
    const vector = this.#highest(L.LAPIC_IRR);
    return vector >= 0 && vector >> 4 > this.#ppr() >> 4 ? vector : -1;
  }

  /** Moves a vector from IRR to ISR. */
  acknowledge(vector: number): void {
    const bit = 1 << (vector & 31);
    const word = (vector >> 5) << 2;
    Atomics.and(this.#words, this.#page + ((L.LAPIC_IRR + word) >> 2), ~bit);
    this.#store(L.LAPIC_ISR + word, this.#load(L.LAPIC_ISR + word) | bit);
  }

  /** Ends the service of the highest vector; a level one is broadcast to the IOAPIC. */
  endOfInterrupt(): void {
    const vector = this.#highest(L.LAPIC_ISR);
    if (vector < 0) return;
    const bit = 1 << (vector & 31);
    const word = (vector >> 5) << 2;
    this.#store(L.LAPIC_ISR + word, this.#load(L.LAPIC_ISR + word) & ~bit);
    if ((this.#load(L.LAPIC_TMR + word) & bit) !== 0) endOfInterrupt(this.#fabric, vector);
    this.recheck();
  }

  /** Fires the timer when its deadline has passed. True when it had. */
  timerExpired(nowNs: number): boolean {
    return this.timer.expire(nowNs);
  }

  /** Sets PENDING_INTERRUPT of this vCPU when something is deliverable. */
  recheck(): void {
    if (this.hasInterrupt()) Atomics.or(this.#words, this.#pendingWord, PENDING_INTERRUPT);
  }

  #readRegister(register: number): number {
    if (register >= R.R_ISR && register < R.R_ISR + 8)
      return this.#load(L.LAPIC_ISR + (register - R.R_ISR) * 4);
    if (register >= R.R_TMR && register < R.R_TMR + 8)
      return this.#load(L.LAPIC_TMR + (register - R.R_TMR) * 4);
    if (register >= R.R_IRR && register < R.R_IRR + 8)
      return this.#load(L.LAPIC_IRR + (register - R.R_IRR) * 4);
    if (register >= R.R_LVT_TIMER && register <= R.R_LVT_ERROR) {
      return this.#load(L.LAPIC_LVT + (register - R.R_LVT_TIMER) * 4);
    }
    switch (register) {
      case R.R_VERSION:
        return R.VERSION;
      case R.R_TPR:
        return this.#load(L.LAPIC_TPR);
      case R.R_PPR:
        return this.#ppr();
      case R.R_SVR:
        return this.#load(L.LAPIC_SVR);
      case R.R_ESR:
        return this.#load(L.LAPIC_ESR);
      case R.R_TIMER_INITIAL:
        return this.#load(L.LAPIC_TIMER_INITIAL);
      case R.R_TIMER_CURRENT:
        return this.timer.currentCount();
      case R.R_TIMER_DIVIDE:
        return this.#load(L.LAPIC_TIMER_DIVIDE);
      default:
        this.#raiseError(R.ESR_ILLEGAL_REGISTER);
        return 0;
    }
  }

  #writeRegister(register: number, value: number): void {
    switch (register) {
      case R.R_TPR:
        return this.#writeTpr(value & 0xff);
      case R.R_EOI:
        return this.endOfInterrupt();
      case R.R_SVR:
        return this.#writeSvr(value);
      case R.R_ESR:
        this.#store(L.LAPIC_ESR, this.#load(L.LAPIC_ESR_LATCH));
        return this.#store(L.LAPIC_ESR_LATCH, 0);
      case R.R_TIMER_INITIAL:
        return this.timer.writeInitialCount(value);
      case R.R_TIMER_DIVIDE:
        return this.timer.writeDivide(value & 0xb);
      default:
        if (!isRegister(register)) this.#raiseError(R.ESR_ILLEGAL_REGISTER);
    }
  }

  #writeTpr(value: number): void {
    this.#store(L.LAPIC_TPR, value);
    this.recheck();
  }

  /** Software disable masks every LVT entry, and keeps it masked. SDM §11.4.7.2. */
  #writeSvr(value: number): void {
    this.#store(L.LAPIC_SVR, value & 0x3ff);
    if ((value & L.SVR_APIC_ENABLED) !== 0) return;
    for (let i = 0; i < L.LVT_COUNT; i++) {
      this.#store(L.LAPIC_LVT + i * 4, this.#load(L.LAPIC_LVT + i * 4) | L.LVT_MASKED);
    }
  }

  /**
   * SDM §11.4.7.2 keeps all entries masked while software-disabled. LINT0 and LINT1 take what is written all the same, as
   * with QEMU: small kernels set up LINT0 for the 8259 first and SVR after it.
   */
  #writeLvt(entry: number, value: number): void {
    const disabled = (this.#load(L.LAPIC_SVR) & L.SVR_APIC_ENABLED) === 0;
    const isWire = entry === L.LVT_LINT0 || entry === L.LVT_LINT1;
    const next = disabled && !isWire ? value | L.LVT_MASKED : value;
    if (entry === L.LVT_TIMER) this.timer.writeLvt(next);
    else this.#store(L.LAPIC_LVT + entry * 4, next);
    if (entry === L.LVT_LINT0) this.recheck();
  }

  /** SDM §11.6.1: ICR bits 7:0 vector, 10:8 delivery mode, 11 logical, 14 level, 15 trigger, 19:18 shorthand. */
  #sendIpi(low: number, destination: number, broadcast: number): void {
    const vector = low & 0xff;
    const mode = (low >> 8) & 7;
    const shorthand = (low >> 18) & 3;
    if (mode <= L.DELIVERY_LOWEST_PRIORITY && vector < 16) return this.#raiseError(R.ESR_SEND_ILLEGAL_VECTOR);
    // INIT level de-assert: only arbitration ids, which nothing has any more.
    if (mode === L.DELIVERY_INIT && (low & 0xc000) === 0x8000) return;
    if (mode === L.DELIVERY_EXTINT) return;
    if (shorthand === 0) {
      deliverMessage(this.#fabric, destination, (low & 0x800) !== 0, broadcast, mode, vector, false);
    } else if (shorthand === 1) {
      if (mode === L.DELIVERY_FIXED) this.#sendSelf(vector);
    } else {
      for (let vcpu = 0; vcpu < this.#fabric.vcpuCount; vcpu++) {
        if (shorthand === 3 && vcpu === this.#vcpu) continue;
        deliverToVcpu(this.#fabric, vcpu, mode, vector, false);
      }
    }
  }

  #sendSelf(vector: number): void {
    if (vector < 16) return this.#raiseError(R.ESR_SEND_ILLEGAL_VECTOR);
    deliverToVcpu(this.#fabric, this.#vcpu, L.DELIVERY_FIXED, vector, false);
  }

  #raiseError(bit: number): void {
    const was = this.#load(L.LAPIC_ESR_LATCH);
    this.#store(L.LAPIC_ESR_LATCH, was | bit);
    const lvt = this.#load(L.LAPIC_LVT + L.LVT_ERROR * 4);
    if ((was & bit) !== 0 || (lvt & L.LVT_MASKED) !== 0) return;
    deliverToVcpu(this.#fabric, this.#vcpu, L.DELIVERY_FIXED, lvt & 0xff, false);
  }

  #ppr(): number {
    const tpr = this.#load(L.LAPIC_TPR);
    const service = this.#highest(L.LAPIC_ISR);
    return service >> 4 > tpr >> 4 ? service & 0xf0 : tpr;
  }

  #highest(field: number): number {
    const first = this.#page + (field >> 2);
    for (let word = 7; word >= 0; word--) {
      const bits = Atomics.load(this.#words, first + word);
      if (bits !== 0) return word * 32 + 31 - Math.clz32(bits);
    }
    return -1;
  }

  #load(offset: number): number {
    return Atomics.load(this.#words, this.#page + (offset >> 2));
  }

  #store(offset: number, value: number): void {
    Atomics.store(this.#words, this.#page + (offset >> 2), value | 0);
  }
}
