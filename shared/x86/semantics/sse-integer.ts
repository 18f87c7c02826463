// Packed integer arithmetic, comparison, logic and shifts of MMX, SSE2, SSSE3 and SSE4.x: both register files by one meaning.
// Intel SDM vol. 2. Elementwise operators map to WebAssembly's where those agree bit for bit; the rest are built here.
import type {
  Emitter,
  Operands,
  Semantics,
  SemanticsEntry,
  SemanticsTable,
  Value,
} from '#shared/translate/emitter.js';
import {
  checkMmx,
  checkSimd,
  constBytes,
  constLanes,
  constSplat,
  joinLow,
  lane,
  lowQuad,
  packedTable,
  readAligned,
  readMmx,
  replaceLane,
  shuffle,
  simdTable,
  v,
  writeMmx,
  zeroVector,
} from './sse-operand.js';
import type { PackedMeaning } from './sse-operand.js';

/** destination OP source by one WebAssembly operator. */
const DIRECT: Readonly<Record<string, string>> = {
  Paddb: 'i8x16.add',
  Paddw: 'i16x8.add',
  Paddd: 'i32x4.add',
  Paddq: 'i64x2.add',
  Psubb: 'i8x16.sub',
  Psubw: 'i16x8.sub',
  Psubd: 'i32x4.sub',
  Psubq: 'i64x2.sub',
  Paddsb: 'i8x16.add_sat_s',
  Paddsw: 'i16x8.add_sat_s',
  Paddusb: 'i8x16.add_sat_u',
  Paddusw: 'i16x8.add_sat_u',
  Psubsb: 'i8x16.sub_sat_s',
  Psubsw: 'i16x8.sub_sat_s',
  Psubusb: 'i8x16.sub_sat_u',
  Psubusw: 'i16x8.sub_sat_u',
  Pavgb: 'i8x16.avgr_u',
  Pavgw: 'i16x8.avgr_u',
  Pminub: 'i8x16.min_u',
  Pminsw: 'i16x8.min_s',
  Pmaxub: 'i8x16.max_u',
  Pmaxsw: 'i16x8.max_s',
  Pminsb: 'i8x16.min_s',
  Pminuw: 'i16x8.min_u',
  Pminsd: 'i32x4.min_s',
  Pminud: 'i32x4.min_u',
  Pmaxsb: 'i8x16.max_s',
  Pmaxuw: 'i16x8.max_u',
  Pmaxsd: 'i32x4.max_s',
  Pmaxud: 'i32x4.max_u',
  Pcmpeqb: 'i8x16.eq',
  Pcmpeqw: 'i16x8.eq',
  Pcmpeqd: 'i32x4.eq',
  Pcmpeqq: 'i64x2.eq',
  Pcmpgtb: 'i8x16.gt_s',
  Pcmpgtw: 'i16x8.gt_s',
  Pcmpgtd: 'i32x4.gt_s',
  Pcmpgtq: 'i64x2.gt_s',
  Pand: 'v128.and',
  Por: 'v128.or',
  Pxor: 'v128.xor',
  Andps: 'v128.and',
  Andpd: 'v128.and',
  Orps: 'v128.or',
  Orpd: 'v128.or',
  Xorps: 'v128.xor',
  Xorpd: 'v128.xor',
  Pmullw: 'i16x8.mul',
  Pmulld: 'i32x4.mul',
  Pmaddwd: 'i32x4.dot_i16x8_s',
};

const andNot: PackedMeaning = (e, a, b) => v(e, 'v128.andnot', b, a);
const ODD_WORDS = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31];
const EVEN_WORDS = [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29];
const EVEN_DWORDS = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const ODD_DWORDS = [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31];

/** The upper 16 bits of each 32-bit product. */
function multiplyHigh(sign: 's' | 'u'): PackedMeaning {
  return (e, a, b) =>
    shuffle(
      e,
      v(e, `i32x4.extmul_low_i16x8_${sign}`, a, b),
      v(e, `i32x4.extmul_high_i16x8_${sign}`, a, b),
      ODD_WORDS,
    );
}

/** 32 × 32 → 64 of the even lanes. */
function multiplyEven(sign: 's' | 'u'): PackedMeaning {
  return (e, a, b) =>
    v(e, `i64x2.extmul_low_i32x4_${sign}`, shuffle(e, a, a, EVEN_DWORDS), shuffle(e, b, b, EVEN_DWORDS));
}

/** PMADDUBSW: unsigned bytes of the destination by signed bytes of the source, pairs added with saturation. */
const multiplyAddBytes: PackedMeaning = (e, a, b) => {
  const eight = e.i32(8);
  const even = v(
    e,
    'i16x8.mul',
    v(e, 'v128.and', a, constSplat(e, 16, 0xff)),
    v(e, 'i16x8.shr_s', v(e, 'i16x8.shl', b, eight), eight),
  );
  const odd = v(e, 'i16x8.mul', v(e, 'i16x8.shr_u', a, eight), v(e, 'i16x8.shr_s', b, eight));
  return v(e, 'i16x8.add_sat_s', even, odd);
};

