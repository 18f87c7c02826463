// Segment and gate descriptors in the GDT and LDT. Intel SDM vol. 3 §3.4.5, §5.8.3, §7.2. A descriptor is its two
// words (system descriptors of IA-32e mode: four); what is wrong with one is raised with the selector as error code.

import * as S from '#shared/x86/cpu-state.js';
import { type CpuContext, raise } from '../cpu-context.js';
import { attributesOf, ATTRIBUTE_P, baseOf, getAddress, limitOf, setSegment } from './state-access.js';

export const VECTOR_TS = 10;
export const VECTOR_NP = 11;
export const VECTOR_SS = 12;
export const VECTOR_GP = 13;

const ACCESSED = 0x100;
const L_AND_D = 0x0060_0000;

export interface Descriptor {
  readonly selector: number;
  /** Linear address of the descriptor. */
  readonly address: number;
  readonly lo: number;
  readonly hi: number;
}

export const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;
export const errorCodeOf = (selector: number): number => selector & 0xfffc;
export const dplOf = (d: Descriptor): number => (d.hi >> 13) & 3;
export const isPresent = (d: Descriptor): boolean => (d.hi & 0x8000) !== 0;
export const isCodeOrData = (d: Descriptor): boolean => (d.hi & 0x1000) !== 0;
export const typeOf = (d: Descriptor): number => (d.hi >> 8) & 15;
export const isCode = (d: Descriptor): boolean => (d.hi & 0x1800) === 0x1800;
export const isConforming = (d: Descriptor): boolean => (d.hi & 0x400) !== 0;
export const isWritableData = (d: Descriptor): boolean => (d.hi & 0x1a00) === 0x1200;
export const isReadable = (d: Descriptor): boolean => isCodeOrData(d) && (!isCode(d) || (d.hi & 0x200) !== 0);
/** 64-bit code. */
export const isLongCode = (d: Descriptor): boolean => (d.hi & L_AND_D) === 0x0020_0000;
/** L and D both set: reserved. */
export const hasBadCodeSize = (d: Descriptor): boolean => (d.hi & L_AND_D) === L_AND_D;
export const isBig = (d: Descriptor): boolean => (d.hi & 0x0040_0000) !== 0;
export const baseOfDescriptor = (d: Descriptor): number =>
  ((d.lo >>> 16) | ((d.hi & 0xff) << 16) | (d.hi & 0xff00_0000)) >>> 0;
export const attributesOfDescriptor = (d: Descriptor): number =>
  ((d.hi >> 8) & 0xff) | ((d.hi >> 12) & 0xf00);

export function limitOfDescriptor(d: Descriptor): number {
  const limit = (d.lo & 0xffff) | (d.hi & 0xf_0000);
  return (d.hi & 0x0080_0000) !== 0 ? ((limit << 12) | 0xfff) >>> 0 : limit;
}

/** Linear address of a selector's descriptor, or undefined when `bytes` there lie outside the table. */
function descriptorAddress(cpu: CpuContext, selector: number, bytes: number): number | undefined {
  const last = (selector & 0xfff8) + bytes - 1;
  if ((selector & 4) === 0) {
    if (last > cpu.i32[S.GDTR_LIMIT >> 2]!) return undefined;
    return getAddress(cpu, S.GDTR_BASE) + (selector & 0xfff8);
  }
  if ((attributesOf(cpu, S.LDTR) & ATTRIBUTE_P) === 0 || last > limitOf(cpu, S.LDTR)) return undefined;
  return baseOf(cpu, S.LDTR) + (selector & 0xfff8);
}

/** The descriptor of a selector, or undefined when it lies outside its table. */
export function findDescriptor(cpu: CpuContext, selector: number): Descriptor | undefined {
  const address = descriptorAddress(cpu, selector, 8);
  if (address === undefined) return undefined;
  const lo = cpu.readU32(address, true);
  return { selector, address, lo, hi: cpu.readU32(address + 4, true) };
}

/** The descriptor of a selector; outside its table is `vector` with the selector (and EXT bit `ext`) as error code. */
export function readDescriptor(cpu: CpuContext, selector: number, vector = VECTOR_GP, ext = 0): Descriptor {
  return findDescriptor(cpu, selector) ?? raise(vector, errorCodeOf(selector) | ext);
}

/** The upper half of a 16-byte system descriptor: its third word; the fourth must have type zero. */
export function readUpperWord(cpu: CpuContext, d: Descriptor, vector = VECTOR_GP): number {
  const address = descriptorAddress(cpu, d.selector, 16);
  if (address === undefined) raise(vector, errorCodeOf(d.selector));
  if ((cpu.readU32(address + 12, true) & 0x1f00) !== 0) raise(vector, errorCodeOf(d.selector));
  return cpu.readU32(address + 8, true);
}

/** Sets the accessed bit in memory. */
export function markAccessed(cpu: CpuContext, d: Descriptor): void {
  if ((d.hi & ACCESSED) === 0) cpu.writeU8(d.address + 5, (d.hi >> 8) | 1, true);
}

/** Puts a descriptor into a segment register's cache, as `selector` (its RPL may differ from the descriptor's). */
export function loadCache(cpu: CpuContext, register: number, selector: number, d: Descriptor): void {
  const attributes = attributesOfDescriptor(d) | (isCodeOrData(d) ? 1 : 0);
  setSegment(cpu, register, selector, baseOfDescriptor(d), 0, limitOfDescriptor(d), attributes);
}
