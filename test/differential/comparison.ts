// Whether two outcomes of a case agree, with what the architecture leaves open masked by data: undefined flags come
// from the semantics tables, approximations and a few quirks from the rows here.

import { SEMANTICS } from '#shared/x86/semantics/index.js';
import { ARITHMETIC_FLAGS, DF } from '#shared/x86/rflags.js';
import { type InstructionForm, instructionForms } from '#shared/translate/instruction-form.js';
import type { Case, Outcome } from './case-record.js';
import { type Latitude, NO_LATITUDE } from './latitude.js';

const COMPARED_FLAGS = ARITHMETIC_FLAGS | DF;
const PAGE_FAULT = 14;
const ERROR_PRESENT = 1;
const LONG_CODE_SELECTOR = 0x30;
const USER_END = 0x7ffffffff000n;
const REGISTERS = [
  'RAX',
  'RCX',
  'RDX',
  'RBX',
  'RSP',
  'RBP',
  'RSI',
  'RDI',
  'R8',
  'R9',
  'R10',
  'R11',
  'R12',
  'R13',
  'R14',
  'R15',
];

const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];

/** Results that the manual bounds but does not fix: XMM elements of `bits`, equal within a relative error. */
const APPROXIMATIONS: Readonly<Record<string, { readonly relative: number }>> = {
  // SDM vol. 2: |relative error| ≤ 1.5 × 2^-12, for either side.
  Rcpps: { relative: 3 * 2 ** -12 },
  Rcpss: { relative: 3 * 2 ** -12 },
  Rsqrtps: { relative: 3 * 2 ** -12 },
  Rsqrtss: { relative: 3 * 2 ** -12 },
};

/** x87 transcendentals: how far apart mantissas may be, in units of the last place. C1 and the precision and underflow flags are not compared. */
export const TRANSCENDENTAL_ULPS: Readonly<Record<string, number>> = {
  F2xm1: 2, Fyl2x: 2, Fyl2xp1: 2, Fptan: 2, Fpatan: 2, Fsin: 2, Fcos: 2, Fsincos: 2,
}; // prettier-ignore

/**
 * Several accesses each, and no rule which comes first: where more than one of them faults, either fault will do. What
 * they wrote before it is not compared.
 */
const OPEN_ORDER = /^(Fn(stenv|save)|Fldenv|Frstor|Fxsave|Fxrstor|Fbstp|Iret|Retf|Call|Maskmov|Fstp_m80fp)/;
const MEMORY_FAULTS = [12, 13, PAGE_FAULT];

const TRANSCENDENTAL_OPEN = 0x230;

const formByName = new Map<string, InstructionForm>();

export function formNamed(name: string): InstructionForm | undefined {
  if (formByName.size === 0) for (const form of instructionForms().values()) formByName.set(form.name, form);
  return formByName.get(name);
}

/** What differs, in words; empty when the outcomes agree. `memoryDiffers` is looked at last. */
export function differences(
  c: Case,
  host: Outcome,
  engine: Outcome,
  latitude: Latitude = NO_LATITUDE,
): string[] {
  const found: string[] = [];
  if (latitude.all === true) return found;
  const mnemonic = formNamed(c.form)?.mnemonic ?? '';
  const open = faulted(c, host) && OPEN_ORDER.test(c.form) && faulted(c, engine);
  if (open && isMemoryFault(host) && isMemoryFault(engine)) return found;
  if (isSegmentFault(c, host) && isSegmentFault(c, engine) && ALIGNED.test(c.form)) return found;
  if (X87_STORE.test(c.form) && isSegmentFault(c, engine) && (host.fx[2]! & X87_ERROR_SUMMARY) !== 0)
    return found;
  if (latitude.fault !== true) compareException(host, engine, found);
  const ip = BigInt.asUintN(c.mode === 64 ? 64 : 32, engine.rip);
  if (host.rip !== ip) found.push(`RIP: host ${hex(host.rip)} engine ${hex(ip)}`);
  compareRegisters(c, host, engine, latitude, found);
  const undefinedFlags = faulted(c, host) ? 0 : (SEMANTICS[mnemonic]?.undefinedFlags ?? 0);
  const flags = (host.rflags ^ engine.rflags) & COMPARED_FLAGS & ~undefinedFlags & ~(latitude.flags ?? 0);
  if (flags !== 0)
    found.push(`RFLAGS: host ${hex(host.rflags)} engine ${hex(engine.rflags)} differ in ${hex(flags)}`);
  if (c.segments)
    SEGMENTS.forEach((name, i) => {
      const [h, e] = [host.selectors[i]!, engine.selectors[i]!];
      // A return to user code turns null selectors to 0.
      if (h !== e && (h > 3 || e > 3)) found.push(`${name}: host ${hex(h)} engine ${hex(e)}`);
    });
  const mmxStore = faulted(c, host) && MMX_STORE.test(c.form);
  if (!mmxStore && Buffer.compare(host.fx, engine.fx) !== 0)
    compareFloat(mnemonic, host.fx, engine.fx, latitude, found);
  return found;
}

