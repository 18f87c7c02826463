// What all vector semantics share: the CR0/CR4 checks of SSE and MMX, 16-byte alignment, operand access that treats an
// MMX register as the low half of a vector, and vector constants. Intel SDM vol. 1 §9.5, §10, vol. 2 §2.4, vol. 3 §13.1.
import { SIMD_TRAP, X87_STATUS, X87_TAGS, X87_TOP, X87_TRAP } from '#shared/x86/cpu-state.js';
import type {
  Computation,
  Emitter,
  Operands,
  Semantics,
  SemanticsEntry,
  SemanticsTable,
  Value,
} from '#shared/translate/emitter.js';

export const VECTOR_UD = 6;
export const VECTOR_NM = 7;
export const VECTOR_GP = 13;
export const VECTOR_MF = 16;
/** Status word: exception summary, an unmasked exception waits. */
export const X87_STATUS_ES = 0x80;

/** #UD or #NM by a word of the state page that says which, or neither. */
function checkTrap(e: Emitter, name: string, word: number): void {
  e.checkOnce(name, () => {
    const trap = e.getState('i32', word);
    e.ifRare(trap, () => {
      e.ifRare(e.eq(trap, e.i32(VECTOR_UD)), () => e.raise(VECTOR_UD));
      e.raise(VECTOR_NM);
    });
  });
}

/** #UD or #NM when the operating system has not enabled SSE. */
export function checkSimd(e: Emitter): void {
  checkTrap(e, 'simd', SIMD_TRAP);
}

/** #UD, #NM or a pending #MF, as every MMX instruction checks. */
export function checkMmx(e: Emitter): void {
  checkTrap(e, 'mmx', X87_TRAP);
  checkPendingX87(e);
}

/** #MF when an earlier x87 instruction left an unmasked exception. */
export function checkPendingX87(e: Emitter): void {
  e.ifRare(e.and(e.getState('i32', X87_STATUS), e.i32(X87_STATUS_ES)), () => e.raise(VECTOR_MF));
}

/** The x87 → MMX transition: TOP = 0, all registers valid. After whatever may fault. */
export function enterMmx(e: Emitter): void {
  e.setState('i32', X87_TOP, e.i32(0));
  e.setState('i32', X87_TAGS, e.i32(0xff));
}

/** Wraps a meaning with the SSE checks. */
export function simd(sem: Semantics): Semantics {
  return (e, op) => {
    checkSimd(e);
    sem(e, op);
  };
}

/** ZF, PF and CF of an order (COMISD, FCOMI) from an RFLAGS image; OF, SF and AF clear. One by one, so that a branch behind needs just its own. */
export function writeOrderFlags(e: Emitter, image: Value): void {
  const bit = (n: number): Value => e.and(e.shrU(image, e.i32(n)), e.i32(1));
  const zero = e.i32(0);
  e.writeFlags({ cf: bit(0), pf: bit(2), af: zero, zf: bit(6), sf: zero, of: zero });
}

/** A helper that works on VECTOR_SCRATCH, MXCSR and HELPER_ARG0 alone. */
export function simdHelper(e: Emitter, name: string, args: readonly Value[]): void {
  e.helper(name, args, { confined: true });
}

/** A table of SSE entries from bare meanings. */
export function simdTable(
  meanings: Readonly<Record<string, Semantics>>,
  more: Partial<SemanticsEntry> = {},
): SemanticsTable {
  const table: Record<string, SemanticsEntry> = {};
  for (const [name, sem] of Object.entries(meanings)) table[name] = { sem: simd(sem), ...more };
  return table;
}

/** One vector operator of the WebAssembly specification. */
export function v(e: Computation, name: string, ...operands: Value[]): Value {
  return e.op(name, operands);
}

export function constBytes(e: Computation, bytes: readonly number[]): Value {
  return e.op('v128.const', [], bytes);
}

/** A constant of 16 / (bits / 8) lanes; fewer values than lanes leave zeros above. */
export function constLanes(
  e: Computation,
  bits: 8 | 16 | 32 | 64,
  lanes: readonly (number | bigint)[],
): Value {
  const view = new DataView(new ArrayBuffer(16));
  lanes.forEach((lane, i) => {
    const value = BigInt.asUintN(64, BigInt(lane));
    for (let byte = 0; byte < bits / 8; byte++)
      view.setUint8((i * bits) / 8 + byte, Number((value >> BigInt(8 * byte)) & 0xffn));
  });
  return constBytes(e, [...new Uint8Array(view.buffer)]);
}

export function constSplat(e: Computation, bits: 8 | 16 | 32 | 64, value: number | bigint): Value {
  return constLanes(e, bits, new Array<number | bigint>(128 / bits).fill(value));
}

