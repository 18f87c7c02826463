// Add, subtract, multiply, divide, square root, compare, minimum and maximum over any of the formats, with x86's NaN choice and
// exception flags. Intel SDM vol. 1 §4.8.3.5 and table 4-7, §8.5, §11.5, appendix E. Patterns are BigInt.
import { DE, IE, ZE, bitLength, defaultNan, infinity, isNan, quietNan, unpack, zero } from './format.js';
import type { Format, Unpacked } from './format.js';
import { ROUND_DOWN, roundPack } from './rounding.js';
import type { FloatEnvironment } from './rounding.js';

/** Takes an operand apart; under DAZ a denormal is a zero. */
export function operand(format: Format, env: FloatEnvironment, pattern: bigint): Unpacked {
  const a = unpack(format, pattern);
  return a.denormal && env.denormalsAreZero ? unpack(format, zero(format, a.sign)) : a;
}

export function invalid(format: Format, env: FloatEnvironment): bigint {
  env.flags |= IE;
  return defaultNan(format);
}

/** The NaN that an operation on a and b gives, at least one of them being NaN. */
export function chooseNan(format: Format, env: FloatEnvironment, a: Unpacked, b: Unpacked): bigint {
  if (a.kind === 'snan' || b.kind === 'snan') env.flags |= IE;
  return quietNan(format, format, env.x87 ? largerNan(a, b) : isNan(a) ? a : b);
}

/** x87: a quiet one before a signalling one, then the larger significand, then the positive. */
function largerNan(a: Unpacked, b: Unpacked): Unpacked {
  if (!isNan(b)) return a;
  if (!isNan(a)) return b;
  if (a.kind !== b.kind) return a.kind === 'qnan' ? a : b;
  if (a.significand !== b.significand) return a.significand > b.significand ? a : b;
  return a.sign <= b.sign ? a : b;
}

/** The result when an operand is unsupported or NaN; otherwise undefined. */
export function specialOperands(
  format: Format,
  env: FloatEnvironment,
  a: Unpacked,
  b: Unpacked,
): bigint | undefined {
  if (a.kind === 'unsupported' || b.kind === 'unsupported') return invalid(format, env);
  return isNan(a) || isNan(b) ? chooseNan(format, env, a, b) : undefined;
}

export function noteDenormals(env: FloatEnvironment, a: Unpacked, b: Unpacked): void {
  if (a.denormal || b.denormal || env.sourceDenormal) env.flags |= DE;
}

export function add(format: Format, env: FloatEnvironment, left: bigint, right: bigint): bigint {
  return addSigned(format, env, left, right, 0);
}

export function subtract(format: Format, env: FloatEnvironment, left: bigint, right: bigint): bigint {
  return addSigned(format, env, left, right, 1);
}

function addSigned(format: Format, env: FloatEnvironment, left: bigint, right: bigint, flip: 0 | 1): bigint {
  const a = operand(format, env, left);
  const b = operand(format, env, right);
  const special = specialOperands(format, env, a, b);
  if (special !== undefined) return special;
  const bSign = b.sign ^ flip;
  if (a.kind === 'infinity' && b.kind === 'infinity' && a.sign !== bSign) return invalid(format, env);
  noteDenormals(env, a, b);
  if (a.kind === 'infinity') return infinity(format, a.sign);
  if (b.kind === 'infinity') return infinity(format, bSign);
  if (a.kind === 'zero' && b.kind === 'zero') return zero(format, a.sign === bSign ? a.sign : zeroSign(env));
  const [sum, exponent] = exactSum(a, b, a.sign, bSign);
  if (sum === 0n) return zero(format, zeroSign(env));
  return sum < 0n ? roundPack(format, env, 1, exponent, -sum) : roundPack(format, env, 0, exponent, sum);
}

/** Sign of an exact zero difference. */
function zeroSign(env: FloatEnvironment): 0 | 1 {
  return env.rounding === ROUND_DOWN ? 1 : 0;
}

/** Beyond this distance the smaller operand only makes the sum inexact. */
const FAR = 200;

function exactSum(a: Unpacked, b: Unpacked, aSign: number, bSign: number): [bigint, number] {
  const signed = (x: Unpacked, sign: number): bigint =>
    x.kind === 'zero' ? 0n : sign === 1 ? -x.significand : x.significand;
  const x = signed(a, aSign);
  const y = signed(b, bSign);
  if (x === 0n) return [y, b.exponent];
  if (y === 0n) return [x, a.exponent];
  const distance = a.exponent - b.exponent;
  if (distance > FAR) return [(x << BigInt(FAR)) + (y < 0n ? -1n : 1n), a.exponent - FAR];
  if (distance < -FAR) return [(y << BigInt(FAR)) + (x < 0n ? -1n : 1n), b.exponent - FAR];
  return distance >= 0
    ? [(x << BigInt(distance)) + y, b.exponent]
    : [x + (y << BigInt(-distance)), a.exponent];
}

