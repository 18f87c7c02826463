// Rounding an exact result into a format, with the exceptions that this raises. Intel SDM vol. 1 §4.8.4, §4.9, §8.5, §11.5.
// x86 detects tininess after rounding. Unmasked overflow and underflow of the x87 give a result whose exponent is moved
// by 24576 (§8.5.4, §8.5.5); for SSE an unmasked exception has no result.
import { F80, OE, PE, UE, bitLength, infinity, largestFinite, pack, zero } from './format.js';
import type { Format } from './format.js';

/** RC field. */
export const ROUND_NEAREST = 0;
export const ROUND_DOWN = 1;
export const ROUND_UP = 2;
export const ROUND_ZERO = 3;

/** Controls of one operation, and what it raised. */
export interface FloatEnvironment {
  /** RC: 0 nearest even, 1 down, 2 up, 3 towards zero. */
  rounding: number;
  /** x87 precision control in significand bits: 24, 53 or 64. */
  precision: number;
  /** Masked exceptions (IE … PE bits). */
  masks: number;
  flushToZero: boolean;
  denormalsAreZero: boolean;
  /** NaN choice and unmasked results of the x87. */
  x87: boolean;
  /** A memory operand was denormal before it was widened. */
  sourceDenormal: boolean;
  /** Raised so far. */
  flags: number;
  /** The last rounding increased the magnitude (C1). */
  roundedUp: boolean;
}

export function newEnvironment(more: Partial<FloatEnvironment> = {}): FloatEnvironment {
  return {
    rounding: ROUND_NEAREST,
    precision: 64,
    masks: 0x3f,
    flushToZero: false,
    denormalsAreZero: false,
    x87: false,
    sourceDenormal: false,
    flags: 0,
    roundedUp: false,
    ...more,
  };
}

/** The environment that an MXCSR value asks for. */
export function environmentOfMxcsr(mxcsr: number): FloatEnvironment {
  return newEnvironment({
    rounding: (mxcsr >> 13) & 3,
    masks: (mxcsr >> 7) & 0x3f,
    flushToZero: (mxcsr & 0x8000) !== 0,
    denormalsAreZero: (mxcsr & 0x40) !== 0,
  });
}

/** Drops `shift` low bits by the rounding rule; tells whether anything was lost and whether the magnitude grew. */
export function roundShift(
  value: bigint,
  shift: number,
  sign: number,
  rounding: number,
): { value: bigint; inexact: boolean; up: boolean } {
  if (shift <= 0) return { value: value << BigInt(-shift), inexact: false, up: false };
  const kept = value >> BigInt(shift);
  const lost = value - (kept << BigInt(shift));
  if (lost === 0n) return { value: kept, inexact: false, up: false };
  const up = roundsUp(kept, lost, 1n << BigInt(shift - 1), sign, rounding);
  return { value: up ? kept + 1n : kept, inexact: true, up };
}

function roundsUp(kept: bigint, lost: bigint, half: bigint, sign: number, rounding: number): boolean {
  switch (rounding) {
    case ROUND_NEAREST:
      return lost > half || (lost === half && (kept & 1n) === 1n);
    case ROUND_DOWN:
      return sign === 1;
    case ROUND_UP:
      return sign === 0;
    default:
      return false;
  }
}

/**
 * The pattern of (−1)^sign × significand × 2^exponent, significand > 0. A caller that has more bits than it can give jams
 * them into the lowest bit; then it must give at least two bits more than the format's precision.
 */
export function roundPack(
  format: Format,
  env: FloatEnvironment,
  sign: number,
  exponent: number,
  significand: bigint,
): bigint {
  const precision = Math.min(format.precision, env.precision);
  const length = bitLength(significand);
  const top = exponent + length - 1;
  const normal = roundShift(significand, length - precision, sign, env.rounding);
  const carry = normal.value >> BigInt(precision) === 0n ? 0 : 1;
  if (top + carry < format.emin)
    return roundTiny(format, env, sign, exponent, significand, precision, normal);
  const raisedTop = top + carry;
  const value = carry === 0 ? normal.value : normal.value >> 1n;
  if (raisedTop > format.emax) return overflow(format, env, sign, raisedTop, value, precision, normal);
  if (normal.inexact) env.flags |= PE;
  env.roundedUp = normal.up;
  return packNormal(format, sign, raisedTop, value, precision);
}

function packNormal(format: Format, sign: number, top: number, value: bigint, precision: number): bigint {
  return pack(format, sign, top + format.emax, value << BigInt(format.precision - precision));
}

interface Rounded {
  readonly value: bigint;
  readonly inexact: boolean;
  readonly up: boolean;
}

/** The x87 keeps what a handler needs to know of a result that does not fit. */
const BIAS_ADJUST = 24576;

function overflow(
  format: Format,
  env: FloatEnvironment,
  sign: number,
  top: number,
  value: bigint,
  precision: number,
  rounded: Rounded,
): bigint {
  env.flags |= OE;
  if ((env.masks & OE) === 0) {
    if (rounded.inexact) env.flags |= PE;
    env.roundedUp = rounded.up;
    if (!env.x87 || format !== F80) return zero(format, sign);
    // FSCALE can leave the range by more than the adjustment: then it is infinity.
    if (top - BIAS_ADJUST <= format.emax)
      return packNormal(format, sign, top - BIAS_ADJUST, value, precision);
    env.flags |= PE;
    env.roundedUp = true;
    return infinity(format, sign);
  }
  env.flags |= PE;
  const toInfinity = env.rounding === ROUND_NEAREST || env.rounding === (sign === 1 ? ROUND_DOWN : ROUND_UP);
  env.roundedUp = toInfinity;
  if (toInfinity) return infinity(format, sign);
  // With reduced precision the largest number has only that many bits.
  const largest = largestFinite(format, sign);
  const dropped = BigInt(format.precision - precision);
  return (largest >> dropped) << dropped;
}

function roundTiny(
  format: Format,
  env: FloatEnvironment,
  sign: number,
  exponent: number,
  significand: bigint,
  precision: number,
  normal: Rounded,
): bigint {
  if ((env.masks & UE) === 0) {
    env.flags |= UE | (normal.inexact ? PE : 0);
    env.roundedUp = normal.up;
    return env.x87 && format === F80
      ? adjustedTiny(format, env, sign, exponent, significand, precision)
      : zero(format, sign);
  }
  if (env.flushToZero) {
    env.flags |= UE | PE;
    return zero(format, sign);
  }
  const lowest = format.emin - precision + 1;
  const { value, inexact, up } = roundShift(significand, lowest - exponent, sign, env.rounding);
  if (inexact) env.flags |= UE | PE;
  env.roundedUp = up;
  const field = value << BigInt(format.precision - precision);
  // Rounding may have carried into the smallest normal number.
  const biased = field >> BigInt(format.precision - 1) === 0n ? 0 : 1;
  return pack(format, sign, biased, field);
}

function adjustedTiny(
  format: Format,
  env: FloatEnvironment,
  sign: number,
  exponent: number,
  significand: bigint,
  precision: number,
): bigint {
  const length = bitLength(significand);
  const rounded = roundShift(significand, length - precision, sign, env.rounding);
  const carry = rounded.value >> BigInt(precision) === 0n ? 0 : 1;
  const top = exponent + length - 1 + carry + BIAS_ADJUST;
  if (top < format.emin) {
    env.flags |= PE;
    return zero(format, sign);
  }
  return packNormal(format, sign, top, carry === 0 ? rounded.value : rounded.value >> 1n, precision);
}
