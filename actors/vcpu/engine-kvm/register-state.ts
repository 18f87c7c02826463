// General, segment, control and debug registers: struct kvm_regs, kvm_sregs and kvm_debugregs ↔ the state page.
// Linux asm/kvm.h; offsets in bytes.

import { readArithmeticFlags, writeArithmeticFlags } from '#shared/translate/flag-builder.js';
import * as S from '#shared/x86/cpu-state.js';
import { ARITHMETIC_FLAGS, RFLAGS_FIXED } from '#shared/x86/rflags.js';

/** In the order of struct kvm_regs: RAX RBX RCX RDX RSI RDI RSP RBP, then R8–R15; the state page's is the encoding's. */
const REGISTERS = [0, 3, 1, 2, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];
const REGS_RIP = 128;
const REGS_RFLAGS = 136;

// struct kvm_sregs: segments of 24 bytes, two descriptor tables of 16, control registers.
const SREGS_SEGMENTS = [S.CS, S.DS, S.ES, S.FS, S.GS, S.SS, S.TR, S.LDTR];
const SREGS_SEGMENT_BYTES = 24;
const SREGS_GDT = 192;
const SREGS_IDT = 208;
const SREGS_CR0 = 224;
const SREGS_EFER = 264;
const SREGS_APIC_BASE = 272;
/** From SREGS_CR0 on, 8 bytes each. */
const CONTROL = [S.CR0, S.CR2, S.CR3, S.CR4, S.CR8];

// struct kvm_segment.
const SEG_LIMIT = 8;
const SEG_SELECTOR = 12;
const SEG_TYPE = 14;
const SEG_PRESENT = 15;
const SEG_DPL = 16;
const SEG_DB = 17;
const SEG_S = 18;
const SEG_L = 19;
const SEG_G = 20;
const SEG_AVL = 21;
const SEG_UNUSABLE = 22;

/** CR0 bits that hardware fixes: ET always reads as one. */
const CR0_ET = 1n << 4n;
const TWO_32 = 0x1_0000_0000;

export function regsFromPage(page: DataView, regs: DataView): void {
  REGISTERS.forEach((number, i) =>
    regs.setBigUint64(i * 8, page.getBigUint64(S.GPR + number * 8, true), true),
  );
  regs.setBigUint64(REGS_RIP, page.getBigUint64(S.RIP, true), true);
  const words = new Int32Array(page.buffer, page.byteOffset, page.byteLength >> 2);
  const flags = readArithmeticFlags(words, 0) | page.getInt32(S.RFLAGS_SYSTEM, true) | RFLAGS_FIXED;
  regs.setBigUint64(REGS_RFLAGS, BigInt(flags >>> 0), true);
}

export function regsToPage(regs: DataView, page: DataView): void {
  REGISTERS.forEach((number, i) =>
    page.setBigUint64(S.GPR + number * 8, regs.getBigUint64(i * 8, true), true),
  );
  page.setBigUint64(S.RIP, regs.getBigUint64(REGS_RIP, true), true);
  const flags = regs.getUint32(REGS_RFLAGS, true);
  writeArithmeticFlags(new Int32Array(page.buffer, page.byteOffset, page.byteLength >> 2), 0, flags);
  page.setInt32(S.RFLAGS_SYSTEM, flags & ~(ARITHMETIC_FLAGS | RFLAGS_FIXED), true);
}

function segmentFromPage(page: DataView, register: number, out: DataView, at: number): void {
  const from = S.SEGMENT + register * S.SEGMENT_BYTES;
  const attributes = page.getUint16(from + S.SEGMENT_ATTRIBUTES, true);
  const present = (attributes >> 7) & 1;
  out.setBigUint64(at, page.getBigUint64(from + S.SEGMENT_BASE, true), true);
  out.setUint32(at + SEG_LIMIT, page.getUint32(from + S.SEGMENT_LIMIT, true), true);
  out.setUint16(at + SEG_SELECTOR, page.getUint16(from + S.SEGMENT_SELECTOR, true), true);
  out.setUint8(at + SEG_TYPE, attributes & 15);
  out.setUint8(at + SEG_S, (attributes >> 4) & 1);
  // The processor takes its privilege from SS's cache, a null SS included.
  out.setUint8(at + SEG_DPL, register === S.SS ? page.getInt32(S.CPL, true) : (attributes >> 5) & 3);
  out.setUint8(at + SEG_PRESENT, present);
  out.setUint8(at + SEG_AVL, (attributes >> 8) & 1);
  out.setUint8(at + SEG_L, (attributes >> 9) & 1);
  out.setUint8(at + SEG_DB, (attributes >> 10) & 1);
  out.setUint8(at + SEG_G, (attributes >> 11) & 1);
  out.setUint8(at + SEG_UNUSABLE, present ^ 1);
}

