// Frames of far transfers and events, pushed on or popped from a stack that may not be the current one yet.
// Nothing is committed: the caller writes RSP and SS when no fault can follow. Intel SDM vol. 3 §5.8, §6.12, §6.14.

import * as S from '#shared/x86/cpu-state.js';
import { type CpuContext, raise } from '../cpu-context.js';
import {
  attributesOfDescriptor,
  baseOfDescriptor,
  type Descriptor,
  dplOf,
  errorCodeOf,
  isNull,
  isPresent,
  isWritableData,
  limitOfDescriptor,
  readDescriptor,
  VECTOR_SS,
  VECTOR_TS,
} from './descriptor.js';
import {
  attributesOf,
  ATTRIBUTE_DB,
  baseOf,
  getAddress,
  is64BitCode,
  isLongMode,
  limitOf,
  selectorOf,
  setAddress,
} from './state-access.js';

const TWO_32 = 0x1_0000_0000;

/** A stack under construction or being read. `pointer` moves; for 64 bits it is a signed address. */
export interface Stack {
  pointer: number;
  /** 64: flat. */
  readonly bits: 16 | 32 | 64;
  readonly base: number;
  readonly low: number;
  readonly high: number;
  readonly supervisor: boolean;
  /** EXT bit of the error code of #SS. */
  readonly ext: number;
}

function segmentStack(
  pointer: number,
  base: number,
  limit: number,
  attributes: number,
  supervisor: boolean,
  ext: number,
): Stack {
  const big = (attributes & ATTRIBUTE_DB) !== 0;
  const expandDown = (attributes & 4) !== 0;
  const top = big ? 0xffff_ffff : 0xffff;
  const bits = big ? 32 : 16;
  return {
    pointer: big ? pointer >>> 0 : pointer & 0xffff,
    bits,
    base,
    low: expandDown ? limit + 1 : 0,
    high: expandDown ? top : limit,
    supervisor,
    ext,
  };
}

/** The stack that SS:RSP is, accessed at the current privilege; by default as the code that runs sees it. */
export function currentStack(cpu: CpuContext, ext = 0, longCode = is64BitCode(cpu)): Stack {
  const pointer = getAddress(cpu, S.RSP);
  const supervisor = cpu.i32[S.CPL >> 2]! < 3;
  if (longCode) return { pointer, bits: 64, base: 0, low: 0, high: 0, supervisor, ext };
  return segmentStack(
    // The low word itself: the whole of RSP may be inexact as a number.
    cpu.u32[S.RSP >> 2]!,
    baseOf(cpu, S.SS),
    limitOf(cpu, S.SS),
    attributesOf(cpu, S.SS),
    supervisor,
    ext,
  );
}

/** A flat 64-bit stack of an inner level, or the current one in a transfer from compatibility mode. */
export function flatStack(pointer: number, supervisor: boolean, ext: number): Stack {
  return { pointer, bits: 64, base: 0, low: 0, high: 0, supervisor, ext };
}

/** A stack in the segment that a checked descriptor describes. */
export function descriptorStack(pointer: number, d: Descriptor, supervisor: boolean, ext: number): Stack {
  return segmentStack(
    pointer,
    baseOfDescriptor(d),
    limitOfDescriptor(d),
    attributesOfDescriptor(d),
    supervisor,
    ext,
  );
}

function addressAt(stack: Stack, offset: number, bytes: number): number {
  if (stack.bits === 64) {
    const high = Math.floor(offset / TWO_32) >> 15;
    if (high !== 0 && high !== -1) raise(VECTOR_SS, stack.ext);
    return offset;
  }
  if (offset < stack.low || offset + bytes - 1 > stack.high) raise(VECTOR_SS, stack.ext);
  return (stack.base + offset) % TWO_32;
}

function moved(stack: Stack, by: number): number {
  const next = stack.pointer + by;
  if (stack.bits === 64) return next;
  return stack.bits === 32 ? next >>> 0 : next & 0xffff;
}