function compareException(host: Outcome, engine: Outcome, found: string[]): void {
  if (host.trap !== engine.trap || errorOf(host, engine) !== engine.error)
    found.push(`exception: host ${host.trap}(${host.error}) engine ${engine.trap}(${engine.error})`);
  else if (host.trap === PAGE_FAULT && host.cr2 !== engine.cr2)
    found.push(`CR2: host ${hex(host.cr2)} engine ${hex(engine.cr2)}`);
}

/** Upper halves mean nothing outside 64-bit code, nor after a far transfer out of it. */
function compareRegisters(
  c: Case,
  host: Outcome,
  engine: Outcome,
  latitude: Latitude,
  found: string[],
): void {
  const leftLong = c.segments && (host.selectors[1]! & ~3) !== LONG_CODE_SELECTOR;
  const bits = c.mode === 64 && !leftLong ? 64 : 32;
  for (let i = 0; i < (c.mode === 64 ? 16 : 8); i++) {
    if (host.gpr[i] === engine.gpr[i]) continue;
    const [h, e] = [BigInt.asUintN(bits, host.gpr[i]!), BigInt.asUintN(bits, engine.gpr[i]!)];
    const open = latitude.registers?.get(i) ?? 0n;
    if (((h ^ e) & ~open) !== 0n) found.push(`${REGISTERS[i]}: host ${hex(h)} engine ${hex(e)}`);
  }
}

/** An operand both misaligned (#GP) and outside SS (#SS): the manual does not say which comes first. */
const ALIGNED = /xmmm?128|m128/;

/** An x87 store that an unmasked exception keeps from storing: whether its segment is checked at all is left open. */
const X87_STORE = /^F(isttp|istp?|stp?|bstp)_m/;
const X87_ERROR_SUMMARY = 0x80;

function isSegmentFault(c: Case, outcome: Outcome): boolean {
  return c.mode !== 64 && faulted(c, outcome) && (outcome.trap === 12 || outcome.trap === 13);
}

/** A faulting store of an MMX register has switched to MMX state on the host: harmless, as it will run again. */
const MMX_STORE = /^(Movntq|Mov[dq]_(rm32|rm64|mmm64)_mm)/;

/** Whether memory is compared: a fault may come after part of the writes. */
export function comparesMemory(c: Case, host: Outcome): boolean {
  // CALL pushes before it finds its target not canonical.
  return !faulted(c, host) || !(OPEN_ORDER.test(c.form) || c.form.startsWith('Call_'));
}

/** The case ended at its first instruction. */
export function faulted(c: Case, outcome: Outcome): boolean {
  return outcome.rip === BigInt(c.rip);
}

export function isMemoryFault(outcome: Outcome): boolean {
  return MEMORY_FAULTS.includes(outcome.trap);
}

/** Linux reports every fault at an address beyond user space as one of protection. */
function errorOf(host: Outcome, engine: Outcome): number {
  return host.trap === PAGE_FAULT && host.cr2 >= USER_END
    ? (host.error & ~ERROR_PRESENT) | (engine.error & ERROR_PRESENT)
    : host.error;
}

