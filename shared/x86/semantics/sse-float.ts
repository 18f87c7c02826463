// SSE floating-point arithmetic: add, subtract, multiply, divide, square root, minimum, maximum, horizontal forms, dot products, reciprocal
// approximations. Intel SDM vol. 2. Computed by WebAssembly when no flag can change, else by a helper (see sse-lanes.ts).
import type { Emitter, Semantics, SemanticsEntry, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { Lanes, SHAPE_NUMBER, UNKNOWN, quickOr } from './sse-lanes.js';
import type { Shape } from './sse-lanes.js';
import { constBytes, immediate, shuffle, simd, v, zeroVector } from './sse-operand.js';

/** Operations as the helper numbers them. */
export const ARITHMETIC_NUMBER = {
  add: 0,
  sub: 1,
  mul: 2,
  div: 3,
  sqrt: 4,
  min: 5,
  max: 6,
  addsub: 7,
  rcp: 8,
  rsqrt: 9,
} as const;
type Rounding = 'add' | 'sub' | 'mul' | 'div' | 'sqrt';

/** The result and the mask of lanes for which it is sure to be right and without a new flag, but for PE. */
interface Computed {
  readonly result: Value;
  readonly sure: Value;
}

function compute(l: Lanes, operation: Rounding, a: Value, b: Value): Computed {
  if (operation === 'sqrt') {
    const result = l.f('sqrt', b);
    return { result, sure: l.or(l.and(l.isPlain(b), l.isSafeResult(result)), l.isZero(b)) };
  }
  const result = l.f(operation, a, b);
  const operands = l.and(l.isPlain(a), l.isPlain(b));
  return {
    result,
    sure: l.and(
      operands,
      l.or(l.isSafeResult(result), l.and(l.isZero(result), zeroIsExact(l, operation, a, b))),
    ),
  };
}

/** When a zero result is no underflow. */
function zeroIsExact(l: Lanes, operation: Rounding, a: Value, b: Value): Value {
  switch (operation) {
    case 'mul':
      return l.or(l.isZero(a), l.isZero(b));
    case 'div':
      return l.isZero(a);
    default:
      return l.isPlain(a);
  }
}

/** Whether a sure result is exact: EXACT, INEXACT, or neither is known (the helper then finds out). */
function exactness(l: Lanes, operation: Rounding, a: Value, b: Value, result: Value): Value {
  switch (operation) {
    case 'add':
      return sumIsExact(l, a, b, result);
    case 'sub':
      return sumIsExact(l, a, l.f('neg', b), result);
    case 'mul':
      return productIsExact(l, a, b, result);
    case 'div':
      return productIsExact(l, result, b, a);
    case 'sqrt':
      return productIsExact(l, result, result, b);
  }
}

/** Knuth's error of a sum; no overflow can spoil it where the result is safe. */
function sumIsExact(l: Lanes, a: Value, b: Value, sum: Value): Value {
  const part = l.f('sub', sum, a);
  const error = l.f('add', l.f('sub', a, l.f('sub', sum, part)), l.f('sub', b, part));
  return l.all(l.isZero(error));
}

/** x × y = z exactly, where one of the three is a rounded result. */
function productIsExact(l: Lanes, x: Value, y: Value, z: Value): Value {
  const { e } = l;
  if (l.shape === 'ss') {
    const wide = (value: Value): Value => e.op('f64.promote_f32', [value]);
    return e.op('f64.eq', [e.op('f64.mul', [wide(x), wide(y)]), wide(z)]);
  }
  if (l.shape === 'ps')
    return e.and(singlesProductIsExact(e, [x, y, z], false), singlesProductIsExact(e, [x, y, z], true));
  if (l.shape === 'sd') return doubleProductIsExact(l, x, y, z);
  const scalar = new Lanes(e, 'sd');
  const of = (i: number): Value => {
    const [a, b, c] = [x, y, z].map((value) => e.op('f64x2.extract_lane', [value], [i]));
    return doubleProductIsExact(scalar, a!, b!, c!);
  };
  // 0 when one is 0, 1 when both are 1, above that when one is unknown.
  return e.mul(of(0), of(1));
}

/** Two of four lanes: products of singles are exact as doubles. */
function singlesProductIsExact(e: Emitter, values: readonly [Value, Value, Value], upper: boolean): Value {
  const half = (value: Value): Value => (upper ? shuffle(e, value, value, ODD_DOUBLES) : value);
  const [x, y, z] = values.map((value) => v(e, 'f64x2.promote_low_f32x4', half(value)));
  return v(e, 'i64x2.all_true', v(e, 'f64x2.eq', v(e, 'f64x2.mul', x!, y!), z!));
}

/** The product of significands of 53 − p and 53 − q bits fits 53 bits when p + q is at least 53, and cannot when it is below 52. */
function doubleProductIsExact(l: Lanes, x: Value, y: Value, z: Value): Value {
  const { e } = l;
  const zeros = (value: Value): Value => e.ctz(e.or(l.toBits(value), e.i64(1n << 52n)));
  const spare = e.add(zeros(x), zeros(y));
  const equal = e.or(e.op('f64.eq', [e.op('f64.mul', [x, y]), z]), l.isZero(z));
  const unknown = e.eq(spare, e.i64(52));
  return e.select(unknown, e.i32(UNKNOWN), e.and(equal, e.or(e.geU(spare, e.i64(53)), l.isZero(z))));
}

function arithmeticResult(l: Lanes, operation: Rounding, a: Value, b: Value): Value {
  const [x, y] = [l.fromBits(a), l.fromBits(b)];
  const { result, sure } = compute(l, operation, x, y);
  return quickOr(
    l.e,
    l.all(sure),
    () => exactness(l, operation, x, y, result),
    l.rawType,
    () => l.toBits(result),
    () => l.viaHelper('sse_arithmetic', a, b, [ARITHMETIC_NUMBER[operation], SHAPE_NUMBER[l.shape]]),
  );
}

function arithmetic(operation: Rounding, shape: Shape): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const b = l.readSource(op);
    l.writeDestination(op, arithmeticResult(l, operation, l.readDestination(op), b));
  };
}

