// Loads of segment registers, LDTR and TR, and the instructions that ask about descriptors. Intel SDM vol. 2 (MOV,
// LDS, LLDT, LTR, LAR, LSL, VERR) and vol. 3 §5. In 64-bit mode a null selector clears the base of FS and GS, as
// Intel processors do.

import * as S from '#shared/x86/cpu-state.js';
import { type CpuContext, type Helper, raise } from '../cpu-context.js';
import {
  attributesOfDescriptor,
  baseOfDescriptor,
  type Descriptor,
  dplOf,
  errorCodeOf,
  findDescriptor,
  isCode,
  isCodeOrData,
  isConforming,
  isNull,
  isPresent,
  isReadable,
  isWritableData,
  limitOfDescriptor,
  loadCache,
  markAccessed,
  readDescriptor,
  readUpperWord,
  typeOf,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_SS,
} from './descriptor.js';
import { loadVirtual8086Segment } from './virtual-8086.js';
import {
  attributesOf,
  ATTRIBUTE_P,
  cplOf,
  is64BitCode,
  isCanonicalHigh,
  isLongMode,
  isRealMode,
  isVirtual8086,
  limitOf,
  setNullSegment,
  setSegment,
  setWords,
} from './state-access.js';

const UNDEFINED_OPCODE = 6;
const TSS16_AVAILABLE = 1;
const LDT = 2;
const TSS_AVAILABLE = 9;
const BUSY = 2;
/** Attributes of a data segment in real mode: present, writable, accessed. */
const REAL_ATTRIBUTES = 0x93;

/** Real mode: the base is the selector × 16; limit and attributes stay (so "unreal" mode works). */
export function loadRealSegment(cpu: CpuContext, register: number, selector: number): void {
  const usable = (attributesOf(cpu, register) & ATTRIBUTE_P) !== 0;
  const limit = usable ? limitOf(cpu, register) : 0xffff;
  const attributes = usable ? attributesOf(cpu, register) : REAL_ATTRIBUTES;
  setSegment(cpu, register, selector, selector << 4, 0, limit, attributes);
}

function checkStackSegment(cpu: CpuContext, selector: number, d: Descriptor): void {
  const cpl = cplOf(cpu);
  if ((selector & 3) !== cpl || dplOf(d) !== cpl || !isWritableData(d))
    raise(VECTOR_GP, errorCodeOf(selector));
  if (!isPresent(d)) raise(VECTOR_SS, errorCodeOf(selector));
}

function checkDataSegment(cpu: CpuContext, selector: number, d: Descriptor): void {
  if (!isReadable(d)) raise(VECTOR_GP, errorCodeOf(selector));
  const conforming = isCode(d) && isConforming(d);
  if (!conforming && Math.max(cplOf(cpu), selector & 3) > dplOf(d)) raise(VECTOR_GP, errorCodeOf(selector));
  if (!isPresent(d)) raise(VECTOR_NP, errorCodeOf(selector));
}

function loadNull(cpu: CpuContext, register: number, selector: number): void {
  if (register === S.SS) {
    const cpl = cplOf(cpu);
    if (!is64BitCode(cpu) || cpl === 3 || (selector & 3) !== cpl) raise(VECTOR_GP, 0);
  }
  setNullSegment(cpu, register, selector);
}

/** MOV, POP and LDS of ES, SS, DS, FS, GS. */
export function loadSegmentRegister(cpu: CpuContext, register: number, selector: number): void {
  if (register === S.CS) raise(UNDEFINED_OPCODE);
  if (isVirtual8086(cpu)) {
    loadVirtual8086Segment(cpu, register, selector);
  } else if (isRealMode(cpu)) {
    loadRealSegment(cpu, register, selector);
  } else if (isNull(selector)) {
    loadNull(cpu, register, selector);
  } else {
    const d = readDescriptor(cpu, selector);
    if (register === S.SS) checkStackSegment(cpu, selector, d);
    else checkDataSegment(cpu, selector, d);
    markAccessed(cpu, d);
    loadCache(cpu, register, selector, d);
  }
  if (register === S.SS) cpu.i32[S.INTERRUPT_SHADOW >> 2] = S.SHADOW_SS;
  cpu.modeChanged();
}

export const loadSegment: Helper = (cpu, register, selector) => {
  loadSegmentRegister(cpu, register, selector);
  return S.EXIT_NONE;
};

/** A selector that came from memory with an offset: MOV's rules; the caller writes the other register after it. */
export const loadSegmentOfFarPointer: Helper = loadSegment;

