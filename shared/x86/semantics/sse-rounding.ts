// The five SSE operations that round, where WebAssembly's own arithmetic serves, and whether a result is exact. Intel SDM vol. 1 §11.5.2. The usual case
// of normal numbers stands in the instructions (sse-float.ts); the routines here take zeros and results that may be exact while PE is
// clear. What they leave is a helper's.
import type { Computation, Value } from '#shared/translate/emitter.js';
import type { Routine, RoutineTable } from '#shared/translate/routine.js';
import { Lanes, UNKNOWN, quickOr } from './sse-lanes.js';
import type { Shape } from './sse-lanes.js';
import { shuffle, v } from './sse-operand.js';

const ODD_DOUBLES = [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31];

export type Rounding = 'add' | 'sub' | 'mul' | 'div' | 'sqrt';

/** The result and the mask of lanes for which it is sure to be right and without a new flag, but for PE. */
interface Computed {
  readonly result: Value;
  readonly sure: Value;
}

export function compute(l: Lanes<Computation>, operation: Rounding, a: Value, b: Value): Computed {
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
function zeroIsExact(l: Lanes<Computation>, operation: Rounding, a: Value, b: Value): Value {
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
export function exactness(
  l: Lanes<Computation>,
  operation: Rounding,
  a: Value,
  b: Value,
  result: Value,
): Value {
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
export function sumIsExact(l: Lanes<Computation>, a: Value, b: Value, sum: Value): Value {
  const part = l.f('sub', sum, a);
  const error = l.f('add', l.f('sub', a, l.f('sub', sum, part)), l.f('sub', b, part));
  return l.all(l.isZero(error));
}

/** x × y = z exactly, where one of the three is a rounded result. */
function productIsExact(l: Lanes<Computation>, x: Value, y: Value, z: Value): Value {
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
function singlesProductIsExact(
  e: Computation,
  values: readonly [Value, Value, Value],
  upper: boolean,
): Value {
  const half = (value: Value): Value => (upper ? shuffle(e, value, value, ODD_DOUBLES) : value);
  const [x, y, z] = values.map((value) => v(e, 'f64x2.promote_low_f32x4', half(value)));
  return v(e, 'i64x2.all_true', v(e, 'f64x2.eq', v(e, 'f64x2.mul', x!, y!), z!));
}

/** The product of significands of 53 − p and 53 − q bits fits 53 bits when p + q is at least 53, and cannot when it is below 52. */
function doubleProductIsExact(l: Lanes<Computation>, x: Value, y: Value, z: Value): Value {
  const { e } = l;
  const zeros = (value: Value): Value => e.ctz(e.or(l.toBits(value), e.i64(1n << 52n)));
  const spare = e.add(zeros(x), zeros(y));
  const equal = e.or(e.op('f64.eq', [e.op('f64.mul', [x, y]), z]), l.isZero(z));
  const unknown = e.eq(spare, e.i64(52));
  return e.select(unknown, e.i32(UNKNOWN), e.and(equal, e.or(e.geU(spare, e.i64(53)), l.isZero(z))));
}

export const ROUNDINGS: readonly Rounding[] = ['add', 'sub', 'mul', 'div', 'sqrt'];
const SHAPES: readonly Shape[] = ['ps', 'pd', 'ss', 'sd'];

export function roundingRoutineName(operation: Rounding, shape: Shape): string {
  return `sse_${operation}_${shape}`;
}

/** On the two operands in VECTOR_SCRATCH; the result replaces the first. Gives 1, or 0 when the helper must do it. */
function roundingRoutine(operation: Rounding, shape: Shape): Routine {
  return {
    parameters: [],
    body: (e) => {
      const l = new Lanes<Computation>(e, shape);
      const [x, y] = [l.getScratch(0), l.getScratch(16)];
      const { result, sure } = compute(l, operation, x, y);
      return quickOr(
        e,
        l.all(sure),
        () => exactness(l, operation, x, y, result),
        'i32',
        () => {
          l.putScratch(0, result);
          return e.i32(1);
        },
        () => e.i32(0),
      );
    },
  };
}

function roundingRoutines(): RoutineTable {
  const table: Record<string, Routine> = {};
  for (const shape of SHAPES)
    for (const operation of ROUNDINGS)
      table[roundingRoutineName(operation, shape)] = roundingRoutine(operation, shape);
  return table;
}

export const SSE_ROUTINES: RoutineTable = roundingRoutines();
