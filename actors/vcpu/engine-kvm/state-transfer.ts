// The whole architectural state of a vCPU between KVM and its pages of the arena, in the order that KVM wants: mode before
// LAPIC, LAPIC before the timer's deadline. Runs in the vCPU's worker, outside KVM_RUN, with no exit half done.

import type { Addon, StateName } from '#native/addon.js';
import { monotonicNs } from '#shared/base/clock.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { VcpuLayout } from '#shared/memory/machine-layout.js';
import * as S from '#shared/x86/cpu-state.js';
import { LAPIC_TIMER_DEADLINE as LAPIC_DEADLINE, LAPIC_TSC_DEADLINE } from '#shared/x86/lapic-layout.js';
import * as M from '#shared/x86/msr-index.js';
import { clearPending, setOwnPending } from '#shared/x86/vcpu-words.js';
import {
  activityToMpState,
  eventsFromPage,
  eventsToPage,
  mpStateToActivity,
  undeliveredVector,
} from './event-state.js';
import { fpuFromPage, fpuToPage } from './float-state.js';
import { apicMode, lapicFromPage, lapicToPage, returnVector } from './lapic-state.js';
import { MsrPort } from './msr-state.js';
import {
  debugFromPage,
  debugToPage,
  regsFromPage,
  regsToPage,
  sregsFromPage,
  sregsToPage,
} from './register-state.js';

const NMIS = S.PENDING_NMI | S.PENDING_NMI_AGAIN;
/** Of a state page: what other engines and threads ask of a vCPU. It means nothing to another machine. */
const TRANSIENT = S.PENDING_TLB_FLUSH | S.PENDING_CODE_WRITE | S.PENDING_STEP;

/** AMD's Processor Programming References, HWCR.TscFreqSel: the TSC counts at P0's frequency. */
const MSR_K7_HWCR = 0xc001_0015;
const HWCR_TSC_FREQ_SEL = 1n << 24n;

export class StateTransfer {
  readonly msrs: MsrPort;
  readonly #addon: Addon;
  readonly #fd: number;
  readonly #state: DataView;
  readonly #lapic: DataView;
  readonly #i32: Int32Array;
  readonly #pending: number;
  readonly #tscKhz: number;

  constructor(addon: Addon, fd: number, views: ArenaViews, pages: Pick<VcpuLayout, 'state' | 'lapic'>) {
    this.#addon = addon;
    this.#fd = fd;
    this.msrs = new MsrPort(addon, fd);
    this.#state = new DataView(views.buffer, pages.state.offset, pages.state.bytes);
    this.#lapic = new DataView(views.buffer, pages.lapic.offset, pages.lapic.bytes);
    this.#i32 = views.i32;
    this.#pending = (pages.state.offset + S.PENDING) >>> 2;
    this.#tscKhz = addon.tscKhz(fd);
  }

  /** An invariant TSC counts at P0's rate: on AMD's processors Linux looks for that here. An older KVM refuses, and Linux complains. */
  promiseSteadyTsc(): void {
    this.msrs.write(MSR_K7_HWCR, HWCR_TSC_FREQ_SEL);
  }

  /** Pages → KVM. */
  push(): void {
    const page = this.#state;
    this.#set('regs', (regs) => regsFromPage(page, regs));
    this.#set('sregs', (sregs) => sregsFromPage(page, sregs));
    this.#set('xsave', (fpu) => fpuFromPage(page, fpu));
    this.#set('debugregs', (debug) => debugFromPage(page, debug));
    this.#pushTime();
    const pending = clearPending(this.#i32, this.#pending, NMIS | TRANSIENT);
    this.#set('vcpu-events', (events) => eventsFromPage(page, pending, events));
    this.#set('mp-state', (mp) => mp.setUint32(0, activityToMpState(page.getInt32(S.ACTIVITY, true)), true));
    this.#set('lapic', (registers) => lapicFromPage(this.#lapic, { nowNs: monotonicNs() }, registers));
    this.msrs.write(M.IA32_TSC_DEADLINE, this.#lapic.getBigUint64(LAPIC_TSC_DEADLINE, true));
  }

  /** KVM → pages. What KVM has no word for stays as it is in the pages. */
  pull(): void {
    const page = this.#state;
    // First: KVM obeys an INIT or a SIPI that waits when it is asked for this.
    page.setInt32(S.ACTIVITY, mpStateToActivity(this.#get('mp-state').getUint32(0, true)), true);
    regsToPage(this.#get('regs'), page);
    sregsToPage(this.#get('sregs'), page);
    fpuToPage(this.#get('xsave'), page);
    debugToPage(this.#get('debugregs'), page);
    this.msrs.toPage(page);
    const events = this.#get('vcpu-events');
    const waiting = eventsToPage(events, page);
    page.setInt32(S.EXCEPTION_VECTOR, -1, true);
    this.#pullLapic(undeliveredVector(events));
    // Whatever stands in IRR is looked at by an engine that keeps its own LAPIC.
    setOwnPending(this.#i32, this.#pending, waiting | S.PENDING_INTERRUPT);
    page.setInt32(S.IRQ_PARKED, 0, true);
  }

  /** The pulled pages have been copied: KVM goes on with what it holds. */
  forgetPulled(): void {
    clearPending(this.#i32, this.#pending, NMIS | S.PENDING_INTERRUPT);
    this.#lapic.setBigInt64(LAPIC_DEADLINE, 0n, true); // the chipset's ticker must not watch it
  }

  /** The TSC goes on from the value that the page's offset gives now, at this host's rate. */
  #pushTime(): void {
    const tsc = BigInt(Math.floor(monotonicNs())) + this.#state.getBigInt64(S.TSC_OFFSET, true);
    this.msrs.write(M.IA32_TIME_STAMP_COUNTER, tsc);
    this.msrs.fromPage(this.#state);
  }

  #pullLapic(undelivered: number): void {
    const nowNs = monotonicNs();
    const tsc = this.msrs.read(M.IA32_TIME_STAMP_COUNTER) ?? 0n;
    this.#state.setBigInt64(S.TSC_OFFSET, BigInt.asIntN(64, tsc - BigInt(Math.floor(nowNs))), true);
    const value = this.msrs.read(M.IA32_TSC_DEADLINE) ?? 0n;
    const left = (Number(BigInt.asIntN(64, value - tsc)) * 1e6) / this.#tscKhz;
    const dueNs = value === 0n ? 0 : Math.min(Math.max(nowNs + left, 1), Number.MAX_SAFE_INTEGER);
    const mode = apicMode(this.#state.getBigUint64(S.APIC_BASE, true));
    lapicToPage(this.#get('lapic'), mode, { nowNs }, { value, dueNs }, this.#lapic);
    if (undelivered >= 0) returnVector(this.#lapic, undelivered);
  }

  #get(name: StateName): DataView {
    const buffer = new Uint8Array(this.#addon.stateBytes(name));
    this.#addon.getState(this.#fd, name, buffer);
    return new DataView(buffer.buffer);
  }

  #set(name: StateName, fill: (structure: DataView) => void): void {
    const buffer = new Uint8Array(this.#addon.stateBytes(name));
    fill(new DataView(buffer.buffer));
    this.#addon.setState(this.#fd, name, buffer);
  }
}