/** MIN and MAX: the source unless the destination is strictly smaller (larger). WebAssembly's pmin and pmax with operands exchanged. */
function extremum(operation: 'min' | 'max', shape: Shape): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const b = l.readSource(op);
    const a = l.readDestination(op);
    const [x, y] = [l.fromBits(a), l.fromBits(b)];
    const result = e.ifValue(
      l.all(l.and(l.isPlain(x), l.isPlain(y))),
      l.rawType,
      () =>
        l.packed ? l.f(`p${operation}`, y, x) : e.select(l.f(operation === 'min' ? 'lt' : 'gt', x, y), a, b),
      () => l.viaHelper('sse_arithmetic', a, b, [ARITHMETIC_NUMBER[operation], SHAPE_NUMBER[shape]]),
    );
    l.writeDestination(op, result);
  };
}

const EVEN_SINGLES = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const ODD_SINGLES = [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31];
const EVEN_DOUBLES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const ODD_DOUBLES = [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31];

function horizontal(operation: 'add' | 'sub', shape: 'ps' | 'pd'): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const b = l.readSource(op);
    const a = op.read(0);
    const even = shuffle(e, a, b, shape === 'ps' ? EVEN_SINGLES : EVEN_DOUBLES);
    const odd = shuffle(e, a, b, shape === 'ps' ? ODD_SINGLES : ODD_DOUBLES);
    op.write(0, arithmeticResult(l, operation, even, odd));
  };
}

/** ADDSUBPS: even lanes subtract. A NaN keeps its sign, so the helper has an operation of its own. */
function addSubtract(shape: 'ps' | 'pd'): Semantics {
  const signs =
    shape === 'ps'
      ? [0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0]
      : [0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0];
  return (e, op) => {
    const l = new Lanes(e, shape);
    const b = l.readSource(op);
    const a = op.read(0);
    const turned = v(e, 'v128.xor', b, constBytes(e, signs));
    const { result, sure } = compute(l, 'add', a, turned);
    const slow = (): Value =>
      l.viaHelper('sse_arithmetic', a, b, [ARITHMETIC_NUMBER.addsub, SHAPE_NUMBER[shape]]);
    op.write(
      0,
      quickOr(
        e,
        l.all(sure),
        () => sumIsExact(l, a, turned, result),
        'v128',
        () => result,
        slow,
      ),
    );
  };
}

