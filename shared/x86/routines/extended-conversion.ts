// Extended-precision numbers from and to singles, doubles and integers, and their order. Normal numbers and zeros; anything else, and results outside the
// normal range, give up. Intel SDM vol. 1 §4.2, §8.2.
import type { Value } from '#shared/translate/emitter.js';
import type { RoutineEmitter } from '#shared/translate/routine.js';
import { isZero, needOrdinary } from './extended-arithmetic.js';
import { roundNearest, shiftRight } from './extended-rounding.js';
import type { Rounded } from './extended-rounding.js';
import { giveUpIf } from './x87-stack.js';
import type { Extended } from './x87-stack.js';

const SIGN = 0x8000;
const EXPONENT = 0x7fff;
const BIAS = 0x3fff;
const LEADING = 1n << 63n;

interface NarrowFormat {
  readonly bits: 32 | 64;
  readonly fractionBits: number;
  readonly bias: number;
}
export const SINGLE: NarrowFormat = { bits: 32, fractionBits: 23, bias: 127 };
export const DOUBLE: NarrowFormat = { bits: 64, fractionBits: 52, bias: 1023 };

/** A single (i32) or double (i64) as an extended number. */
export function widen(e: RoutineEmitter, raw: Value, { bits, fractionBits, bias }: NarrowFormat): Extended {
  const pattern = e.toBits(raw, 64);
  const exponent = e.and(e.wrap(e.shrU(pattern, e.i64(fractionBits))), e.i32(2 * bias + 1));
  const sign = e.and(e.wrap(e.shrU(pattern, e.i64(bits - 16))), e.i32(SIGN));
  const top = e.variable(e.or(sign, e.add(exponent, e.i32(BIAS - bias))));
  const fraction = e.shl(pattern, e.i64(63 - fractionBits));
  const significand = e.variable(e.or(fraction, e.i64(LEADING)));
  e.ifRare(e.geU(e.sub(exponent, e.i32(1)), e.i32(2 * bias)), () => {
    // Zero; denormals, infinities and NaNs give up.
    const magnitude = e.and(fraction, e.i64(LEADING - 1n));
    giveUpIf(e, e.or(exponent, e.ne(magnitude, e.i64(0))));
    top.set(sign);
    significand.set(e.i64(0));
  });
  return { top: top.get(), significand: significand.get() };
}

/** A signed i64 as an extended number, exactly. */
export function fromInteger(e: RoutineEmitter, value: Value): Extended {
  const sign = e.shrS(value, e.i64(63));
  const magnitude = e.sub(e.xor(value, sign), sign);
  const count = e.clz(magnitude);
  const top = e.or(e.and(e.wrap(sign), e.i32(SIGN)), e.sub(e.i32(BIAS + 63), e.wrap(count)));
  const zero = e.eqz(value);
  return {
    top: e.select(zero, e.i32(0), top),
    significand: e.select(zero, e.i64(0), e.shl(magnitude, count)),
  };
}

/** An i32 or i64 pattern, and what rounding did. */
export interface Narrowed extends Rounded {
  readonly pattern: Value;
}

/** To a single or double (i64 either way), to nearest; the result is zero or well inside the normal range. */
export function narrow(e: RoutineEmitter, a: Extended, { bits, fractionBits, bias }: NarrowFormat): Narrowed {
  const exponent = e.add(e.and(a.top, e.i32(EXPONENT)), e.i32(bias - BIAS));
  const sign = e.shl(e.extendU(e.shrU(a.top, e.i32(15))), e.i64(bits - 1));
  const kept = e.shrU(a.significand, e.i64(63 - fractionBits));
  const rounded = roundNearest(e, { high: kept, low: e.shl(a.significand, e.i64(fractionBits + 1)) });
  // The significand's leading bit, and a carry out of it, raise the exponent.
  const field = e.shl(e.extendU(e.sub(exponent, e.i32(1))), e.i64(fractionBits));
  const magnitude = e.variable(e.add(e.add(field, kept), e.extendU(rounded.up)));
  const inside = e.ltU(e.sub(exponent, e.i32(1)), e.i32(2 * bias - 1));
  e.ifRare(e.eqz(e.and(inside, e.ltS(a.significand, e.i64(0)))), () => {
    giveUpIf(e, e.eqz(isZero(e, a)));
    magnitude.set(e.i64(0));
  });
  return { pattern: e.or(magnitude.get(), sign), ...rounded };
}

/** To an integer of `bits` by a rounding control (0 nearest, 1 down, 2 up, 3 to zero; i32), the most negative one excepted. */
export function toInteger(e: RoutineEmitter, a: Extended, bits: 16 | 32 | 64, rounding: Value): Narrowed {
  needOrdinary(e, a);
  const exponent = e.sub(e.and(a.top, e.i32(EXPONENT)), e.i32(BIAS));
  giveUpIf(e, e.gtS(exponent, e.i32(bits - 2)));
  const parts = shiftRight(e, a.significand, e.sub(e.i32(63), exponent));
  const { inexact, up: nearest } = roundNearest(e, parts);
  const sign = e.shrU(a.top, e.i32(15));
  // Down rounds negative magnitudes up, and the reverse.
  const directed = e.and(inexact, e.eq(rounding, e.sub(e.i32(2), sign)));
  const up = e.select(rounding, directed, nearest);
  const magnitude = e.add(parts.high, e.extendU(up));
  giveUpIf(e, e.ne(e.shrU(magnitude, e.i64(bits - 1)), e.i64(0)));
  const negative = e.sub(e.i64(0), e.extendU(sign));
  return { pattern: e.sub(e.xor(magnitude, negative), negative), inexact, up };
}

/** a < b and a = b, i32 0 or 1. */
export function order(e: RoutineEmitter, a: Extended, b: Extended): { less: Value; equal: Value } {
  needOrdinary(e, a);
  needOrdinary(e, b);
  const [aExponent, bExponent] = [e.and(a.top, e.i32(EXPONENT)), e.and(b.top, e.i32(EXPONENT))];
  const sameExponent = e.eq(aExponent, bExponent);
  const smaller = e.or(e.ltU(aExponent, bExponent), e.and(sameExponent, e.ltU(a.significand, b.significand)));
  const alike = e.and(sameExponent, e.eq(a.significand, b.significand));
  const aSign = e.shrU(a.top, e.i32(15));
  const sameSign = e.eq(aSign, e.shrU(b.top, e.i32(15)));
  const zeros = e.and(alike, e.eqz(a.significand));
  const equal = e.or(zeros, e.and(alike, sameSign));
  const within = e.xor(e.and(smaller, e.eqz(alike)), e.and(aSign, e.eqz(alike)));
  const less = e.and(e.eqz(equal), e.select(sameSign, within, aSign));
  return { less, equal };
}
