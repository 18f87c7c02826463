// Rearrangement of elements: packs, unpacks, shuffles by immediate and by register, PALIGNR, blends, MPSADBW.
// Intel SDM vol. 2. The interpreter tier knows immediates at run time only, so shuffles by immediate are byte swizzles
// whose lane numbers are computed; lanes outside 0–15 give zero.
import type { Emitter, Semantics, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { XMM } from '#shared/x86/cpu-state.js';
import { absoluteDifference } from './sse-integer.js';
import {
  IOTA,
  checkMmx,
  checkSimd,
  constBytes,
  constLanes,
  constSplat,
  immediate,
  joinLow,
  packedTable,
  readAligned,
  readMmx,
  shuffle,
  simdTable,
  v,
  writeMmx,
  zeroVector,
} from './sse-operand.js';
import type { PackedMeaning } from './sse-operand.js';

function pack(name: string): PackedMeaning {
  return (e, a, b, mmx) => {
    if (!mmx) return v(e, name, a, b);
    const joined = joinLow(e, a, b);
    return v(e, name, joined, joined);
  };
}

/** Interleaves elements of `bytes` from byte `start` of both. */
function interleave(start: number, bytes: number): number[] {
  const lanes: number[] = [];
  for (let at = start; lanes.length < 16; at += bytes) {
    for (let i = 0; i < bytes; i++) lanes.push((at + i) & 15);
    for (let i = 0; i < bytes; i++) lanes.push(16 + ((at + i) & 15));
  }
  return lanes;
}

const unpackLow =
  (bytes: number): PackedMeaning =>
  (e, a, b) =>
    shuffle(e, a, b, interleave(0, bytes));
const unpackHigh =
  (bytes: number): PackedMeaning =>
  (e, a, b, mmx) =>
    shuffle(e, a, b, interleave(mmx ? 4 : 8, bytes));

/** PSHUFB: a lane number with bit 7 set gives zero. */
const shuffleBytes: PackedMeaning = (e, a, b, mmx) =>
  v(e, 'i8x16.swizzle', a, v(e, 'v128.and', b, constSplat(e, 8, mmx ? 0x87 : 0x8f)));

/**
 * Byte numbers for a shuffle of words or dwords: lane i takes the 2-bit selector at bits 2i of the immediate. Multiplying by
 * 64, 16, 4, 1 brings each selector to bits 6–7 of its lane.
 */
function selectors(
  e: Emitter,
  control: Value,
  bits: 16 | 32,
  multipliers: readonly number[],
  base: readonly number[],
): Value {
  const shape = bits === 16 ? 'i16x8' : 'i32x4';
  const scaled = v(e, `${shape}.mul`, v(e, `${shape}.splat`, control), constLanes(e, bits, multipliers));
  const chosen = v(e, 'v128.and', v(e, `${shape}.shr_u`, scaled, e.i32(6)), constSplat(e, bits, 3));
  const bytes = v(e, `${shape}.mul`, chosen, constSplat(e, bits, bits === 16 ? 0x0202 : 0x04040404));
  return v(e, `${shape}.add`, bytes, constLanes(e, bits, base));
}

const DWORD_BASE = new Array<number>(4).fill(0x03020100);
const dwordSelectors = (e: Emitter, control: Value): Value =>
  selectors(e, control, 32, [64, 16, 4, 1], DWORD_BASE);

/** Byte lanes of a shuffle of elements of `bytes` whose numbers are given. */
function elementLanes(elements: readonly number[], bytes: number): number[] {
  return elements.flatMap((element) => Array.from({ length: bytes }, (_, i) => element * bytes + i));
}

/** The four 2-bit selectors of an immediate. */
const fieldsOf = (control: number): number[] => [0, 2, 4, 6].map((shift) => (control >> shift) & 3);

const shuffleDwords: Semantics = (e, op) => {
  const a = readAligned(e, op, 1);
  const known = e.known(immediate(e, op, 2));
  if (known !== undefined) op.write(0, shuffle(e, a, a, elementLanes(fieldsOf(known), 4)));
  else op.write(0, v(e, 'i8x16.swizzle', a, dwordSelectors(e, immediate(e, op, 2))));
};

const LOW_WORDS = {
  words: (fields: readonly number[]): number[] => [...fields, 4, 5, 6, 7],
  multipliers: [64, 16, 4, 1, 0, 0, 0, 0],
  base: [0x0100, 0x0100, 0x0100, 0x0100, 0x0908, 0x0b0a, 0x0d0c, 0x0f0e],
};
const HIGH_WORDS = {
  words: (fields: readonly number[]): number[] => [0, 1, 2, 3, ...fields.map((field) => field + 4)],
  multipliers: [0, 0, 0, 0, 64, 16, 4, 1],
  base: [0x0100, 0x0302, 0x0504, 0x0706, 0x0908, 0x0908, 0x0908, 0x0908],
};

function shuffleWords(half: typeof LOW_WORDS): Semantics {
  return (e, op) => {
    const a = readAligned(e, op, 1);
    const known = e.known(immediate(e, op, 2));
    if (known !== undefined) op.write(0, shuffle(e, a, a, elementLanes(half.words(fieldsOf(known)), 2)));
    else
      op.write(
        0,
        v(e, 'i8x16.swizzle', a, selectors(e, immediate(e, op, 2), 16, half.multipliers, half.base)),
      );
  };
}

const shuffleWordsMmx: Semantics = (e, op) => {
  checkMmx(e);
  const a = readMmx(e, op, 1);
  writeMmx(
    e,
    op,
    0,
    v(e, 'i8x16.swizzle', a, selectors(e, immediate(e, op, 2), 16, LOW_WORDS.multipliers, LOW_WORDS.base)),
  );
};

const shuffleSingles: Semantics = (e, op) => {
  const b = readAligned(e, op, 1);
  const known = e.known(immediate(e, op, 2));
  if (known !== undefined) {
    const elements = fieldsOf(known).map((field, i) => (i < 2 ? field : field + 4));
    op.write(0, shuffle(e, op.read(0), b, elementLanes(elements, 4)));
    return;
  }
  const lanes = dwordSelectors(e, immediate(e, op, 2));
  const low = v(e, 'i8x16.swizzle', op.read(0), lanes);
  op.write(
    0,
    shuffle(
      e,
      low,
      v(e, 'i8x16.swizzle', b, lanes),
      [0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31],
    ),
  );
};

/** A mask of the lanes whose bit is set in an immediate. */
function immediateMask(e: Emitter, control: Value, bits: 16 | 32 | 64): Value {
  const shape = { 16: 'i16x8', 32: 'i32x4', 64: 'i64x2' }[bits];
  const numbers = Array.from({ length: 128 / bits }, (_, i) => 1 << i);
  const splat = v(e, `${shape}.splat`, bits === 64 ? e.extendU(control) : control);
  return v(e, `${shape}.ne`, v(e, 'v128.and', splat, constLanes(e, bits, numbers)), zeroVector(e));
}

const shuffleDoubles: Semantics = (e, op) => {
  const b = readAligned(e, op, 1);
  const a = op.read(0);
  const known = e.known(immediate(e, op, 2));
  if (known !== undefined) {
    op.write(0, shuffle(e, a, b, elementLanes([known & 1, 2 + ((known >> 1) & 1)], 8)));
    return;
  }
  const low = shuffle(e, a, b, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);
  const high = shuffle(e, a, b, [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31]);
  op.write(0, v(e, 'v128.bitselect', high, low, immediateMask(e, immediate(e, op, 2), 64)));
};

function blendImmediate(bits: 16 | 32 | 64): Semantics {
  return (e, op) => {
    const b = readAligned(e, op, 1);
    const known = e.known(immediate(e, op, 2));
    if (known !== undefined) {
      const count = 128 / bits;
      const elements = Array.from({ length: count }, (_, i) => (((known >> i) & 1) === 0 ? i : i + count));
      op.write(0, shuffle(e, op.read(0), b, elementLanes(elements, bits / 8)));
      return;
    }
    op.write(0, v(e, 'v128.bitselect', b, op.read(0), immediateMask(e, immediate(e, op, 2), bits)));
  };
}

/** BLENDVPS, BLENDVPD, PBLENDVB: by the sign bits of XMM0. */
function blendVariable(shape: string, bits: number): Semantics {
  return (e, op) => {
    const b = readAligned(e, op, 1);
    const mask = v(e, `${shape}.shr_s`, e.getState('v128', XMM), e.i32(bits - 1));
    op.write(0, v(e, 'v128.bitselect', b, op.read(0), mask));
  };
}

/** PALIGNR: bytes n … n + width − 1 of destination:source. */
const alignRight: Semantics = (e, op) => {
  const mmx = op.kind(0) === 'mmx';
  if (mmx) checkMmx(e);
  else checkSimd(e);
  const count = v(e, 'i8x16.splat', immediate(e, op, 2));
  const low = v(e, 'i8x16.add_sat_u', constBytes(e, IOTA), count);
  if (mmx) {
    const source = readMmx(e, op, 1);
    writeMmx(e, op, 0, v(e, 'i8x16.swizzle', joinLow(e, source, readMmx(e, op, 0)), low));
    return;
  }
  const source = readAligned(e, op, 1);
  const known = e.known(immediate(e, op, 2));
  if (known !== undefined && known <= 16) {
    const lanes = IOTA.map((i) => i + known);
    op.write(0, shuffle(e, source, op.read(0), lanes));
    return;
  }
  // A sum that wraps (counts above 240) is below 15 and so, less 16, still names no lane.
  const high = v(e, 'i8x16.sub', v(e, 'i8x16.add', constBytes(e, IOTA), count), constSplat(e, 8, 16));
  op.write(0, v(e, 'v128.or', v(e, 'i8x16.swizzle', source, low), v(e, 'i8x16.swizzle', op.read(0), high)));
};

/** MPSADBW: eight sums of four absolute differences, the source's four bytes slid along the destination. */
const multipleSums: Semantics = (e, op) => {
  const b = readAligned(e, op, 1);
  const a = op.read(0);
  const control = immediate(e, op, 2);
  const from = v(e, 'i8x16.add', constBytes(e, IOTA), v(e, 'i8x16.splat', e.and(control, e.i32(4))));
  const block = v(e, 'i8x16.splat', e.shl(e.and(control, e.i32(3)), e.i32(2)));
  let sum: Value | undefined;
  for (let i = 0; i < 4; i++) {
    const step = constSplat(e, 8, i);
    const slid = v(e, 'i8x16.swizzle', a, v(e, 'i8x16.add', from, step));
    const fixed = v(e, 'i8x16.swizzle', b, v(e, 'i8x16.add', block, step));
    const words = v(e, 'i16x8.extend_low_i8x16_u', absoluteDifference(e, slid, fixed));
    sum = sum === undefined ? words : v(e, 'i16x8.add', sum, words);
  }
  op.write(0, sum!);
};

export const SSE_SHUFFLE: SemanticsTable = {
  ...packedTable({
    Packsswb: pack('i8x16.narrow_i16x8_s'),
    Packuswb: pack('i8x16.narrow_i16x8_u'),
    Packssdw: pack('i16x8.narrow_i32x4_s'),
    Packusdw: pack('i16x8.narrow_i32x4_u'),
    Punpckhbw: unpackHigh(1),
    Punpckhwd: unpackHigh(2),
    Punpckhdq: unpackHigh(4),
    Punpckhqdq: unpackHigh(8),
    Unpckhps: unpackHigh(4),
    Unpckhpd: unpackHigh(8),
    Pshufb: shuffleBytes,
  }),
  // The MMX forms read 32 bits of memory.
  ...packedTable(
    {
      Punpcklbw: unpackLow(1),
      Punpcklwd: unpackLow(2),
      Punpckldq: unpackLow(4),
      Punpcklqdq: unpackLow(8),
      Unpcklps: unpackLow(4),
      Unpcklpd: unpackLow(8),
    },
    32,
  ),
  ...simdTable({
    Pshufd: shuffleDwords,
    Pshuflw: shuffleWords(LOW_WORDS),
    Pshufhw: shuffleWords(HIGH_WORDS),
    Shufps: shuffleSingles,
    Shufpd: shuffleDoubles,
    Blendps: blendImmediate(32),
    Blendpd: blendImmediate(64),
    Pblendw: blendImmediate(16),
    Blendvps: blendVariable('i32x4', 32),
    Blendvpd: blendVariable('i64x2', 64),
    Pblendvb: blendVariable('i8x16', 8),
    Mpsadbw: multipleSums,
  }),
  Pshufw: { sem: shuffleWordsMmx },
  Palignr: { sem: alignRight },
};
