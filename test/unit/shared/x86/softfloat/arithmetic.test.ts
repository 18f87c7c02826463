import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  add,
  compare,
  divide,
  maximum,
  minimum,
  multiply,
  squareRoot,
  subtract,
} from '#shared/x86/softfloat/arithmetic.js';
import {
  convert,
  fromBcd,
  fromInteger,
  roundToIntegral,
  toBcd,
  toInteger,
} from '#shared/x86/softfloat/conversion.js';
import {
  DE,
  F32,
  F64,
  F80,
  IE,
  OE,
  PE,
  UE,
  ZE,
  bitLength,
  defaultNan,
  infinity,
} from '#shared/x86/softfloat/format.js';
import { newEnvironment } from '#shared/x86/softfloat/rounding.js';

const view = new DataView(new ArrayBuffer(8));
function bitsOf(x: number): bigint {
  view.setFloat64(0, x);
  return view.getBigUint64(0);
}
function numberOf(bits: bigint): number {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}
const double = fc.double({ noNaN: true });
/** Doubles of similar size, so that sums round. */
const near = fc
  .tuple(fc.double({ min: 1, max: 2, noNaN: true }), fc.integer({ min: -60, max: 60 }), fc.boolean())
  .map(([m, e, s]) => (s ? -m : m) * 2 ** e);
const operand = fc.oneof(double, near);
const runs = { numRuns: 2000 };
/** JavaScript knows one NaN only. */
const same = (pattern: bigint, x: number): boolean =>
  Object.is(numberOf(pattern), x) || (Number.isNaN(x) && Number.isNaN(numberOf(pattern)));

describe('double arithmetic to nearest', () => {
  it.each([
    ['add', add, (a: number, b: number) => a + b],
    ['subtract', subtract, (a: number, b: number) => a - b],
    ['multiply', multiply, (a: number, b: number) => a * b],
    ['divide', divide, (a: number, b: number) => a / b],
  ] as const)('%s agrees with the host', (_name, operation, host) => {
    fc.assert(
      fc.property(operand, operand, (a, b) =>
        same(operation(F64, newEnvironment(), bitsOf(a), bitsOf(b)), host(a, b)),
      ),
      runs,
    );
  });

  it('takes square roots as the host does', () => {
    fc.assert(
      fc.property(operand, (a) => same(squareRoot(F64, newEnvironment(), bitsOf(a)), Math.sqrt(a))),
      runs,
    );
  });

  it('narrows to single and back as the host does', () => {
    fc.assert(
      fc.property(operand, (a) =>
        same(
          convert(F32, F64, newEnvironment(), convert(F64, F32, newEnvironment(), bitsOf(a))),
          Math.fround(a),
        ),
      ),
      runs,
    );
  });

  it('compares as the host does', () => {
    fc.assert(
      fc.property(
        operand,
        operand,
        (a, b) =>
          compare(F64, newEnvironment(), bitsOf(a), bitsOf(b), false) === (a < b ? -1 : a > b ? 1 : 0),
      ),
      runs,
    );
  });

  it('rounds to integral values as the host does', () => {
    fc.assert(
      fc.property(operand, (a) => {
        const to = (rounding: number): bigint =>
          roundToIntegral(F64, newEnvironment(), bitsOf(a), { rounding });
        return same(to(1), Math.floor(a)) && same(to(2), Math.ceil(a)) && same(to(3), Math.trunc(a));
      }),
      runs,
    );
  });
});

describe('flags and special results', () => {
  const one = bitsOf(1);
  it.each([
    ['1 / 3 is inexact', divide, one, bitsOf(3), PE],
    ['1 / 0 divides by zero', divide, one, 0n, ZE],
    ['0 / 0 is invalid', divide, 0n, 0n, IE],
    ['a denormal is noted', add, 1n, one, DE | PE],
    ['overflow', multiply, bitsOf(1e300), bitsOf(1e300), OE | PE],
    ['underflow', multiply, bitsOf(1e-300), bitsOf(1e-300), UE | PE],
    [
      'an exact denormal does not underflow while that is masked',
      multiply,
      bitsOf(2 ** -1000),
      bitsOf(2 ** -60),
      0,
    ],
    ['∞ − ∞ is invalid', subtract, infinity(F64, 0), infinity(F64, 0), IE],
    ['1 + 1 raises nothing', add, one, one, 0],
  ] as const)('%s', (_name, operation, a, b, flags) => {
    const env = newEnvironment();
    operation(F64, env, a, b);
    expect(env.flags).toBe(flags);
  });

  it('detects tininess after rounding', () => {
    // The product lies just below the smallest normal number and rounds to it with an unbounded exponent.
    const env = newEnvironment();
    const almostOne = bitsOf(1 - 2 ** -53);
    expect(multiply(F64, env, bitsOf(2 ** -1022), almostOne)).toBe(bitsOf(2 ** -1022));
    expect(env.flags).toBe(UE | PE);
  });

  it('flushes tiny results and denormal operands when told to', () => {
    const env = newEnvironment({ flushToZero: true, denormalsAreZero: true });
    expect(multiply(F64, env, bitsOf(-1e-300), bitsOf(1e-300))).toBe(1n << 63n);
    expect(env.flags).toBe(UE | PE);
    env.flags = 0;
    expect(add(F64, env, 1n, bitsOf(1))).toBe(bitsOf(1));
    expect(env.flags).toBe(0);
  });

  it('lets SSE keep its first NaN and the x87 the larger one', () => {
    const [small, large] = [0x7ff8000000000001n, 0x7ff8000000000002n];
    expect(add(F64, newEnvironment(), small, large)).toBe(small);
    expect(add(F64, newEnvironment({ x87: true }), small, large)).toBe(large);
  });

  it('gives the second operand of MIN and MAX when either is NaN or both are zeros', () => {
    const nan = defaultNan(F64);
    for (const operation of [minimum, maximum]) {
      expect(operation(F64, newEnvironment(), nan, one)).toBe(one);
      expect(operation(F64, newEnvironment(), one, nan)).toBe(nan);
      expect(operation(F64, newEnvironment(), 0n, 1n << 63n)).toBe(1n << 63n);
    }
  });
});

describe('integers and BCD', () => {
  it('come back from an extended number', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const env = newEnvironment({ x87: true });
        return toInteger(F80, env, fromInteger(F80, env, value), 64) === value && env.flags === 0;
      }),
    );
  });

  it('come back from packed BCD', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 18n) + 1n, max: 10n ** 18n - 1n }), (value) => {
        const env = newEnvironment({ x87: true });
        const { magnitude, sign } = fromBcd(toBcd(F80, env, fromInteger(F80, env, value)));
        return (sign === 1 ? -magnitude : magnitude) === value && env.flags === 0;
      }),
    );
  });

  it('give the indefinite when out of range', () => {
    const env = newEnvironment();
    expect(toInteger(F64, env, bitsOf(2147483648), 32)).toBe(-2147483648n);
    expect(env.flags).toBe(IE);
  });

  it('have a bit length', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 1n, max: 2n ** 1100n }),
        (value) => bitLength(value) === value.toString(2).length,
      ),
    );
    for (const n of [1n, 53n, 54n, 64n, 1023n, 1024n]) expect(bitLength((1n << n) - 1n)).toBe(Number(n));
  });
});
