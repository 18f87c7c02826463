// Rounding to nearest even of extended-precision results, and the shifts that lead to it. IEEE 754; Intel SDM vol. 1 §4.8.4. A result before rounding
// has 64 bits below its significand; what is below those must have been ORed into the lowest.
import type { Value, Computation } from '#shared/translate/emitter.js';

/** `low`: the 64 bits below the significand. */
export interface Parts {
  readonly high: Value;
  readonly low: Value;
}

/** What rounding did: i32 0 or 1 each. */
export interface Rounded {
  readonly inexact: Value;
  readonly up: Value;
}

/** Whether the part below rounds the (i64) significand up, to nearest even. */
export function roundNearest(e: Computation, { high, low }: Parts): Rounded {
  const half = e.wrap(e.shrU(low, e.i64(63)));
  const above = e.ne(e.shl(low, e.i64(1)), e.i64(0));
  const odd = e.and(e.wrap(high), e.i32(1));
  return { inexact: e.ne(low, e.i64(0)), up: e.and(half, e.or(above, odd)) };
}

/** (significand : 0) moved right by `distance` (i32, not negative), what falls off noted in the lowest bit. */
export function shiftRight(e: Computation, significand: Value, distance: Value): Parts {
  const count = e.extendU(distance);
  const high = e.variable(e.shrU(significand, count));
  // Left by 64 − count, which may be 64.
  const low = e.variable(e.shl(e.shl(significand, e.sub(e.i64(63), count)), e.i64(1)));
  e.ifRare(e.geU(distance, e.i32(64)), () => {
    const lost = e.ne(e.shl(e.shl(significand, e.sub(e.i64(127), count)), e.i64(1)), e.i64(0));
    const near = e.or(e.shrU(significand, count), e.extendU(lost));
    high.set(e.i64(0));
    const far = e.extendU(e.ne(significand, e.i64(0)));
    low.set(e.select(e.ltU(distance, e.i32(128)), near, far));
  });
  return { high: high.get(), low: low.get() };
}

/** Moved left until the leading bit of `high`, which is not zero, is set; the count is i32. */
export function normalize(e: Computation, { high, low }: Parts): Parts & { readonly count: Value } {
  const count = e.clz(high);
  const from = e.shrU(e.shrU(low, e.i64(1)), e.sub(e.i64(63), count));
  return {
    high: e.or(e.shl(high, count), from),
    low: e.shl(low, count),
    count: e.wrap(count),
  };
}

/** The 128-bit product of two i64. */
export function multiplyWide(e: Computation, a: Value, b: Value): Parts {
  const mask = e.i64(0xffffffffn);
  const half = e.i64(32);
  const [aLow, aHigh] = [e.and(a, mask), e.shrU(a, half)];
  const [bLow, bHigh] = [e.and(b, mask), e.shrU(b, half)];
  const lowest = e.mul(aLow, bLow);
  const middle = e.add(e.mul(aLow, bHigh), e.shrU(lowest, half));
  const other = e.add(e.mul(aHigh, bLow), e.and(middle, mask));
  return {
    high: e.add(e.mul(aHigh, bHigh), e.add(e.shrU(middle, half), e.shrU(other, half))),
    low: e.or(e.shl(other, half), e.and(lowest, mask)),
  };
}