export function zeroVector(e: Computation): Value {
  return constBytes(e, new Array<number>(16).fill(0));
}

export const IOTA = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/** A fixed shuffle of the 32 bytes of a (0–15) and b (16–31). */
export function shuffle(e: Computation, a: Value, b: Value, lanes: readonly number[]): Value {
  return e.op('i8x16.shuffle', [a, b], lanes);
}

export function lane(e: Computation, name: string, a: Value, index: number): Value {
  return e.op(name, [a], [index]);
}

export function replaceLane(e: Computation, name: string, a: Value, index: number, value: Value): Value {
  return e.op(name, [a, value], [index]);
}

const LANES_OF = { i32: 'i32x4', i64: 'i64x2', f32: 'f32x4', f64: 'f64x2' } as const;

/** A scalar → vector with zeros above. */
export function zeroExtendToVector(e: Computation, value: Value): Value {
  const shape = LANES_OF[value.type as keyof typeof LANES_OF];
  return replaceLane(e, `${shape}.replace_lane`, zeroVector(e), 0, value);
}

export function lowQuad(e: Computation, a: Value): Value {
  return lane(e, 'i64x2.extract_lane', a, 0);
}

/** Linear address of a 16-byte memory operand; #GP(0) when it is not aligned. */
export function alignedAddress(e: Emitter, op: Operands, index: number, access: 'read' | 'write'): Value {
  const linear = op.linearAddress(index, 16, access);
  e.ifRare(e.and(e.wrap(linear), e.i32(15)), () => e.raise(VECTOR_GP, 0));
  return linear;
}

/** A 128-bit operand; in memory it must be aligned. */
export function readAligned(e: Emitter, op: Operands, index: number): Value {
  return op.kind(index) === 'memory' ? e.load(alignedAddress(e, op, index, 'read'), 16) : op.read(index);
}

/** Writes a 128-bit operand; in memory it must be aligned. */
export function writeAligned(e: Emitter, op: Operands, index: number, value: Value): void {
  if (op.kind(index) === 'memory') e.store(alignedAddress(e, op, index, 'write'), 16, value);
  else op.write(index, value);
}

/** The low `bits` of an operand as a vector; what is above is unspecified. */
export function readLowVector(e: Emitter, op: Operands, index: number, bits: 16 | 32 | 64): Value {
  if (op.kind(index) === 'xmm') return op.read(index);
  const value = op.readLow(index, bits);
  return e.op(value.type === 'i64' ? 'i64x2.splat' : 'i32x4.splat', [value]);
}

/** imm8 as i32. */
export function immediate(e: Emitter, op: Operands, index: number): Value {
  return e.and(e.toBits(op.read(index), 32), e.i32(0xff));
}

/** An MMX operand as a vector with zeros above; memory operands of `bits`. */
export function readMmx(e: Emitter, op: Operands, index: number, bits: 32 | 64 = 64): Value {
  const value = op.kind(index) === 'memory' ? op.readLow(index, bits) : op.readLow(index, 64);
  return zeroExtendToVector(e, value);
}

/** Writes an MMX register from the low half of a vector, with the state change that every MMX instruction makes. */
export function writeMmx(e: Emitter, op: Operands, index: number, value: Value): void {
  enterMmx(e);
  op.writeLow(index, 64, value.type === 'v128' ? lowQuad(e, value) : value);
}

/** [low half of a, low half of b]. */
export function joinLow(e: Computation, a: Value, b: Value): Value {
  return shuffle(e, a, b, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);
}

/** `mmx` says that only the low halves count. */
export type PackedMeaning = (e: Emitter, a: Value, b: Value, mmx: boolean, op: Operands) => Value;

/** Destination = meaning(destination, source) on whole registers, for the SSE and the MMX form alike. */
export function packed(meaning: PackedMeaning, mmxSourceBits: 32 | 64 = 64): Semantics {
  return (e, op) => {
    if (op.kind(0) === 'mmx') {
      checkMmx(e);
      const b = readMmx(e, op, 1, mmxSourceBits);
      writeMmx(e, op, 0, meaning(e, readMmx(e, op, 0), b, true, op));
      return;
    }
    checkSimd(e);
    const b = readAligned(e, op, 1);
    op.write(0, meaning(e, op.read(0), b, false, op));
  };
}

/** Table entries for meanings with SSE and MMX forms; no flag is touched. */
export function packedTable(
  meanings: Readonly<Record<string, PackedMeaning>>,
  mmxSourceBits: 32 | 64 = 64,
): SemanticsTable {
  const table: Record<string, SemanticsEntry> = {};
  for (const [name, meaning] of Object.entries(meanings))
    table[name] = { sem: packed(meaning, mmxSourceBits) };
  return table;
}
