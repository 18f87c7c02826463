// Elementary functions for the x87 in fixed-point BigInt, with some 60 bits more than a result keeps: 2^x − 1, log2, arctangent, sine, cosine.
// Reduction of sine and cosine uses the processors' own 66-bit π (Intel SDM vol. 1 §8.3.8), so that large arguments
// agree with hardware. Finite, non-zero operands only: special ones are the caller's.
import { LN_2, LOG2_E, PI } from './constant.js';
import { bitLength } from './format.js';
import type { Unpacked } from './format.js';

/** (−1)^sign × significand × 2^exponent; `exact` unless something lies below the lowest bit. */
export interface WideNumber {
  readonly sign: 0 | 1;
  readonly significand: bigint;
  readonly exponent: number;
  readonly exact: boolean;
}

/** Fraction bits of fixed-point values; results near zero get more by scaling. */
const FRACTION = 264;
const ONE = 1n << BigInt(FRACTION);
/** Below this exponent the first term of a series is the result to more than 64 bits. */
const TINY = -68;

export function topOf(a: { significand: bigint; exponent: number }): number {
  return a.exponent + bitLength(a.significand) - 1;
}

function shiftBy(value: bigint, count: number): bigint {
  return count >= 0 ? value << BigInt(count) : value >> BigInt(-count);
}

/** A number as fixed point; exact where its lowest bit is above 2^−FRACTION. */
function fixed(a: { sign: number; significand: bigint; exponent: number }): bigint {
  const magnitude = shiftBy(a.significand, a.exponent + FRACTION);
  return a.sign === 1 ? -magnitude : magnitude;
}

function wide(value: bigint, exact = false): WideNumber {
  return { sign: value < 0n ? 1 : 0, significand: value < 0n ? -value : value, exponent: -FRACTION, exact };
}

const times = (a: bigint, b: bigint): bigint => (a * b) >> BigInt(FRACTION);

function constantFixed(c: { significand: bigint; top: number }): bigint {
  return shiftBy(c.significand, FRACTION + c.top - bitLength(c.significand) + 1);
}

/** x × constant, for tiny x. */
function timesConstant(a: Unpacked, c: { significand: bigint; top: number }): WideNumber {
  return {
    sign: a.sign,
    significand: a.significand * c.significand,
    exponent: a.exponent + c.top - bitLength(c.significand) + 1,
    exact: false,
  };
}

/** x itself, a hair smaller: the first term of an odd series that goes down. */
function hairBelow(a: Unpacked): WideNumber {
  return {
    sign: a.sign,
    significand: (a.significand << 128n) - 1n,
    exponent: a.exponent - 128,
    exact: false,
  };
}

/** 2^x − 1 for |x| ≤ 1. */
export function exponentialMinusOne(a: Unpacked): WideNumber {
  if (topOf(a) === 0) return a.sign === 0 ? wide(ONE, true) : wide(-(ONE >> 1n), true);
  if (topOf(a) < TINY) return timesConstant(a, LN_2);
  const t = times(fixed(a), constantFixed(LN_2));
  let term = t;
  let sum = t;
  for (let k = 2n; term !== 0n && term !== -1n; k++) {
    term = times(term, t) / k;
    sum += term;
  }
  return wide(sum);
}

/** 2 artanh(z) for |z| ≤ 0.2. */
function logarithmSeries(z: bigint): bigint {
  const square = times(z, z);
  let power = z;
  let sum = z;
  for (let k = 3n; power !== 0n && power !== -1n; k += 2n) {
    power = times(power, square);
    sum += power / k;
  }
  return 2n * sum;
}

/** ln 2 to more bits than the constant that the x87 loads has. */
let longLn2: bigint | undefined;
function ln2(): bigint {
  return (longLn2 ??= logarithmSeries(ONE / 3n));
}

/** log2 of a positive number. */
export function logarithm(a: Unpacked): WideNumber {
  let top = topOf(a);
  // m in [1, 2), then in [√½, √2) so that the series is short and 1 is reached from both sides.
  let m = shiftBy(a.significand, FRACTION - bitLength(a.significand) + 1);
  if (m === ONE) return wide(BigInt(top) << BigInt(FRACTION), true);
  if (m * m > 2n * ONE * ONE) {
    m >>= 1n;
    top += 1;
  }
  const z = ((m - ONE) << BigInt(FRACTION)) / (m + ONE);
  const fraction = (logarithmSeries(z) << BigInt(FRACTION)) / ln2();
  return wide((BigInt(top) << BigInt(FRACTION)) + fraction);
}

/** log2(1 + x) for x > −1. */
export function logarithmPlusOne(a: Unpacked): WideNumber {
  if (topOf(a) < TINY) return timesConstant(a, LOG2_E);
  const x = fixed(a);
  const size = x < 0n ? -x : x;
  if (size > ONE / 2n) {
    const sum = ONE + x;
    return logarithm({ kind: 'finite', sign: 0, significand: sum, exponent: -FRACTION, denormal: false });
  }
  const z = (x << BigInt(FRACTION)) / (2n * ONE + x);
  return wide((logarithmSeries(z) << BigInt(FRACTION)) / ln2());
}

export function multiplyWide(a: Unpacked, b: WideNumber): WideNumber {
  return {
    sign: (a.sign ^ b.sign) as 0 | 1,
    significand: a.significand * b.significand,
    exponent: a.exponent + b.exponent,
    exact: b.exact,
  };
}