/** Pushes 16, 32 or 64 bits. */
export function pushValue(cpu: CpuContext, stack: Stack, bits: number, lo: number, hi = 0): void {
  const bytes = bits >> 3;
  const pointer = moved(stack, -bytes);
  const address = addressAt(stack, pointer, bytes);
  if (bits === 64) cpu.writeU64(address, lo >>> 0, hi >>> 0, stack.supervisor);
  else if (bits === 32) cpu.writeU32(address, lo >>> 0, stack.supervisor);
  else cpu.writeU16(address, lo & 0xffff, stack.supervisor);
  stack.pointer = pointer;
}

/** Pops 16, 32 or 64 bits into cpu.lo and cpu.hi; gives the low word. */
export function popValue(cpu: CpuContext, stack: Stack, bits: number): number {
  const bytes = bits >> 3;
  const address = addressAt(stack, stack.pointer, bytes);
  stack.pointer = moved(stack, bytes);
  if (bits === 64) {
    cpu.readU64(address, stack.supervisor);
    return cpu.lo;
  }
  cpu.hi = 0;
  cpu.lo = bits === 32 ? cpu.readU32(address, stack.supervisor) : cpu.readU16(address, stack.supervisor);
  return cpu.lo;
}

/** Moves a stack's pointer without an access (RET imm16). */
export function skip(stack: Stack, bytes: number): void {
  stack.pointer = moved(stack, bytes);
}

/** Makes the stack's pointer RSP, as wide as the stack is. */
export function commitPointer(cpu: CpuContext, stack: Stack): void {
  if (stack.bits === 16) cpu.u16[S.RSP >> 1] = stack.pointer;
  else setAddress(cpu, S.RSP, stack.pointer);
}

/** SS:(E)SP of an inner level from a 16 or 32-bit TSS. */
export interface InnerStack {
  readonly selector: number;
  readonly pointer: number;
}

export function readInnerStack(cpu: CpuContext, level: number, ext: number): InnerStack {
  const wide = (attributesOf(cpu, S.TR) & 8) !== 0;
  const offset = wide ? 4 + level * 8 : 2 + level * 4;
  if (offset + (wide ? 5 : 3) > limitOf(cpu, S.TR))
    raise(VECTOR_TS, errorCodeOf(selectorOf(cpu, S.TR)) | ext);
  const address = baseOf(cpu, S.TR) + offset;
  if (wide) return { pointer: cpu.readU32(address, true), selector: cpu.readU16(address + 4, true) };
  return { pointer: cpu.readU16(address, true), selector: cpu.readU16(address + 2, true) };
}

/** RSP0–2 (slot = level) or IST1–7 (slot = 3 + n) of a 64-bit TSS. */
export function readLongStackPointer(cpu: CpuContext, slot: number, ext: number): number {
  const offset = slot < 3 ? 4 + slot * 8 : 36 + (slot - 4) * 8;
  if (!isLongMode(cpu) || offset + 7 > limitOf(cpu, S.TR))
    raise(VECTOR_TS, errorCodeOf(selectorOf(cpu, S.TR)) | ext);
  cpu.readU64(baseOf(cpu, S.TR) + offset, true);
  return (cpu.hi | 0) * TWO_32 + cpu.lo;
}

/** Checks the stack segment of an inner level; what is wrong is #TS (not present: #SS) with its selector. */
export function readInnerStackSegment(
  cpu: CpuContext,
  selector: number,
  level: number,
  ext: number,
): Descriptor {
  if (isNull(selector)) raise(VECTOR_TS, ext);
  const d = readDescriptor(cpu, selector, VECTOR_TS, ext);
  if ((selector & 3) !== level || dplOf(d) !== level || !isWritableData(d)) {
    raise(VECTOR_TS, errorCodeOf(selector) | ext);
  }
  if (!isPresent(d)) raise(VECTOR_SS, errorCodeOf(selector) | ext);
  return d;
}