/** Base of a system segment: 64 bits in IA-32e mode. */
function loadSystemCache(cpu: CpuContext, register: number, selector: number, d: Descriptor): void {
  const upper = isLongMode(cpu) ? readUpperWord(cpu, d) : 0;
  if (!isCanonicalHigh(upper)) raise(VECTOR_GP, errorCodeOf(selector));
  setSegment(cpu, register, selector, 0, 0, limitOfDescriptor(d), attributesOfDescriptor(d));
  const base = S.SEGMENT + register * S.SEGMENT_BYTES + S.SEGMENT_BASE;
  setWords(cpu, base, baseOfDescriptor(d), upper);
}

export const loadLocalDescriptorTable: Helper = (cpu, selector) => {
  if (isNull(selector)) {
    setNullSegment(cpu, S.LDTR, selector);
    return S.EXIT_NONE;
  }
  if ((selector & 4) !== 0) raise(VECTOR_GP, errorCodeOf(selector));
  const d = readDescriptor(cpu, selector);
  if (isCodeOrData(d) || typeOf(d) !== LDT) raise(VECTOR_GP, errorCodeOf(selector));
  if (!isPresent(d)) raise(VECTOR_NP, errorCodeOf(selector));
  loadSystemCache(cpu, S.LDTR, selector, d);
  return S.EXIT_NONE;
};

export const loadTaskRegister: Helper = (cpu, selector) => {
  if (isNull(selector) || (selector & 4) !== 0) raise(VECTOR_GP, errorCodeOf(selector));
  const d = readDescriptor(cpu, selector);
  const type = typeOf(d);
  const available = type === TSS_AVAILABLE || (type === TSS16_AVAILABLE && !isLongMode(cpu));
  if (isCodeOrData(d) || !available) raise(VECTOR_GP, errorCodeOf(selector));
  if (!isPresent(d)) raise(VECTOR_NP, errorCodeOf(selector));
  const busy: Descriptor = { ...d, hi: d.hi | (BUSY << 8) };
  loadSystemCache(cpu, S.TR, selector, busy);
  cpu.writeU8(d.address + 5, (busy.hi >> 8) & 0xff, true);
  return S.EXIT_NONE;
};

/** The descriptor that LAR, LSL, VERR or VERW may look at from here, or undefined. */
function visibleDescriptor(cpu: CpuContext, selector: number): Descriptor | undefined {
  if (isNull(selector)) return undefined;
  const d = findDescriptor(cpu, selector);
  if (d === undefined) return undefined;
  if (isCode(d) && isConforming(d)) return d;
  return Math.max(cplOf(cpu), selector & 3) > dplOf(d) ? undefined : d;
}

function answer(cpu: CpuContext, good: boolean, value = 0): number {
  cpu.i32[S.HELPER_ARG2 >> 2] = good ? 1 : 0;
  if (good) setWords(cpu, S.HELPER_ARG0, value, 0);
  return S.EXIT_NONE;
}

/** System types that LAR (LSL: without the gates) accepts, by bit. */
const LAR_TYPES = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 9) | (1 << 11) | (1 << 12);
const LAR_TYPES_LONG = (1 << 2) | (1 << 9) | (1 << 11) | (1 << 12);
const LSL_TYPES = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 9) | (1 << 11);
const LSL_TYPES_LONG = (1 << 2) | (1 << 9) | (1 << 11);

function hasType(d: Descriptor, types: number): boolean {
  return isCodeOrData(d) || ((types >> typeOf(d)) & 1) !== 0;
}

export const loadAccessRights: Helper = (cpu, selector) => {
  const d = visibleDescriptor(cpu, selector);
  if (d === undefined || !hasType(d, isLongMode(cpu) ? LAR_TYPES_LONG : LAR_TYPES)) return answer(cpu, false);
  return answer(cpu, true, d.hi & 0x00ff_ff00);
};

export const loadSegmentLimit: Helper = (cpu, selector) => {
  const d = visibleDescriptor(cpu, selector);
  if (d === undefined || !hasType(d, isLongMode(cpu) ? LSL_TYPES_LONG : LSL_TYPES)) return answer(cpu, false);
  return answer(cpu, true, limitOfDescriptor(d));
};

export const verifyRead: Helper = (cpu, selector) => {
  const d = visibleDescriptor(cpu, selector);
  return answer(cpu, d !== undefined && isReadable(d));
};

export const verifyWrite: Helper = (cpu, selector) => {
  const d = visibleDescriptor(cpu, selector);
  return answer(cpu, d !== undefined && isWritableData(d));
};
