// Register state at power-on, after INIT and after SIPI, and the hand-over states of boot protocols.
// Intel SDM vol. 3 §10.1.1 (table 10-1), §9.4.4.

import type { InitialCpuState, InitialSegment } from '#shared/boot/initial-state.js';
import * as S from './cpu-state.js';

const REAL_DATA = 0x93;
const REAL_CODE = 0x9b;
const LDT_ATTRIBUTES = 0x82;
const TSS_ATTRIBUTES = 0x8b;
/** Family 6 in EDX after reset, as CPUID leaf 1 says. */
const RESET_EDX = 0x000106ca;
const CR0_CD_NW_ET = 0x60000010;
const MXCSR_DEFAULT = 0x1f80;

/** Writes one vCPU's state page. */
export class CpuReset {
  readonly #view: DataView;
  readonly #u8: Uint8Array;

  /** `base`: the state page's offset in `buffer`. */
  constructor(buffer: ArrayBufferLike, base: number) {
    this.#view = new DataView(buffer, base, S.CPU_STATE_BYTES);
    this.#u8 = new Uint8Array(buffer, base, S.CPU_STATE_BYTES);
  }

  /** Power-on. MSRs and the LAPIC are reset by their owners. */
  powerOn(vcpu: number): void {
    this.#u8.fill(0);
    this.#view.setInt32(S.VCPU_INDEX, vcpu, true);
    this.#resetX87();
    this.init();
  }

  /** INIT: everything but x87, SSE, most MSRs and the time. */
  init(): void {
    const view = this.#view;
    this.#u8.fill(0, S.GPR, S.GPR + 128);
    view.setInt32(S.RDX, RESET_EDX, true);
    view.setInt32(S.EXCEPTION_VECTOR, -1, true);
    this.#set64(S.RIP, 0xfff0);
    this.#setFlags(2);
    this.#set64(S.CR0, CR0_CD_NW_ET);
    for (const slot of [S.CR2, S.CR3, S.CR4, S.CR8, S.EFER]) this.#set64(slot, 0);
    for (let i = 0; i < 4; i++) this.#set64(S.DR + i * 8, 0);
    this.#set64(S.DR + 48, 0xffff0ff0);
    this.#set64(S.DR + 56, 0x400);
    for (const s of [S.ES, S.SS, S.DS, S.FS, S.GS]) this.setSegment(s, 0, 0, 0xffff, REAL_DATA);
    this.setSegment(S.CS, 0xf000, 0xffff0000, 0xffff, REAL_CODE);
    this.setSegment(S.TR, 0, 0, 0xffff, TSS_ATTRIBUTES);
    this.setSegment(S.LDTR, 0, 0, 0xffff, LDT_ATTRIBUTES);
    for (const [base, limit] of [[S.GDTR_BASE, S.GDTR_LIMIT], [S.IDTR_BASE, S.IDTR_LIMIT]] as const) {
      this.#set64(base, 0);
      view.setInt32(limit, 0xffff, true);
    } // prettier-ignore
    view.setInt32(S.CPL, 0, true);
    view.setInt32(S.INTERRUPT_SHADOW, 0, true);
    view.setInt32(S.IRQ_PARKED, 0, true);
    view.setInt32(S.NMI_STATE, 0, true);
  }

  /** Start-up IPI: real mode at vector × 4 KiB. */
  sipi(vector: number): void {
    this.setSegment(S.CS, vector << 8, vector << 12, 0xffff, REAL_CODE);
    this.#set64(S.RIP, 0);
  }

  /** A boot protocol's hand-over. */
  apply(initial: InitialCpuState): void {
    const gprs: readonly (readonly [number, number])[] = [
      [S.RAX, initial.rax],
      [S.RBX, initial.rbx],
      [S.RSI, initial.rsi],
      [S.RSP, initial.rsp],
    ];
    this.#u8.fill(0, S.GPR, S.GPR + 128);
    for (const [slot, value] of gprs) this.#set64(slot, value);
    this.#set64(S.RIP, initial.rip);
    this.#setFlags(initial.rflags);
    this.#set64(S.CR0, initial.cr0);
    this.#set64(S.CR3, initial.cr3);
    this.#set64(S.CR4, initial.cr4);
    this.#set64(S.EFER, initial.efer);
    const segments: readonly (readonly [number, InitialSegment])[] = [
      [S.CS, initial.cs],
      [S.DS, initial.ds],
      [S.ES, initial.es],
      [S.FS, initial.fs],
      [S.GS, initial.gs],
      [S.SS, initial.ss],
      [S.LDTR, initial.ldtr],
      [S.TR, initial.tr],
    ];
    for (const [s, v] of segments) {
      this.setSegment(s, v.selector, v.base, v.limit, (v.attributes & 0xff) | ((v.attributes >> 4) & 0xf00));
    }
    this.#set64(S.GDTR_BASE, initial.gdtr.base);
    this.#view.setInt32(S.GDTR_LIMIT, initial.gdtr.limit, true);
    this.#set64(S.IDTR_BASE, initial.idtr.base);
    this.#view.setInt32(S.IDTR_LIMIT, initial.idtr.limit, true);
    this.#view.setInt32(S.CPL, 0, true);
  }

  /** Loads a segment register with an expand-up descriptor; `attributes` as in the state page. */
  setSegment(segment: number, selector: number, base: number, limit: number, attributes: number): void {
    const at = S.SEGMENT + segment * S.SEGMENT_BYTES;
    this.#set64(at + S.SEGMENT_BASE, base);
    this.#set64(at + S.SEGMENT_LOW, 0);
    // An access may wrap around the end of a segment of 4 GiB.
    this.#set64(at + S.SEGMENT_HIGH, limit === 0xffffffff ? limit + 16 : limit);
    this.#view.setUint32(at + S.SEGMENT_LIMIT, limit, true);
    this.#view.setUint16(at + S.SEGMENT_SELECTOR, selector, true);
    this.#view.setUint16(at + S.SEGMENT_ATTRIBUTES, attributes, true);
  }

  /** Sets RFLAGS: the arithmetic flags all clear (a result of 1, odd parity), the others as given. */
  #setFlags(rflags: number): void {
    this.#set64(S.CC_RESULT, 1);
    this.#view.setInt32(S.CC_CARRY, 0, true);
    this.#view.setInt32(S.CC_MISC, 0, true);
    this.#view.setInt32(S.RFLAGS_SYSTEM, rflags & ~0x8d7, true);
  }

  #resetX87(): void {
    this.#view.setInt32(S.X87_CONTROL, 0x40, true);
    this.#view.setInt32(S.X87_TAGS, 0xff, true);
    this.#view.setInt32(S.MXCSR, MXCSR_DEFAULT, true);
  }

  #set64(slot: number, value: number): void {
    this.#view.setUint32(slot, value % 0x1_0000_0000, true);
    this.#view.setUint32(slot + 4, Math.floor(value / 0x1_0000_0000), true);
  }
}