/** PMULHRSW does not saturate: −1 × −1 gives −1, where the WebAssembly operator gives the largest positive. */
const multiplyHighRounded: PackedMeaning = (e, a, b) => {
  const minimum = constSplat(e, 16, 0x8000);
  const both = v(e, 'v128.and', v(e, 'i16x8.eq', a, minimum), v(e, 'i16x8.eq', b, minimum));
  return v(e, 'v128.xor', v(e, 'i16x8.q15mulr_sat_s', a, b), both);
};

export function absoluteDifference(e: Emitter, a: Value, b: Value): Value {
  return v(e, 'v128.or', v(e, 'i8x16.sub_sat_u', a, b), v(e, 'i8x16.sub_sat_u', b, a));
}

const sumAbsoluteDifferences: PackedMeaning = (e, a, b) => {
  const words = v(e, 'i16x8.extadd_pairwise_i8x16_u', absoluteDifference(e, a, b));
  const dwords = v(e, 'i32x4.extadd_pairwise_i16x8_u', words);
  const sum = v(e, 'i64x2.add', dwords, v(e, 'i64x2.shr_u', dwords, e.i32(32)));
  return v(e, 'v128.and', sum, constSplat(e, 64, 0xffffffffn));
};

/** PHADD and PHSUB: neighbours of the destination, then of the source. */
function horizontal(name: string, even: readonly number[], odd: readonly number[]): PackedMeaning {
  return (e, a, b, mmx) => {
    const [low, high] = mmx ? [joinLow(e, a, b), joinLow(e, a, b)] : [a, b];
    return v(e, name, shuffle(e, low, high, even), shuffle(e, low, high, odd));
  };
}

/** PSIGN: negates where the source is negative, clears where it is zero. */
function sign(shape: string): PackedMeaning {
  return (e, a, b) => {
    const zero = zeroVector(e);
    const negative = v(e, `${shape}.lt_s`, b, zero);
    const flipped = v(e, `${shape}.sub`, v(e, 'v128.xor', a, negative), negative);
    return v(e, 'v128.andnot', flipped, v(e, `${shape}.eq`, b, zero));
  };
}

function absolute(shape: string): PackedMeaning {
  return (e, _a, b) => v(e, `${shape}.abs`, b);
}

function packedByName(): Record<string, PackedMeaning> {
  const table: Record<string, PackedMeaning> = {};
  for (const [name, operator] of Object.entries(DIRECT)) table[name] = (e, a, b) => v(e, operator, a, b);
  return table;
}

type ShiftKind = 'shl' | 'shr_u' | 's';

/** One shift of every element; counts at or above the width give zero, or copies of the sign. */
function shiftElements(
  e: Emitter,
  shape: string,
  width: number,
  kind: ShiftKind,
  a: Value,
  count: Value,
  tooLarge: Value,
): Value {
  const known = e.known(count);
  if (known !== undefined) {
    if (known < width) return v(e, `${shape}.${kind === 's' ? 'shr_s' : kind}`, a, count);
    return kind === 's' ? v(e, `${shape}.shr_s`, a, e.i32(width - 1)) : zeroVector(e);
  }
  if (kind === 's') return v(e, `${shape}.shr_s`, a, e.select(tooLarge, e.i32(width - 1), count));
  const shifted = v(e, `${shape}.${kind}`, a, count);
  return v(e, 'v128.and', shifted, v(e, 'i32x4.splat', e.sub(tooLarge, e.i32(1))));
}

function shift(shape: string, width: number, kind: ShiftKind): Semantics {
  return (e, op) => {
    const mmx = op.kind(0) === 'mmx';
    if (mmx) checkMmx(e);
    else checkSimd(e);
    const { count, tooLarge } = shiftCount(e, op, width, mmx);
    const a = mmx ? readMmx(e, op, 0) : op.read(0);
    const result = shiftElements(e, shape, width, kind, a, count, tooLarge);
    if (mmx) writeMmx(e, op, 0, result);
    else op.write(0, result);
  };
}

function shiftCount(
  e: Emitter,
  op: Operands,
  width: number,
  mmx: boolean,
): { count: Value; tooLarge: Value } {
  if (op.kind(1) === 'immediate') {
    const count = e.and(e.toBits(op.read(1), 32), e.i32(0xff));
    return { count, tooLarge: e.gtU(count, e.i32(width - 1)) };
  }
  const quad = mmx ? op.readLow(1, 64) : lowQuad(e, readAligned(e, op, 1));
  return { count: e.wrap(quad), tooLarge: e.gtU(quad, e.i64(width - 1)) };
}

/** A vector moved by `count` (0–16) bytes, zeros coming in. */
function shiftedBytes(e: Emitter, a: Value, count: number, direction: 'left' | 'right'): Value {
  const lanes = Array.from({ length: 16 }, (_, i) => (direction === 'left' ? 16 - count : count) + i);
  return direction === 'left' ? shuffle(e, zeroVector(e), a, lanes) : shuffle(e, a, zeroVector(e), lanes);
}

