// Registers of a vCPU by the names that vectors use: RAX and its parts, RIP, RFLAGS, XMMn, MMn (physical x87 register n:
// 64 bits of mantissa, or the pair with sign and exponent), STn (by TOP), x87 and SSE control words, segment
// selectors, control registers, FSBASE and GSBASE.

import * as S from '#shared/x86/cpu-state.js';
import { readRflags, writeRflags } from '../engine-wasm/helpers/state-access.js';
import type { BareMachine } from '../bare-machine.js';
import { parseInteger, VectorError } from './vector-number.js';

/** Parts of 64 bits or less, low first: an XMM register has two, an x87 register a mantissa and sign and exponent. */
type Parts = readonly bigint[];

interface Place {
  readonly kind: 'bytes' | 'rflags' | 'status' | 'xmm' | 'mm' | 'st';
  /** Offset in the state page, or a register number. */
  readonly at: number;
  readonly bytes: number;
}

const NUMBERED = ['RAX', 'RCX', 'RDX', 'RBX', 'RSP', 'RBP', 'RSI', 'RDI'];
const WORDS = ['AX', 'CX', 'DX', 'BX', 'SP', 'BP', 'SI', 'DI'];
const LOW_BYTES = ['AL', 'CL', 'DL', 'BL', 'SPL', 'BPL', 'SIL', 'DIL'];
const HIGH_BYTES = ['AH', 'CH', 'DH', 'BH'];
const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];
const SUFFIX_BYTES: Readonly<Record<string, number>> = { '': 8, D: 4, W: 2, B: 1, L: 1 };
const RF = 1 << 16;

const places = new Map<string, Place>();

function addPlaces(): void {
  const bytes = (name: string, at: number, length: number): void =>
    void places.set(name, { kind: 'bytes', at, bytes: length });
  NUMBERED.forEach((name, i) => {
    bytes(name, i * 8, 8);
    bytes(`E${name.slice(1)}`, i * 8, 4);
    bytes(WORDS[i]!, i * 8, 2);
    bytes(LOW_BYTES[i]!, i * 8, 1);
  });
  HIGH_BYTES.forEach((name, i) => bytes(name, i * 8 + 1, 1));
  for (let i = 8; i < 16; i++)
    for (const [suffix, length] of Object.entries(SUFFIX_BYTES)) bytes(`R${i}${suffix}`, i * 8, length);
  for (const [name, length] of [['RIP', 8], ['EIP', 4], ['IP', 2]] as const) bytes(name, S.RIP, length); // prettier-ignore
  for (const name of ['RFLAGS', 'EFLAGS', 'FLAGS'])
    places.set(name, { kind: 'rflags', at: 0, bytes: name === 'FLAGS' ? 2 : 4 });
  for (let i = 0; i < 16; i++) places.set(`XMM${i}`, { kind: 'xmm', at: S.XMM + i * 16, bytes: 16 });
  for (let i = 0; i < 8; i++) {
    places.set(`MM${i}`, { kind: 'mm', at: i, bytes: 10 });
    for (const name of [`ST${i}`, `ST(${i})`]) places.set(name, { kind: 'st', at: i, bytes: 10 });
  }
  bytes('MXCSR', S.MXCSR, 4);
  bytes('FCW', S.X87_CONTROL, 2);
  bytes('FTW', S.X87_TAGS, 1);
  places.set('FSW', { kind: 'status', at: 0, bytes: 2 });
  SEGMENTS.forEach((name, i) => bytes(name, S.SEGMENT + i * S.SEGMENT_BYTES + S.SEGMENT_SELECTOR, 2));
  bytes('FSBASE', S.SEGMENT + S.FS * S.SEGMENT_BYTES, 8);
  bytes('GSBASE', S.SEGMENT + S.GS * S.SEGMENT_BYTES, 8);
  for (const [name, at] of [['CR0', S.CR0], ['CR2', S.CR2], ['CR3', S.CR3], ['CR4', S.CR4]] as const) bytes(name, at, 8); // prettier-ignore
}
addPlaces();

export function isRegisterName(name: string): boolean {
  return places.has(name.toUpperCase());
}

