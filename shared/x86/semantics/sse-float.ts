// SSE floating-point arithmetic: add, subtract, multiply, divide, square root, minimum, maximum, horizontal forms, dot products, reciprocal
// approximations. Intel SDM vol. 2. Computed by WebAssembly when no flag can change, else by a helper (see sse-lanes.ts).
import type { Emitter, Semantics, SemanticsEntry, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { ROUNDINGS, compute, roundingRoutineName, sumIsExact } from './sse-rounding.js';
import type { Rounding } from './sse-rounding.js';
import { Lanes, SHAPE_NUMBER, UNKNOWN, inexactIsSilent, quickOr } from './sse-lanes.js';
import type { Shape } from './sse-lanes.js';
import { constBytes, immediate, shuffle, simd, simdHelper, v, zeroVector } from './sse-operand.js';

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

/** Normal numbers here; zeros, and exactness while PE is clear, by the routine; everything else by the helper. */
function arithmeticResult(l: Lanes, operation: Rounding, a: Value, b: Value): Value {
  const { e } = l;
  const root = operation === 'sqrt';
  const result = root ? l.f('sqrt', b) : l.f(operation, a, b);
  return e.unlessRare(
    e.and(l.areNormal(root ? [b] : [a, b], result), inexactIsSilent(e)),
    l.type,
    () => result,
    () => {
      l.putScratch(0, a);
      l.putScratch(16, b);
      e.ifRare(e.eqz(e.routine(roundingRoutineName(operation, l.shape), [])), () =>
        simdHelper(e, 'sse_arithmetic', [e.i32(ARITHMETIC_NUMBER[operation]), e.i32(SHAPE_NUMBER[l.shape])]),
      );
      return l.getScratch();
    },
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
    const result = e.unlessRare(
      l.all(l.and(l.isPlain(a), l.isPlain(b))),
      l.type,
      () =>
        l.packed ? l.f(`p${operation}`, b, a) : e.select(l.f(operation === 'min' ? 'lt' : 'gt', a, b), a, b),
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
        simdHelper(e, 'sse_dot', [control, e.i32(SHAPE_NUMBER[shape])]);
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
    const b = l.readSource(op);
    const one = l.constant(0x3f800000n);
    const result = operation === 'rcp' ? l.f('div', one, b) : l.f('div', one, l.f('sqrt', b));
    const sure = l.and(l.isSafeResult(b), l.isSafeResult(result));
    const value = e.unlessRare(
      l.all(sure),
      l.type,
      () => result,
      () => l.viaHelper('sse_arithmetic', b, b, [ARITHMETIC_NUMBER[operation], SHAPE_NUMBER[shape]]),
    );
    l.writeDestination(op, value);
  };
}

const SHAPES: readonly Shape[] = ['ps', 'pd', 'ss', 'sd'];

function arithmeticTable(): SemanticsTable {
  const table: Record<string, SemanticsEntry> = {};
  for (const shape of SHAPES) {
    for (const operation of ROUNDINGS) {
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