/** PSLLDQ and PSRLDQ: by bytes, 16 and more give zero. */
function shiftBytes(direction: 'left' | 'right'): Semantics {
  return (e, op) => {
    const count = e.and(e.toBits(op.read(1), 32), e.i32(0xff));
    const known = e.known(count);
    if (known !== undefined) {
      op.write(0, shiftedBytes(e, op.read(0), Math.min(known, 16), direction));
      return;
    }
    const iota = constBytes(e, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    // Out-of-range swizzle lanes give zero: below 0 wraps to above 15, but a count above 240 must not wrap round.
    const places = e.select(e.gtU(count, e.i32(16)), e.i32(16), count);
    const lanes = v(e, direction === 'left' ? 'i8x16.sub' : 'i8x16.add', iota, v(e, 'i8x16.splat', places));
    op.write(0, v(e, 'i8x16.swizzle', op.read(0), lanes));
  };
}

const testVectors: Semantics = (e, op) => {
  const b = readAligned(e, op, 1);
  const a = op.read(0);
  const zf = e.eqz(v(e, 'v128.any_true', v(e, 'v128.and', b, a)));
  const cf = e.eqz(v(e, 'v128.any_true', v(e, 'v128.andnot', b, a)));
  e.writeArithmeticFlags(e.or(e.shl(zf, e.i32(6)), cf));
};

/** PHMINPOSUW: the smallest word and its first index, by one 32-bit key per word. */
const minimumPosition: Semantics = (e, op) => {
  const a = readAligned(e, op, 1);
  const key = (half: string, numbers: readonly number[]): Value =>
    v(
      e,
      'v128.or',
      v(e, 'i32x4.shl', v(e, `i32x4.extend_${half}_i16x8_u`, a), e.i32(16)),
      constLanes(e, 32, numbers),
    );
  let least = v(e, 'i32x4.min_u', key('low', [0, 1, 2, 3]), key('high', [4, 5, 6, 7]));
  least = v(
    e,
    'i32x4.min_u',
    least,
    shuffle(e, least, least, [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7]),
  );
  least = v(
    e,
    'i32x4.min_u',
    least,
    shuffle(e, least, least, [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11]),
  );
  const found = e.rotl(lane(e, 'i32x4.extract_lane', least, 0), e.i32(16));
  op.write(0, replaceLane(e, 'i32x4.replace_lane', zeroVector(e), 0, found));
};

const SHIFTS: Readonly<Record<string, SemanticsEntry>> = {
  Psllw: { sem: shift('i16x8', 16, 'shl') },
  Pslld: { sem: shift('i32x4', 32, 'shl') },
  Psllq: { sem: shift('i64x2', 64, 'shl') },
  Psrlw: { sem: shift('i16x8', 16, 'shr_u') },
  Psrld: { sem: shift('i32x4', 32, 'shr_u') },
  Psrlq: { sem: shift('i64x2', 64, 'shr_u') },
  Psraw: { sem: shift('i16x8', 16, 's') },
  Psrad: { sem: shift('i32x4', 32, 's') },
};

export const SSE_INTEGER: SemanticsTable = {
  ...packedTable({
    ...packedByName(),
    Pandn: andNot,
    Andnps: andNot,
    Andnpd: andNot,
    Pmulhw: multiplyHigh('s'),
    Pmulhuw: multiplyHigh('u'),
    Pmuludq: multiplyEven('u'),
    Pmuldq: multiplyEven('s'),
    Pmaddubsw: multiplyAddBytes,
    Pmulhrsw: multiplyHighRounded,
    Psadbw: sumAbsoluteDifferences,
    Phaddw: horizontal('i16x8.add', EVEN_WORDS, ODD_WORDS),
    Phaddd: horizontal('i32x4.add', EVEN_DWORDS, ODD_DWORDS),
    Phaddsw: horizontal('i16x8.add_sat_s', EVEN_WORDS, ODD_WORDS),
    Phsubw: horizontal('i16x8.sub', EVEN_WORDS, ODD_WORDS),
    Phsubd: horizontal('i32x4.sub', EVEN_DWORDS, ODD_DWORDS),
    Phsubsw: horizontal('i16x8.sub_sat_s', EVEN_WORDS, ODD_WORDS),
    Psignb: sign('i8x16'),
    Psignw: sign('i16x8'),
    Psignd: sign('i32x4'),
    Pabsb: absolute('i8x16'),
    Pabsw: absolute('i16x8'),
    Pabsd: absolute('i32x4'),
  }),
  ...SHIFTS,
  ...simdTable({ Pslldq: shiftBytes('left'), Psrldq: shiftBytes('right'), Phminposuw: minimumPosition }),
  ...simdTable({ Ptest: testVectors }, { overwritesFlags: true }),
};