function fixedRoot(value: bigint): bigint {
  const radicand = value << BigInt(FRACTION);
  let x = 1n << BigInt((bitLength(radicand) + 1) >> 1);
  for (;;) {
    const next = (x + radicand / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}

/** arctan r for 0 ≤ r ≤ 1, fixed point. */
function arctangentFixed(r: bigint): bigint {
  // Three halvings: arctan r = 2 arctan(r / (1 + √(1 + r²))).
  for (let i = 0; i < 3; i++) r = (r << BigInt(FRACTION)) / (ONE + fixedRoot(ONE + times(r, r)));
  const square = times(r, r);
  let power = r;
  let sum = r;
  for (let k = 3n, sign = -1n; power > 0n; k += 2n, sign = -sign) {
    power = times(power, square);
    sum += (sign * power) / k;
  }
  return 8n * sum;
}

/** π / divisor × multiplier. */
export function piFraction(sign: 0 | 1, multiplier: bigint, shift: number): WideNumber {
  return { sign, significand: PI.significand * multiplier, exponent: PI.top - 127 - shift, exact: false };
}

/** The angle of (x, y), both finite and not zero. */
export function arctangent(y: Unpacked, x: Unpacked): WideNumber {
  const distance = topOf(y) - topOf(x);
  const pi = constantFixed(PI);
  if (distance < TINY) return x.sign === 0 ? tinyQuotient(y, x) : { ...wide(pi - 1n), sign: y.sign };
  if (distance > -TINY) return { ...wide(pi / 2n - (x.sign === 0 ? 1n : -1n)), sign: y.sign };
  // Both moved so that the larger is near one.
  const scale = Math.max(topOf(y), topOf(x));
  const a = shiftBy(y.significand, y.exponent - scale + FRACTION);
  const b = shiftBy(x.significand, x.exponent - scale + FRACTION);
  const steep = a > b;
  const r = steep ? (b << BigInt(FRACTION)) / a : (a << BigInt(FRACTION)) / b;
  let angle = arctangentFixed(r);
  if (steep) angle = pi / 2n - angle;
  if (x.sign === 1) angle = pi - angle;
  return { ...wide(angle), sign: y.sign };
}

/** y / x for an angle so small that it is its tangent. */
function tinyQuotient(y: Unpacked, x: Unpacked): WideNumber {
  const quotient = (y.significand << 200n) / x.significand;
  return { sign: y.sign, significand: quotient, exponent: y.exponent - x.exponent - 200, exact: false };
}

/** π × 2^66 as the processors know it: two bits fewer than it has digits here. */
const PI_66 = 0xc90fdaa22168c234cn;

interface Reduced {
  /** Quadrant 0–3. */
  readonly quadrant: number;
  /** The rest in [−π/4, π/4] as an exact number. */
  readonly rest: Unpacked;
}

/** |x| < 2^63: x = quadrant × π/2 + rest. The sign is that of x. */
function reduceAngle(a: Unpacked): Reduced {
  // π/2 has 67 fraction bits.
  const scale = Math.max(67, -a.exponent);
  const x = shiftBy(a.significand, a.exponent + scale);
  const quarter = PI_66 << BigInt(scale - 67);
  const count = (2n * x + quarter) / (2n * quarter);
  const difference = x - count * quarter;
  const rest: Unpacked = {
    kind: difference === 0n ? 'zero' : 'finite',
    sign: difference < 0n ? 1 : 0,
    significand: difference < 0n ? -difference : difference,
    exponent: -scale,
    denormal: false,
  };
  return { quadrant: Number(count & 3n), rest };
}

function sineOfRest(a: Unpacked): WideNumber {
  if (a.kind === 'zero') return wide(0n, true);
  if (topOf(a) < TINY) return hairBelow(a);
  const x = fixed(a);
  const square = times(x, x);
  let term = x;
  let sum = x;
  for (let k = 2n; term !== 0n && term !== -1n; k += 2n) {
    term = -times(term, square) / (k * (k + 1n));
    sum += term;
  }
  return wide(sum);
}

function cosineOfRest(a: Unpacked): WideNumber {
  if (a.kind === 'zero') return wide(ONE, true);
  if (topOf(a) < TINY) return wide(ONE - 1n);
  const x = fixed(a);
  const square = times(x, x);
  let term = ONE;
  let sum = ONE;
  for (let k = 1n; term !== 0n && term !== -1n; k += 2n) {
    term = -times(term, square) / (k * (k + 1n));
    sum += term;
  }
  return wide(sum);
}

const negated = (a: WideNumber, sign: number): WideNumber => ({ ...a, sign: (a.sign ^ sign) as 0 | 1 });

/** sin and cos of a finite non-zero number below 2^63 in magnitude. */
export function sineAndCosine(a: Unpacked): { sine: WideNumber; cosine: WideNumber } {
  const { quadrant, rest } =
    topOf(a) < -1 ? { quadrant: 0, rest: { ...a, sign: 0 as const } } : reduceAngle(a);
  const s = sineOfRest(rest);
  const c = cosineOfRest(rest);
  const [sine, cosine] = (quadrant & 1) === 0 ? [s, c] : [c, s];
  return {
    sine: negated(sine, a.sign ^ (quadrant >> 1)),
    cosine: negated(cosine, ((quadrant + 1) >> 1) & 1),
  };
}

/** a / b of two wide numbers. */
export function divideWide(a: WideNumber, b: WideNumber): WideNumber {
  const quotient = (a.significand << BigInt(FRACTION)) / b.significand;
  return {
    sign: (a.sign ^ b.sign) as 0 | 1,
    significand: quotient,
    exponent: a.exponent - b.exponent - FRACTION,
    exact: false,
  };
}
