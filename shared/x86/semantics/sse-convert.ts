// SSE conversions between integers, single and double. Intel SDM vol. 2, vol. 1 §11.4.1.6. Exact and in-range cases are WebAssembly's; what sets a flag, rounds other
// than to nearest, or gives the integer indefinite is a helper's.
import type { Emitter, Operands, Semantics, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { HELPER_ARG0, VECTOR_SCRATCH } from '#shared/x86/cpu-state.js';
import {
  Lanes,
  UNKNOWN,
  inexactIsMasked,
  inexactIsSilent,
  noteInexact,
  quickOr,
  roundingControl,
  truncationIsSilent,
} from './sse-lanes.js';
import {
  checkMmx,
  checkSimd,
  constSplat,
  enterMmx,
  readAligned,
  readLowVector,
  readMmx,
  simd,
  simdHelper,
  v,
  writeMmx,
} from './sse-operand.js';

/** Conversions as the helper numbers them. Sources lie in VECTOR_SCRATCH, results too (general registers: HELPER_ARG0). */
export const CONVERT = {
  ss2sd: 0,
  sd2ss: 1,
  ps2pd: 2,
  pd2ps: 3,
  i64ToSs: 4,
  i64ToSd: 5,
  dq2ps: 6,
  ps2dq: 7,
  pd2dq: 8,
  ps2pi: 9,
  pi2ps: 10,
} as const;
/** Added to an argument: truncate instead of rounding by MXCSR. */
export const CONVERT_TRUNCATE = 1;

function scalarToHelper(e: Emitter, raw: Value, number: number): void {
  e.setState(raw.type, VECTOR_SCRATCH, raw);
  simdHelper(e, 'sse_convert', [e.i32(number)]);
}

/** CVTSI2SS, CVTSI2SD. A 32-bit integer is exact as a double. */
function fromInteger(shape: 'ss' | 'sd'): Semantics {
  return (e, op) => {
    const bits = op.bitsOf(1) === 64 ? 64 : 32;
    const source = op.readLow(1, bits);
    const l = new Lanes(e, shape);
    const result = e.op(`f${l.bits}.convert_i${bits}_s`, [source]);
    if (shape === 'sd' && bits === 32) {
      op.writeScalar(0, 64, result);
      return;
    }
    const limit = shape === 'sd' ? 1n << 53n : 1n << 24n;
    const wide = bits === 64 ? source : e.extendS(source);
    // |source| ≤ limit, by one unsigned comparison.
    const exact = e.leU(e.add(wide, e.i64(limit)), e.i64(2n * limit));
    const slow = (): Value => {
      scalarToHelper(e, wide, shape === 'sd' ? CONVERT.i64ToSd : CONVERT.i64ToSs);
      return l.getScratch();
    };
    const quick = (): Value => result;
    const value = e.unlessRare(exact, l.type, quick, () =>
      quickOr(e, e.i32(1), () => e.i32(UNKNOWN), l.type, quick, slow),
    );
    op.writeScalar(0, l.bits, value);
  };
}

/** CVTSS2SI, CVTTSS2SI and the double forms. */
function toInteger(shape: 'ss' | 'sd', truncate: boolean): Semantics {
  return (e, op) => {
    const bits = op.bitsOf(0) === 64 ? 64 : 32;
    const l = new Lanes(e, shape);
    const x = l.readSource(op);
    const rounded = truncate ? x : l.f('nearest', x);
    const result = e.op(`i${bits}.trunc_sat_f${l.bits}_s`, [rounded]);
    const inRange = l.f('lt', l.f('abs', rounded), l.constant(integerLimit(l.bits, bits)));
    // An integer is what it is however it is rounded; a denormal is not one.
    const exact = l.f('eq', e.op(`f${l.bits}.convert_i${bits}_s`, [result]), x);
    const value = e.unlessRare(
      e.and(inRange, e.or(exact, truncationIsSilent(e, !truncate))),
      result.type,
      () => result,
      () => {
        l.putScratch(0, x);
        simdHelper(e, 'sse_to_integer', [e.i32(l.bits), e.i32(bits), e.i32(truncate ? 1 : 0)]);
        return e.getState(bits === 64 ? 'i64' : 'i32', HELPER_ARG0);
      },
    );
    op.write(0, value);
  };
}

/** 2^(bits − 1) as a float. */
function integerLimit(floatBits: 32 | 64, bits: 32 | 64): bigint {
  if (floatBits === 32) return bits === 32 ? 0x4f000000n : 0x5f000000n;
  return bits === 32 ? 0x41e0000000000000n : 0x43e0000000000000n;
}

const singleToDouble: Semantics = (e, op) => {
  const l = new Lanes(e, 'ss');
  const x = l.readSource(op);
  const value = e.unlessRare(
    l.isPlain(x),
    'f64',
    () => e.op('f64.promote_f32', [x]),
    () => {
      scalarToHelper(e, x, CONVERT.ss2sd);
      return e.getState('f64', VECTOR_SCRATCH);
    },
  );
  op.writeScalar(0, 64, value);
};

const doubleToSingle: Semantics = (e, op) => {
  const x = op.readScalar(1, 64);
  const single = new Lanes(e, 'ss');
  const result = e.op('f32.demote_f64', [x]);
  const usual = (): Value => result;
  // A normal result tells that the operand was normal too.
  const value = e.unlessRare(e.and(single.areNormal([], result), inexactIsSilent(e)), 'f32', usual, () => {
    const exact = (): Value => e.op('f64.eq', [e.op('f64.promote_f32', [result]), x]);
    const zero = e.op('f64.eq', [x, e.op('f64.reinterpret_i64', [e.i64(0)])]);
    return quickOr(e, e.or(zero, single.isSafeResult(result)), exact, 'f32', usual, () => {
      scalarToHelper(e, x, CONVERT.sd2ss);
      return e.getState('f32', VECTOR_SCRATCH);
    });
  });
  op.writeScalar(0, 32, value);
};

function vectorToHelper(e: Emitter, raw: Value, number: number, flags = 0): Value {
  e.setState('v128', VECTOR_SCRATCH, raw);
  simdHelper(e, 'sse_convert', [e.i32(number), e.i32(flags)]);
  return e.getState('v128', VECTOR_SCRATCH);
}

const singlesToDoubles: Semantics = (e, op) => {
  const raw = readLowVector(e, op, 1, 64);
  const doubles = v(e, 'f64x2.promote_low_f32x4', raw);
  // A single's denormal is a normal double: the test is of the singles.
  const l = new Lanes(e, 'ps');
  const low = e.op('i8x16.shuffle', [raw, raw], [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]);
  op.write(
    0,
    e.unlessRare(
      l.all(l.isPlain(low)),
      'v128',
      () => doubles,
      () => vectorToHelper(e, raw, CONVERT.ps2pd),
    ),
  );
};

const doublesToSingles: Semantics = (e, op) => {
  const raw = readAligned(e, op, 1);
  const singles = v(e, 'f32x4.demote_f64x2_zero', raw);
  const back = v(e, 'f64x2.promote_low_f32x4', singles);
  const l = new Lanes(e, 'pd');
  const size = l.f('abs', back);
  const safe = l.and(
    l.f('gt', size, l.constant(0x3810000000000000n)),
    l.f('lt', size, l.constant(0x7ff0000000000000n)),
  );
  const sure = l.all(l.or(safe, l.isZero(raw)));
  op.write(
    0,
    quickOr(
      e,
      sure,
      () => l.all(l.f('eq', back, raw)),
      'v128',
      () => singles,
      () => vectorToHelper(e, raw, CONVERT.pd2ps),
    ),
  );
};

const integersToDoubles: Semantics = (e, op) =>
  op.write(0, v(e, 'f64x2.convert_low_i32x4_s', readLowVector(e, op, 1, 64)));

const integersToSingles: Semantics = (e, op) => {
  const raw = readAligned(e, op, 1);
  const small = v(
    e,
    'i32x4.all_true',
    v(e, 'i32x4.le_u', v(e, 'i32x4.abs', raw), constSplat(e, 32, 1 << 24)),
  );
  op.write(
    0,
    quickOr(
      e,
      e.i32(1),
      () => e.select(small, e.i32(1), e.i32(UNKNOWN)),
      'v128',
      () => v(e, 'f32x4.convert_i32x4_s', raw),
      () => vectorToHelper(e, raw, CONVERT.dq2ps),
    ),
  );
};

/** CVTPS2DQ, CVTPD2DQ and truncating forms: in range in every lane, and nothing inexact that would tell. */
function toIntegers(shape: 'ps' | 'pd', truncate: boolean): Semantics {
  return (e, op) => {
    const raw = readAligned(e, op, 1);
    op.write(0, integersOf(e, raw, shape, truncate));
  };
}

function integersOf(e: Emitter, raw: Value, shape: 'ps' | 'pd', truncate: boolean): Value {
  const l = new Lanes(e, shape);
  const rounded = l.f(truncate ? 'trunc' : 'nearest', raw);
  const inRange = l.all(l.f('lt', l.f('abs', rounded), l.constant(integerLimit(l.bits, 32))));
  const masked = truncate
    ? inexactIsMasked(e)
    : e.and(e.ne(inexactIsMasked(e), e.i32(0)), e.eqz(roundingControl(e)));
  const integral = l.all(l.f('eq', rounded, raw));
  // Under DAZ a denormal is exact.
  const quick = e.and(e.and(inRange, l.all(l.isPlain(raw))), e.ne(e.or(masked, integral), e.i32(0)));
  const operator = shape === 'ps' ? 'i32x4.trunc_sat_f32x4_s' : 'i32x4.trunc_sat_f64x2_s_zero';
  const slow = (): Value =>
    vectorToHelper(e, raw, shape === 'ps' ? CONVERT.ps2dq : CONVERT.pd2dq, truncate ? CONVERT_TRUNCATE : 0);
  return e.unlessRare(
    quick,
    'v128',
    () => {
      noteInexact(e, integral);
      return v(e, operator, rounded);
    },
    slow,
  );
}

/** CVTPS2PI and CVTTPS2PI: two singles to an MMX register. */
function singlesToMmx(truncate: boolean): Semantics {
  return (e, op) => {
    enterChecks(e);
    const raw = readLowVector(e, op, 1, 64);
    // The state changes even when the conversion then faults.
    enterMmx(e);
    writeMmx(e, op, 0, vectorToHelper(e, raw, CONVERT.ps2pi, truncate ? CONVERT_TRUNCATE : 0));
  };
}

function doublesToMmx(truncate: boolean): Semantics {
  return (e, op) => {
    enterChecks(e);
    const raw = readAligned(e, op, 1);
    enterMmx(e);
    writeMmx(e, op, 0, integersOf(e, raw, 'pd', truncate));
  };
}

/** Both register files: SSE's #UD and #NM, and a pending x87 exception. */
function enterChecks(e: Emitter): void {
  checkSimd(e);
  checkMmx(e);
}

function mmxSource(e: Emitter, op: Operands): Value {
  return op.kind(1) === 'mmx' ? readMmx(e, op, 1) : readLowVector(e, op, 1, 64);
}

const mmxToSingles: Semantics = (e, op) => {
  // From memory it does not touch the x87 state.
  if (op.kind(1) === 'mmx') enterChecks(e);
  else checkSimd(e);
  const raw = mmxSource(e, op);
  if (op.kind(1) === 'mmx') enterMmx(e);
  const result = vectorToHelper(e, raw, CONVERT.pi2ps);
  op.writeLow(0, 64, e.op('i64x2.extract_lane', [result], [0]));
};

const mmxToDoubles: Semantics = (e, op) => {
  // From memory it does not touch the x87 state.
  if (op.kind(1) === 'mmx') enterChecks(e);
  else checkSimd(e);
  const result = v(e, 'f64x2.convert_low_i32x4_s', mmxSource(e, op));
  if (op.kind(1) === 'mmx') enterMmx(e);
  op.write(0, result);
};

export const SSE_CONVERT: SemanticsTable = {
  Cvtsi2ss: { sem: simd(fromInteger('ss')) },
  Cvtsi2sd: { sem: simd(fromInteger('sd')) },
  Cvtss2si: { sem: simd(toInteger('ss', false)) },
  Cvttss2si: { sem: simd(toInteger('ss', true)) },
  Cvtsd2si: { sem: simd(toInteger('sd', false)) },
  Cvttsd2si: { sem: simd(toInteger('sd', true)) },
  Cvtss2sd: { sem: simd(singleToDouble) },
  Cvtsd2ss: { sem: simd(doubleToSingle) },
  Cvtps2pd: { sem: simd(singlesToDoubles) },
  Cvtpd2ps: { sem: simd(doublesToSingles) },
  Cvtdq2pd: { sem: simd(integersToDoubles) },
  Cvtdq2ps: { sem: simd(integersToSingles) },
  Cvtps2dq: { sem: simd(toIntegers('ps', false)) },
  Cvttps2dq: { sem: simd(toIntegers('ps', true)) },
  Cvtpd2dq: { sem: simd(toIntegers('pd', false)) },
  Cvttpd2dq: { sem: simd(toIntegers('pd', true)) },
  Cvtps2pi: { sem: singlesToMmx(false) },
  Cvttps2pi: { sem: singlesToMmx(true) },
  Cvtpd2pi: { sem: doublesToMmx(false) },
  Cvttpd2pi: { sem: doublesToMmx(true) },
  Cvtpi2ps: { sem: mmxToSingles },
  Cvtpi2pd: { sem: mmxToDoubles },
};