function segmentToPage(from: DataView, at: number, page: DataView, register: number): void {
  const to = S.SEGMENT + register * S.SEGMENT_BYTES;
  const usable = from.getUint8(at + SEG_UNUSABLE) === 0;
  const bit = (offset: number, shift: number): number => (from.getUint8(at + offset) & 1) << shift;
  const attributes = usable
    ? (from.getUint8(at + SEG_TYPE) & 15) |
      bit(SEG_S, 4) |
      ((from.getUint8(at + SEG_DPL) & 3) << 5) |
      bit(SEG_PRESENT, 7) |
      bit(SEG_AVL, 8) |
      bit(SEG_L, 9) |
      bit(SEG_DB, 10) |
      bit(SEG_G, 11)
    : 0;
  const limit = from.getUint32(at + SEG_LIMIT, true);
  page.setBigUint64(to + S.SEGMENT_BASE, from.getBigUint64(at, true), true);
  page.setUint32(to + S.SEGMENT_LIMIT, limit, true);
  page.setUint16(to + S.SEGMENT_SELECTOR, from.getUint16(at + SEG_SELECTOR, true), true);
  page.setUint16(to + S.SEGMENT_ATTRIBUTES, attributes, true);
  const [low, high] = offsetRange(attributes, limit);
  page.setBigInt64(to + S.SEGMENT_LOW, low, true);
  page.setBigInt64(to + S.SEGMENT_HIGH, high, true);
}

/** The offsets that a segment lets through, as the state page keeps them (cpu-state.ts, SEGMENT_LOW and SEGMENT_HIGH). */
function offsetRange(attributes: number, limit: number): readonly [low: bigint, high: bigint] {
  if ((attributes & 0x80) === 0) return [0n, -1n];
  const expandDown = (attributes & 0x1c) === 0x14;
  if (expandDown) return [BigInt(limit) + 1n, (attributes & 0x400) !== 0 ? 0xffff_ffffn : 0xffffn];
  return [0n, BigInt(limit === TWO_32 - 1 ? limit + 16 : limit)];
}

export function sregsFromPage(page: DataView, sregs: DataView): void {
  SREGS_SEGMENTS.forEach((register, i) => segmentFromPage(page, register, sregs, i * SREGS_SEGMENT_BYTES));
  const tables = [
    [SREGS_GDT, S.GDTR_BASE, S.GDTR_LIMIT],
    [SREGS_IDT, S.IDTR_BASE, S.IDTR_LIMIT],
  ] as const;
  for (const [at, base, limit] of tables) {
    sregs.setBigUint64(at, page.getBigUint64(base, true), true);
    sregs.setUint16(at + 8, page.getInt32(limit, true), true);
  }
  CONTROL.forEach((slot, i) => sregs.setBigUint64(SREGS_CR0 + i * 8, page.getBigUint64(slot, true), true));
  sregs.setBigUint64(SREGS_CR0, page.getBigUint64(S.CR0, true) | CR0_ET, true);
  sregs.setBigUint64(SREGS_EFER, page.getBigUint64(S.EFER, true), true);
  sregs.setBigUint64(SREGS_APIC_BASE, page.getBigUint64(S.APIC_BASE, true), true);
}

export function sregsToPage(sregs: DataView, page: DataView): void {
  SREGS_SEGMENTS.forEach((register, i) => segmentToPage(sregs, i * SREGS_SEGMENT_BYTES, page, register));
  page.setBigUint64(S.GDTR_BASE, sregs.getBigUint64(SREGS_GDT, true), true);
  page.setInt32(S.GDTR_LIMIT, sregs.getUint16(SREGS_GDT + 8, true), true);
  page.setBigUint64(S.IDTR_BASE, sregs.getBigUint64(SREGS_IDT, true), true);
  page.setInt32(S.IDTR_LIMIT, sregs.getUint16(SREGS_IDT + 8, true), true);
  CONTROL.forEach((slot, i) => page.setBigUint64(slot, sregs.getBigUint64(SREGS_CR0 + i * 8, true), true));
  page.setBigUint64(S.EFER, sregs.getBigUint64(SREGS_EFER, true), true);
  page.setBigUint64(S.APIC_BASE, sregs.getBigUint64(SREGS_APIC_BASE, true), true);
  page.setInt32(
    S.CPL,
    sregs.getUint8(SREGS_SEGMENTS.indexOf(S.SS) * SREGS_SEGMENT_BYTES + SEG_DPL) & 3,
    true,
  );
}

/** struct kvm_debugregs: DR0–DR3, DR6, DR7. */
export function debugFromPage(page: DataView, debug: DataView): void {
  [0, 1, 2, 3, 6, 7].forEach((register, i) =>
    debug.setBigUint64(i * 8, page.getBigUint64(S.DR + register * 8, true), true),
  );
}

export function debugToPage(debug: DataView, page: DataView): void {
  [0, 1, 2, 3, 6, 7].forEach((register, i) =>
    page.setBigUint64(S.DR + register * 8, debug.getBigUint64(i * 8, true), true),
  );
}