export function multiply(format: Format, env: FloatEnvironment, left: bigint, right: bigint): bigint {
  const a = operand(format, env, left);
  const b = operand(format, env, right);
  const special = specialOperands(format, env, a, b);
  if (special !== undefined) return special;
  const sign = a.sign ^ b.sign;
  if ((a.kind === 'infinity' && b.kind === 'zero') || (a.kind === 'zero' && b.kind === 'infinity'))
    return invalid(format, env);
  noteDenormals(env, a, b);
  if (a.kind === 'infinity' || b.kind === 'infinity') return infinity(format, sign);
  if (a.kind === 'zero' || b.kind === 'zero') return zero(format, sign);
  return roundPack(format, env, sign, a.exponent + b.exponent, a.significand * b.significand);
}

export function divide(format: Format, env: FloatEnvironment, left: bigint, right: bigint): bigint {
  const a = operand(format, env, left);
  const b = operand(format, env, right);
  const special = specialOperands(format, env, a, b);
  if (special !== undefined) return special;
  const sign = a.sign ^ b.sign;
  if ((a.kind === 'infinity' && b.kind === 'infinity') || (a.kind === 'zero' && b.kind === 'zero'))
    return invalid(format, env);
  if (b.kind === 'zero') {
    if (a.kind !== 'infinity') env.flags |= ZE;
    return infinity(format, sign);
  }
  noteDenormals(env, a, b);
  if (a.kind === 'infinity') return infinity(format, sign);
  if (a.kind === 'zero' || b.kind === 'infinity') return zero(format, sign);
  const shift = Math.max(0, format.precision + 3 + bitLength(b.significand) - bitLength(a.significand));
  const dividend = a.significand << BigInt(shift);
  const quotient = dividend / b.significand;
  const sticky = quotient * b.significand === dividend ? 0n : 1n;
  return roundPack(format, env, sign, a.exponent - b.exponent - shift - 1, (quotient << 1n) | sticky);
}

export function squareRoot(format: Format, env: FloatEnvironment, pattern: bigint): bigint {
  const a = operand(format, env, pattern);
  const special = specialOperands(format, env, a, a);
  if (special !== undefined) return special;
  if (a.kind === 'zero') return zero(format, a.sign);
  if (a.sign === 1) return invalid(format, env);
  noteDenormals(env, a, a);
  if (a.kind === 'infinity') return infinity(format, 0);
  let shift = Math.max(0, 2 * (format.precision + 3) - bitLength(a.significand));
  if (((a.exponent - shift) & 1) !== 0) shift++;
  const radicand = a.significand << BigInt(shift);
  const root = integerRoot(radicand);
  const sticky = root * root === radicand ? 0n : 1n;
  return roundPack(format, env, 0, (a.exponent - shift) / 2 - 1, (root << 1n) | sticky);
}

/** ⌊√value⌋ by Newton's iteration, which comes from above after its first step. */
export function integerRoot(value: bigint): bigint {
  if (value < 2n) return value;
  let x = 1n << BigInt((bitLength(value) + 1) >> 1);
  if (value >> 1000n === 0n) {
    const guess = BigInt(Math.floor(Math.sqrt(Number(value))));
    x = (guess + value / guess) >> 1n;
    if (x * x < value) x += 1n;
  }
  for (;;) {
    const next = (x + value / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}

export type Comparison = -1 | 0 | 1 | 'unordered';

/** Compares; `quiet` leaves quiet NaNs without an exception (UCOMIS, FUCOM). */
export function compare(
  format: Format,
  env: FloatEnvironment,
  left: bigint,
  right: bigint,
  quiet: boolean,
): Comparison {
  const a = operand(format, env, left);
  const b = operand(format, env, right);
  if (a.kind === 'unsupported' || b.kind === 'unsupported') {
    env.flags |= IE;
    return 'unordered';
  }
  if (isNan(a) || isNan(b)) {
    if (!quiet || a.kind === 'snan' || b.kind === 'snan') env.flags |= IE;
    return 'unordered';
  }
  noteDenormals(env, a, b);
  return order(a, b);
}

/** −1, 0 or 1 for numbers and infinities. */
function order(a: Unpacked, b: Unpacked): Comparison {
  const difference = rank(a) - rank(b);
  if (difference !== 0) return difference < 0 ? -1 : 1;
  if (a.kind !== 'finite') return 0;
  const [sum] = exactSum(a, b, a.sign, b.sign ^ 1);
  return sum === 0n ? 0 : sum < 0n ? -1 : 1;
}

/** −∞, negative, zero, positive, +∞. */
function rank(a: Unpacked): number {
  const size = a.kind === 'zero' ? 0 : a.kind === 'infinity' ? 2 : 1;
  return a.sign === 1 ? -size : size;
}

/** MINSS, MAXSS: the second operand unless the first is strictly smaller (larger). Any NaN is invalid. */
export function minimum(format: Format, env: FloatEnvironment, left: bigint, right: bigint): bigint {
  return compare(format, env, left, right, false) === -1
    ? canonical(format, env, left)
    : canonical(format, env, right);
}

export function maximum(format: Format, env: FloatEnvironment, left: bigint, right: bigint): bigint {
  return compare(format, env, left, right, false) === 1
    ? canonical(format, env, left)
    : canonical(format, env, right);
}

/** Under DAZ the denormal that is passed on is a zero. */
function canonical(format: Format, env: FloatEnvironment, pattern: bigint): bigint {
  const a = unpack(format, pattern);
  return a.denormal && env.denormalsAreZero ? zero(format, a.sign) : pattern;
}