const low = (value: bigint, bytes: number): bigint => BigInt.asUintN(bytes * 8, value);

/** The parts that a vector gives for a register; a part it leaves out is absent. */
export function parseParts(name: string, value: unknown): Parts {
  const place = places.get(name)!;
  const wide = place.kind === 'xmm' || place.kind === 'mm' || place.kind === 'st';
  if (Array.isArray(value)) {
    if (!wide || value.length === 0 || value.length > 2)
      throw new VectorError(`${name} is given by ${value.length} parts`);
    return value.map((part: unknown) => low(parseInteger(part, name), 8));
  }
  const number = parseInteger(value, name);
  if (place.kind === 'xmm') return [low(number, 8), low(number >> 64n, 8)];
  if (wide) return number >> 64n > 0n ? [low(number, 8), low(number >> 64n, 2)] : [low(number, 8)];
  return [low(number, place.bytes)];
}

/** Arena offset of physical x87 register of an MMn or STn. */
function x87Offset(machine: BareMachine, place: Place): number {
  const top = place.kind === 'st' ? machine.view.getInt32(machine.stateOffset + S.X87_TOP, true) : 0;
  return machine.stateOffset + S.X87 + ((place.at + top) & 7) * 16;
}

export function readRegister(machine: BareMachine, name: string): Parts {
  const place = places.get(name)!;
  const { view, stateOffset, created } = machine;
  const at = stateOffset + place.at;
  switch (place.kind) {
    case 'rflags':
      return [low(BigInt(readRflags(created.cpu) & ~RF), place.bytes)];
    case 'status': {
      const status = view.getInt32(stateOffset + S.X87_STATUS, true);
      return [BigInt((status & ~0x3800) | (view.getInt32(stateOffset + S.X87_TOP, true) << 11))];
    }
    case 'xmm':
      return [view.getBigUint64(at, true), view.getBigUint64(at + 8, true)];
    case 'mm':
    case 'st': {
      const x87 = x87Offset(machine, place);
      return [view.getBigUint64(x87, true), BigInt(view.getUint16(x87 + 8, true))];
    }
    case 'bytes': {
      let value = 0n;
      for (let i = place.bytes - 1; i >= 0; i--) value = (value << 8n) | BigInt(view.getUint8(at + i));
      return [value];
    }
  }
}

export function writeRegister(machine: BareMachine, name: string, parts: Parts): void {
  const place = places.get(name)!;
  const { view, stateOffset, created } = machine;
  const at = stateOffset + place.at;
  const first = parts[0]!;
  switch (place.kind) {
    case 'rflags':
      writeRflags(created.cpu, Number(first), ~2 & ~RF);
      break;
    case 'status':
      view.setInt32(stateOffset + S.X87_STATUS, Number(first) & ~0x3800, true);
      view.setInt32(stateOffset + S.X87_TOP, (Number(first) >> 11) & 7, true);
      break;
    case 'xmm':
      view.setBigUint64(at, first, true);
      view.setBigUint64(at + 8, parts[1] ?? 0n, true);
      break;
    case 'mm':
    case 'st': {
      const x87 = x87Offset(machine, place);
      view.setBigUint64(x87, first, true);
      // A mantissa alone is an MMX register's, which has ones above it.
      view.setUint16(x87 + 8, Number(parts[1] ?? 0xffffn), true);
      const physical = (x87 - stateOffset - S.X87) / 16;
      const tags = stateOffset + S.X87_TAGS;
      view.setInt32(tags, view.getInt32(tags, true) | (1 << physical), true);
      break;
    }
    case 'bytes':
      for (let i = 0; i < place.bytes; i++) view.setUint8(at + i, Number((first >> BigInt(8 * i)) & 255n));
      // A 32-bit name stands for the whole register.
      if (place.bytes === 4 && place.at < 128) view.setUint32(at + 4, 0, true);
  }
}

/** In 16 and 32-bit code the upper halves of general registers mean nothing. */
export function visibleBits(name: string, mode: number): number {
  const place = places.get(name)!;
  return place.kind === 'bytes' && place.bytes === 8 && mode !== 64 ? 32 : 64;
}
