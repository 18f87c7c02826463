// Named access to the state page for the helpers. 64-bit slots are read as two u32 words, or as one signed JS number
// when they hold an address (see cpu-context.ts).

import { CR0_PE } from '#shared/x86/control-bits.js';
import { EFER_LMA } from '#shared/x86/msr-index.js';
import { readArithmeticFlags, writeArithmeticFlags } from '#shared/translate/flag-builder.js';
import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { type CpuContext, raise } from '../cpu-context.js';

const TWO_32 = 0x1_0000_0000;

// Segment attribute bits, as the SEGMENT_ATTRIBUTES slot has them.
export const ATTRIBUTE_S = 0x10;
export const ATTRIBUTE_P = 0x80;
export const ATTRIBUTE_L = 0x200;
export const ATTRIBUTE_DB = 0x400;

export function isRealMode(cpu: CpuContext): boolean {
  return (cpu.i32[S.CR0 >> 2]! & CR0_PE) === 0;
}

export function isVirtual8086(cpu: CpuContext): boolean {
  return (cpu.i32[S.RFLAGS_SYSTEM >> 2]! & F.VM) !== 0;
}

/** Real or virtual-8086 mode: selectors are paragraphs. */
export function hasParagraphSegments(cpu: CpuContext): boolean {
  return isRealMode(cpu) || isVirtual8086(cpu);
}

/** IA-32e mode: 64-bit or compatibility. */
export function isLongMode(cpu: CpuContext): boolean {
  return (cpu.i32[S.EFER >> 2]! & EFER_LMA) !== 0;
}

/** 64-bit code runs. */
export function is64BitCode(cpu: CpuContext): boolean {
  return isLongMode(cpu) && (attributesOf(cpu, S.CS) & ATTRIBUTE_L) !== 0;
}

export function cplOf(cpu: CpuContext): number {
  return cpu.i32[S.CPL >> 2]!;
}

/** A 64-bit slot as a signed number; exact when canonical. */
export function getAddress(cpu: CpuContext, offset: number): number {
  return cpu.i32[(offset >> 2) + 1]! * TWO_32 + cpu.u32[offset >> 2]!;
}

export function setAddress(cpu: CpuContext, offset: number, address: number): void {
  cpu.i32[offset >> 2] = address | 0;
  cpu.i32[(offset >> 2) + 1] = Math.floor(address / TWO_32) | 0;
}

/** Sets a slot from its words. */
export function setWords(cpu: CpuContext, offset: number, lo: number, hi: number): void {
  cpu.i32[offset >> 2] = lo;
  cpu.i32[(offset >> 2) + 1] = hi;
}

export function addressOfWords(lo: number, hi: number): number {
  return (hi | 0) * TWO_32 + (lo >>> 0);
}

/** Whether the upper word of an address leaves it canonical (48 bits). */
export function isCanonicalHigh(hi: number): boolean {
  const sign = (hi | 0) >> 15;
  return sign === 0 || sign === -1;
}

function slot(register: number): number {
  return S.SEGMENT + register * S.SEGMENT_BYTES;
}

export function selectorOf(cpu: CpuContext, register: number): number {
  return cpu.u16[(slot(register) + S.SEGMENT_SELECTOR) >> 1]!;
}

export function attributesOf(cpu: CpuContext, register: number): number {
  return cpu.u16[(slot(register) + S.SEGMENT_ATTRIBUTES) >> 1]!;
}

export function limitOf(cpu: CpuContext, register: number): number {
  return cpu.u32[(slot(register) + S.SEGMENT_LIMIT) >> 2]!;
}

export function baseOf(cpu: CpuContext, register: number): number {
  return getAddress(cpu, slot(register) + S.SEGMENT_BASE);
}

/** SEGMENT_HIGH of an expand-up segment: an access may wrap around the end of one of 4 GiB, as processors let it. */
function highestOffset(limit: number): number {
  return limit === 0xffff_ffff ? limit + 16 : limit;
}

/** Fills a segment's cache. `attributes` as the slot has them; an unusable segment fails every access. */
export function setSegment(
  cpu: CpuContext,
  register: number,
  selector: number,
  baseLow: number,
  baseHigh: number,
  limit: number,
  attributes: number,
): void {
  const at = slot(register);
  setWords(cpu, at + S.SEGMENT_BASE, baseLow, baseHigh);
  cpu.u32[(at + S.SEGMENT_LIMIT) >> 2] = limit;
  cpu.u16[(at + S.SEGMENT_SELECTOR) >> 1] = selector;
  cpu.u16[(at + S.SEGMENT_ATTRIBUTES) >> 1] = attributes;
  const expandDown = (attributes & 0x1c) === 0x14;
  const big = (attributes & ATTRIBUTE_DB) !== 0;
  const low = expandDown ? limit + 1 : 0;
  const high = expandDown ? (big ? 0xffff_ffff : 0xffff) : highestOffset(limit);
  setWords(cpu, at + S.SEGMENT_LOW, low, Math.floor(low / TWO_32));
  if ((attributes & ATTRIBUTE_P) === 0) setWords(cpu, at + S.SEGMENT_HIGH, -1, -1);
  else setWords(cpu, at + S.SEGMENT_HIGH, high, Math.floor(high / TWO_32));
}

/** Loads a null selector: the segment is unusable. */
export function setNullSegment(cpu: CpuContext, register: number, selector: number): void {
  setSegment(cpu, register, selector, 0, 0, 0, 0);
}

/** Linear address of `offset` in a segment, checked as the mode has it. */
export function linearAddress(cpu: CpuContext, register: number, offset: number, bytes: number): number {
  if (is64BitCode(cpu)) return register < S.FS ? offset : baseOf(cpu, register) + offset;
  const at = slot(register);
  const low = getAddress(cpu, at + S.SEGMENT_LOW);
  const high = getAddress(cpu, at + S.SEGMENT_HIGH);
  if (offset < low || offset + bytes - 1 > high) raise(register === S.SS ? 12 : 13, 0);
  return (baseOf(cpu, register) + offset) % TWO_32;
}

/** The whole RFLAGS image, RF and the fixed bit included. */
export function readRflags(cpu: CpuContext): number {
  return readArithmeticFlags(cpu.i32, 0) | cpu.i32[S.RFLAGS_SYSTEM >> 2]! | F.RFLAGS_FIXED;
}

/** Sets the flags that `mask` names from `image`; an interrupt that waited for IF becomes pending. */
export function writeRflags(cpu: CpuContext, image: number, mask: number): void {
  const arithmetic = readArithmeticFlags(cpu.i32, 0);
  const keep = arithmetic & ~mask;
  writeArithmeticFlags(cpu.i32, 0, (image & mask & F.ARITHMETIC_FLAGS) | keep);
  const systemMask = mask & ~(F.ARITHMETIC_FLAGS | F.RFLAGS_FIXED);
  const old = cpu.i32[S.RFLAGS_SYSTEM >> 2]!;
  const next = (old & ~systemMask) | (image & systemMask);
  cpu.i32[S.RFLAGS_SYSTEM >> 2] = next;
  if ((next & ~old & F.IF) !== 0 && cpu.i32[S.IRQ_PARKED >> 2] !== 0) cpu.unparkInterrupt();
}

/** Continues at the address of the next instruction, which semantics left in HELPER_ARG1. */
export function continueAfter(cpu: CpuContext): number {
  setWords(cpu, S.RIP, cpu.i32[S.HELPER_ARG1 >> 2]!, cpu.i32[(S.HELPER_ARG1 >> 2) + 1]!);
  return S.EXIT_BRANCH;
}