const hex = (value: number | bigint): string => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;

function compareFloat(
  mnemonic: string,
  host: Uint8Array,
  engine: Uint8Array,
  latitude: Latitude,
  found: string[],
): void {
  const h = new DataView(host.buffer, host.byteOffset, host.byteLength);
  const e = new DataView(engine.buffer, engine.byteOffset, engine.byteLength);
  const ulps = TRANSCENDENTAL_ULPS[mnemonic];
  const word = (name: string, at: number, mask: number): void => {
    const [a, b] = [h.getUint16(at, true) & mask, e.getUint16(at, true) & mask];
    if (a !== b) found.push(`${name}: host ${hex(a)} engine ${hex(b)}`);
  };
  word('FCW', 0, 0xffff);
  word('FSW', 2, ulps === undefined ? 0xffff : ~TRANSCENDENTAL_OPEN & 0xffff);
  word('FTW', 4, 0xff);
  word('MXCSR', 24, 0xffff);
  for (let i = 0; i < 8; i++) {
    const at = 32 + i * 16;
    if (Buffer.compare(host.subarray(at, at + 10), engine.subarray(at, at + 10)) === 0) continue;
    const [a, b] = [h.getBigUint64(at, true), e.getBigUint64(at, true)];
    const [sa, sb] = [h.getUint16(at + 8, true), e.getUint16(at + 8, true)];
    if (ulps !== undefined && withinUlps(a, sa, b, sb, ulps)) continue;
    found.push(`ST${i}: host ${hex(sa)}:${hex(a)} engine ${hex(sb)}:${hex(b)}`);
  }
  const approximation = APPROXIMATIONS[mnemonic];
  for (let i = 0; i < 16; i++) {
    const at = 160 + i * 16;
    if (Buffer.compare(host.subarray(at, at + 16), engine.subarray(at, at + 16)) === 0) continue;
    if (approximation !== undefined && withinRelative(h, e, at, approximation.relative)) continue;
    if (latitude.nans !== undefined && sameButForNans(h, e, at, latitude.nans)) continue;
    const text = (view: DataView): string =>
      `${hex(view.getBigUint64(at + 8, true))}:${hex(view.getBigUint64(at, true))}`;
    found.push(`XMM${i}: host ${text(h)} engine ${text(e)}`);
  }
}

/** Whether two 80-bit numbers lie within so many units of the last place. */
function withinUlps(a: bigint, exponentA: number, b: bigint, exponentB: number, ulps: number): boolean {
  const line = (mantissa: bigint, word: number): bigint => {
    const magnitude = (BigInt(word & 0x7fff) << 63n) + (mantissa & ((1n << 63n) - 1n));
    return (word & 0x8000) !== 0 ? -magnitude : magnitude;
  };
  const distance = line(a, exponentA) - line(b, exponentB);
  return distance <= BigInt(ulps) && -distance <= BigInt(ulps);
}

function withinRelative(h: DataView, e: DataView, at: number, relative: number): boolean {
  for (let lane = 0; lane < 16; lane += 4) {
    if (h.getUint32(at + lane, true) === e.getUint32(at + lane, true)) continue;
    const [a, b] = [h.getFloat32(at + lane, true), e.getFloat32(at + lane, true)];
    if (!(Math.abs(a - b) <= Math.abs(a) * relative)) return false;
  }
  return true;
}

/** Whether elements of an XMM register differ only where both are NaNs. */
function sameButForNans(h: DataView, e: DataView, at: number, bits: 32 | 64): boolean {
  const isNan = (view: DataView, lane: number): boolean =>
    Number.isNaN(bits === 32 ? view.getFloat32(lane, true) : view.getFloat64(lane, true));
  for (let lane = at; lane < at + 16; lane += 4) {
    const element = lane & -(bits / 8);
    if (h.getUint32(lane, true) !== e.getUint32(lane, true) && !(isNan(h, element) && isNan(e, element)))
      return false;
  }
  return true;
}