/** A mask of the lanes whose bit is set in an i32. */
function bitMask(e: Emitter, bits: Value, shape: 'ps' | 'pd'): Value {
  if (shape === 'ps') {
    const chosen = v(
      e,
      'v128.and',
      v(e, 'i32x4.splat', bits),
      constBytes(e, [1, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0]),
    );
    return v(e, 'i32x4.ne', chosen, zeroVector(e));
  }
  const chosen = v(
    e,
    'v128.and',
    v(e, 'i64x2.splat', e.extendU(bits)),
    constBytes(e, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
  );
  return v(e, 'i64x2.ne', chosen, zeroVector(e));
}

const SWAP_PAIRS = [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11];
const SWAP_HALVES = [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7];

/** DPPS, DPPD: products of the lanes in imm[7:4], summed in pairs, to the lanes in imm[3:0]. */
function dotProduct(shape: 'ps' | 'pd'): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const b = l.readSource(op);
    const a = op.read(0);
    const control = immediate(e, op, 2);
    const taken = bitMask(e, e.shrU(control, e.i32(4)), shape);
    const products = compute(l, 'mul', v(e, 'v128.and', a, taken), v(e, 'v128.and', b, taken));
    const steps = [products];
    for (const swap of shape === 'ps' ? [SWAP_PAIRS, SWAP_HALVES] : [SWAP_HALVES]) {
      const last = steps.at(-1)!.result;
      steps.push(compute(l, 'add', last, shuffle(e, last, last, swap)));
    }
    const sure = steps.map((step) => step.sure).reduce((x, y) => l.and(x, y));
    const written = bitMask(e, control, shape);
    const result = quickOr(
      e,
      l.all(sure),
      () => e.i32(UNKNOWN),
      'v128',
      () => v(e, 'v128.and', steps.at(-1)!.result, written),
      () => {
        l.putScratch(0, a);
        l.putScratch(16, b);
        e.helper('sse_dot', [control, e.i32(SHAPE_NUMBER[shape])]);
        return l.getScratch();
      },
    );
    op.write(0, result);
  };
}

/** RCPPS, RSQRTPS: at least 11 bits by the manual; here all 24. Flags do not change and denormals are zeros. */
function approximate(operation: 'rcp' | 'rsqrt', shape: 'ps' | 'ss'): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const raw = l.readSource(op);
    const b = l.fromBits(raw);
    const one = l.constant(0x3f800000n);
    const result = operation === 'rcp' ? l.f('div', one, b) : l.f('div', one, l.f('sqrt', b));
    const sure = l.and(l.isSafeResult(b), l.isSafeResult(result));
    const value = e.ifValue(
      l.all(sure),
      l.rawType,
      () => l.toBits(result),
      () => l.viaHelper('sse_arithmetic', raw, raw, [ARITHMETIC_NUMBER[operation], SHAPE_NUMBER[shape]]),
    );
    l.writeDestination(op, value);
  };
}

const SHAPES: readonly Shape[] = ['ps', 'pd', 'ss', 'sd'];

function arithmeticTable(): SemanticsTable {
  const table: Record<string, SemanticsEntry> = {};
  for (const shape of SHAPES) {
    for (const operation of ['add', 'sub', 'mul', 'div', 'sqrt'] as const) {
      table[operation[0]!.toUpperCase() + operation.slice(1) + shape] = {
        sem: simd(arithmetic(operation, shape)),
      };
    }
    table[`Min${shape}`] = { sem: simd(extremum('min', shape)) };
    table[`Max${shape}`] = { sem: simd(extremum('max', shape)) };
  }
  return table;
}

/** Units in the last place by which an approximation of 1.5 × 2^−12 may differ. */
const APPROXIMATION_ULPS = 6200;

export const SSE_FLOAT: SemanticsTable = {
  ...arithmeticTable(),
  Haddps: { sem: simd(horizontal('add', 'ps')) },
  Haddpd: { sem: simd(horizontal('add', 'pd')) },
  Hsubps: { sem: simd(horizontal('sub', 'ps')) },
  Hsubpd: { sem: simd(horizontal('sub', 'pd')) },
  Addsubps: { sem: simd(addSubtract('ps')) },
  Addsubpd: { sem: simd(addSubtract('pd')) },
  Dpps: { sem: simd(dotProduct('ps')) },
  Dppd: { sem: simd(dotProduct('pd')) },
  Rcpps: { sem: simd(approximate('rcp', 'ps')), tolerance: APPROXIMATION_ULPS },
  Rcpss: { sem: simd(approximate('rcp', 'ss')), tolerance: APPROXIMATION_ULPS },
  Rsqrtps: { sem: simd(approximate('rsqrt', 'ps')), tolerance: APPROXIMATION_ULPS },
  Rsqrtss: { sem: simd(approximate('rsqrt', 'ss')), tolerance: APPROXIMATION_ULPS },
};
