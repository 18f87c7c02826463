// Loads of CS: the checks and the commit that far jumps, calls, returns and events share. Intel SDM vol. 3 §5.8.

import * as S from '#shared/x86/cpu-state.js';
import { type CpuContext, raise } from '../cpu-context.js';
import {
  type Descriptor,
  errorCodeOf,
  hasBadCodeSize,
  isCode,
  isLongCode,
  isPresent,
  limitOfDescriptor,
  loadCache,
  markAccessed,
  VECTOR_GP,
  VECTOR_NP,
} from './descriptor.js';
import {
  isCanonicalHigh,
  isLongMode,
  isVirtual8086,
  limitOf,
  selectorOf,
  setSegment,
  setWords,
} from './state-access.js';
import { loadVirtual8086Segment } from './virtual-8086.js';

/** A code segment that is present and whose size bits make sense. */
export function checkCode(cpu: CpuContext, d: Descriptor, ext = 0): void {
  if (!isCode(d)) raise(VECTOR_GP, errorCodeOf(d.selector) | ext);
  if (isLongMode(cpu) && hasBadCodeSize(d)) raise(VECTOR_GP, errorCodeOf(d.selector) | ext);
}

export function checkCodePresent(d: Descriptor, ext = 0): void {
  if (!isPresent(d)) raise(VECTOR_NP, errorCodeOf(d.selector) | ext);
}

/** The target must be canonical in 64-bit code and inside the segment otherwise. Gives the upper word to use. */
export function checkTarget(cpu: CpuContext, d: Descriptor, lo: number, hi: number, ext = 0): number {
  if (isLongMode(cpu) && isLongCode(d)) {
    if (!isCanonicalHigh(hi)) raise(VECTOR_GP, ext);
    return hi;
  }
  if (lo >>> 0 > limitOfDescriptor(d)) raise(VECTOR_GP, ext);
  return 0;
}

/** Goes to a checked target: CS with RPL = `cpl`, RIP, CPL. The caller has the stack in place and calls modeChanged(). */
export function commitCode(
  cpu: CpuContext,
  selector: number,
  d: Descriptor,
  cpl: number,
  lo: number,
  hi: number,
): void {
  markAccessed(cpu, d);
  loadCache(cpu, S.CS, (selector & 0xfffc) | cpl, d);
  cpu.i32[S.CPL >> 2] = cpl;
  setWords(cpu, S.RIP, lo, hi);
}

/** Real and virtual-8086 mode: CS:IP. */
export function commitRealCode(cpu: CpuContext, selector: number, ip: number): void {
  const limit = limitOf(cpu, S.CS);
  if (ip > limit) raise(VECTOR_GP, 0);
  if (isVirtual8086(cpu)) {
    loadVirtual8086Segment(cpu, S.CS, selector);
    setWords(cpu, S.RIP, ip, 0);
    return;
  }
  // CS becomes an ordinary 16-bit code segment; its limit stays.
  setSegment(cpu, S.CS, selector, selector << 4, 0, limit, 0x9b);
  setWords(cpu, S.RIP, ip, 0);
}

export const currentCode = (cpu: CpuContext): number => selectorOf(cpu, S.CS);
