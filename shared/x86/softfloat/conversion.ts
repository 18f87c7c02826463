// Conversions: between formats, to and from integers and packed BCD, and rounding to an integral value.
// Intel SDM vol. 1 §4.8.4, §8.3.2–8.3.3, §11.5; indefinite values by table 4-1 (integer), 4-4 (packed BCD).
import { DE, IE, PE, bitLength, infinity, isNan, quietNan, zero } from './format.js';
import type { Format, Unpacked } from './format.js';
import { invalid, operand } from './arithmetic.js';
import { roundPack, roundShift } from './rounding.js';
import type { FloatEnvironment } from './rounding.js';

/** From one format to another. `source` tells whether a denormal source is an exception: it is for loads and CVT, not for x87 stores. */
export function convert(
  from: Format,
  to: Format,
  env: FloatEnvironment,
  pattern: bigint,
  source: 'checked' | 'unchecked' = 'checked',
): bigint {
  const a = operand(from, env, pattern);
  if (a.kind === 'unsupported') return invalid(to, env);
  if (isNan(a)) {
    if (a.kind === 'snan') env.flags |= IE;
    return quietNan(from, to, a);
  }
  if (a.kind === 'infinity') return infinity(to, a.sign);
  if (a.kind === 'zero') return zero(to, a.sign);
  if (a.denormal && source === 'checked') env.flags |= DE;
  return roundPack(to, env, a.sign, a.exponent, a.significand);
}

/** A signed integer as a float; small integers are exact. */
export function fromInteger(to: Format, env: FloatEnvironment, value: bigint): bigint {
  if (value === 0n) return zero(to, 0);
  return value < 0n ? roundPack(to, env, 1, 0, -value) : roundPack(to, env, 0, 0, value);
}

/** Magnitude of a finite number rounded to an integer. */
function integralMagnitude(a: Unpacked, rounding: number): { value: bigint; inexact: boolean; up: boolean } {
  if (a.kind === 'zero') return { value: 0n, inexact: false, up: false };
  // A magnitude far above every integer type is only compared with their limits.
  if (a.exponent > 200) return { value: 1n << 264n, inexact: false, up: false };
  return roundShift(a.significand, -a.exponent, a.sign, rounding);
}

/** To a signed integer of `bits`; NaN, infinity and out of range give the integer indefinite −2^(bits−1) and IE. */
export function toInteger(
  from: Format,
  env: FloatEnvironment,
  pattern: bigint,
  bits: number,
  rounding = env.rounding,
): bigint {
  const a = operand(from, env, pattern);
  const limit = 1n << BigInt(bits - 1);
  if (a.kind === 'finite' || a.kind === 'zero') {
    const { value, inexact, up } = integralMagnitude(a, rounding);
    if (value < limit || (value === limit && a.sign === 1)) {
      if (inexact) env.flags |= PE;
      env.roundedUp = up;
      return a.sign === 1 ? -value : value;
    }
  }
  env.flags |= IE;
  return -limit;
}

export interface IntegralOptions {
  readonly rounding: number;
  /** ROUNDxx with imm8 bit 3. */
  readonly suppressInexact?: boolean;
  /** FRNDINT raises DE, ROUNDxx does not. */
  readonly checkDenormal?: boolean;
}

/** The nearest integral value in the same format, by a rounding rule. */
export function roundToIntegral(
  format: Format,
  env: FloatEnvironment,
  pattern: bigint,
  options: IntegralOptions,
): bigint {
  const a = operand(format, env, pattern);
  if (a.kind === 'unsupported') return invalid(format, env);
  if (isNan(a)) {
    if (a.kind === 'snan') env.flags |= IE;
    return quietNan(format, format, a);
  }
  if (a.kind === 'infinity') return pattern;
  if (a.kind === 'zero') return zero(format, a.sign);
  if (a.denormal && options.checkDenormal === true) env.flags |= DE;
  if (a.exponent >= 0) return pattern;
  const { value, inexact, up } = roundShift(a.significand, -a.exponent, a.sign, options.rounding);
  if (inexact && options.suppressInexact !== true) env.flags |= PE;
  env.roundedUp = up;
  if (value === 0n) return zero(format, a.sign);
  // An integral value of at most the format's precision: exact, so no flag comes of packing it.
  const quiet = { ...env, precision: format.precision, flags: 0 };
  return roundPack(format, quiet, a.sign, 0, value);
}

const BCD_DIGITS = 18;
/** FBSTP's answer to an invalid operand. */
export const BCD_INDEFINITE = 0xffffc000000000000000n;

/** Packed BCD (80 bits: 18 digits, sign in bit 79) to an integer. Digits above 9 are undefined; they count as they stand. */
export function fromBcd(pattern: bigint): { magnitude: bigint; sign: 0 | 1 } {
  let magnitude = 0n;
  for (let i = BCD_DIGITS - 1; i >= 0; i--) magnitude = magnitude * 10n + ((pattern >> BigInt(4 * i)) & 15n);
  return { magnitude, sign: Number((pattern >> 79n) & 1n) as 0 | 1 };
}

export function toBcd(from: Format, env: FloatEnvironment, pattern: bigint): bigint {
  const a = operand(from, env, pattern);
  if (a.kind === 'finite' || a.kind === 'zero') {
    const { value, inexact, up } = integralMagnitude(a, env.rounding);
    if (value < 10n ** BigInt(BCD_DIGITS)) {
      if (inexact) env.flags |= PE;
      env.roundedUp = up;
      return BigInt(`0x${value.toString(10)}`) | (BigInt(a.sign) << 79n);
    }
  }
  env.flags |= IE;
  return BCD_INDEFINITE;
}

/** floor(log2 |a|) of a finite number. */
export function exponentOf(a: Unpacked): number {
  return a.exponent + bitLength(a.significand) - 1;
}
