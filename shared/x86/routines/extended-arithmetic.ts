// Addition, subtraction, multiplication, division and square root of extended-precision numbers, rounded to nearest even: normal operands, and zeros
// where the result is exact; results within the normal range. Anything else gives up. Intel SDM vol. 1 §4.8, §8.3. Division after Knuth, TAOCP vol. 2
// §4.3.1 algorithm D in base 2^32; the square root from a double's by one step of Newton's.
import type { Value } from '#shared/translate/emitter.js';
import type { RoutineEmitter } from '#shared/translate/routine.js';
import { multiplyWide, normalize, roundNearest, shiftRight } from './extended-rounding.js';
import type { Rounded } from './extended-rounding.js';
import { giveUpIf } from './x87-stack.js';
import type { Extended } from './x87-stack.js';

export type ExtendedOperation = 'add' | 'mul' | 'sub' | 'subr' | 'div' | 'divr';

const SIGN = 0x8000;
const EXPONENT = 0x7fff;
const BIAS = 0x3fff;
const LEADING = 1n << 63n;

/** A result before rounding: sign (i32, bit 15), exponent (i32), significand with its leading bit, the 64 bits below it. */
interface Unrounded {
  readonly sign: Value;
  readonly exponent: Value;
  readonly high: Value;
  readonly low: Value;
}

export type Result = Extended & Rounded;

const signOf = (e: RoutineEmitter, a: Extended): Value => e.and(a.top, e.i32(SIGN));
const exponentOf = (e: RoutineEmitter, a: Extended): Value => e.and(a.top, e.i32(EXPONENT));

function isNormal(e: RoutineEmitter, a: Extended): Value {
  const inside = e.ltU(e.sub(exponentOf(e, a), e.i32(1)), e.i32(EXPONENT - 1));
  return e.and(inside, e.ltS(a.significand, e.i64(0)));
}

export function isZero(e: RoutineEmitter, a: Extended): Value {
  return e.and(e.eqz(exponentOf(e, a)), e.eqz(a.significand));
}

/** Gives up unless the number is normal or zero. */
export function needOrdinary(e: RoutineEmitter, a: Extended): void {
  giveUpIf(e, e.eqz(e.or(isNormal(e, a), isZero(e, a))));
}

function round(e: RoutineEmitter, u: Unrounded): Result {
  const { inexact, up } = roundNearest(e, u);
  const sum = e.add(u.high, e.extendU(up));
  const carried = e.eqz(sum);
  const exponent = e.add(u.exponent, carried);
  // Tininess is found after rounding; what is near it is left to others.
  giveUpIf(e, e.geU(e.sub(u.exponent, e.i32(1)), e.i32(EXPONENT - 2)));
  return {
    top: e.or(u.sign, exponent),
    significand: e.select(carried, e.i64(LEADING), sum),
    inexact,
    up,
  };
}

/** a + b of normal numbers. */
function sum(e: RoutineEmitter, a: Extended, b: Extended): Unrounded {
  const [aExponent, bExponent] = [exponentOf(e, a), exponentOf(e, b)];
  const smaller = e.or(
    e.ltU(aExponent, bExponent),
    e.and(e.eq(aExponent, bExponent), e.ltU(a.significand, b.significand)),
  );
  const large = e.select(smaller, b.significand, a.significand);
  const exponent = e.variable(e.select(smaller, bExponent, aExponent));
  const distance = e.sub(exponent.get(), e.select(smaller, aExponent, bExponent));
  const sign = e.variable(signOf(e, { ...a, top: e.select(smaller, b.top, a.top) }));
  const small = shiftRight(e, e.select(smaller, a.significand, b.significand), distance);
  const high = e.variable(e.i64(0));
  const low = e.variable(small.low);
  const alike = e.eqz(e.and(e.xor(a.top, b.top), e.i32(SIGN)));
  e.if(
    alike,
    () => {
      const total = e.add(large, small.high);
      const carry = e.ltU(total, large);
      const below = e.or(e.shrU(small.low, e.i64(1)), e.and(small.low, e.i64(1)));
      high.set(e.select(carry, e.or(e.shrU(total, e.i64(1)), e.i64(LEADING)), total));
      low.set(e.select(carry, e.or(below, e.shl(total, e.i64(63))), small.low));
      exponent.set(e.add(exponent.get(), carry));
    },
    () => {
      const borrow = e.extendU(e.ne(small.low, e.i64(0)));
      high.set(e.sub(e.sub(large, small.high), borrow));
      low.set(e.sub(e.i64(0), small.low));
      e.ifRare(e.eqz(high.get()), () => {
        high.set(low.get());
        low.set(e.i64(0));
        exponent.set(e.sub(exponent.get(), e.i32(64)));
      });
      // Complete cancellation is +0 when rounding to nearest; the exponent is made to say so below.
      const n = normalize(e, { high: high.get(), low: low.get() });
      high.set(n.high);
      low.set(n.low);
      exponent.set(e.sub(exponent.get(), n.count));
    },
  );
  return { sign: sign.get(), exponent: exponent.get(), high: high.get(), low: low.get() };
}

function product(e: RoutineEmitter, a: Extended, b: Extended): Unrounded {
  const { high, low } = multiplyWide(e, a.significand, b.significand);
  const short = e.geS(high, e.i64(0));
  const shift = e.extendU(short);
  const exponent = e.add(exponentOf(e, a), e.sub(exponentOf(e, b), e.i32(BIAS - 1)));
  return {
    sign: e.and(e.xor(a.top, b.top), e.i32(SIGN)),
    exponent: e.sub(exponent, short),
    high: e.or(e.shl(high, shift), e.and(e.shrU(low, e.i64(63)), shift)),
    low: e.shl(low, shift),
  };
}

/** One digit, base 2^32, of (upper : next) / divisor and what remains; `upper` is less than the divisor, whose leading bit is set. */
function quotientDigit(
  e: RoutineEmitter,
  upper: Value,
  next: Value,
  divisor: Value,
): { digit: Value; rest: Value } {
  const base = e.i64(1n << 32n);
  const divisorHigh = e.shrU(divisor, e.i64(32));
  const divisorLow = e.and(divisor, e.i64(0xffffffffn));
  const estimate = e.op('i64.div_u', [upper, divisorHigh]);
  const digit = e.variable(estimate);
  const left = e.variable(e.sub(upper, e.mul(estimate, divisorHigh)));
  e.block((end) =>
    e.loop((again) => {
      const bound = e.or(e.shl(left.get(), e.i64(32)), next);
      const tooLarge = e.or(e.geU(digit.get(), base), e.gtU(e.mul(digit.get(), divisorLow), bound));
      e.branchIf(end, e.eqz(tooLarge));
      digit.set(e.sub(digit.get(), e.i64(1)));
      left.set(e.add(left.get(), divisorHigh));
      e.branchIf(again, e.ltU(left.get(), base));
    }),
  );
  const rest = e.sub(e.or(e.shl(upper, e.i64(32)), next), e.mul(digit.get(), divisor));
  return { digit: digit.get(), rest };
}

function quotient(e: RoutineEmitter, a: Extended, b: Extended): Unrounded {
  const divisor = b.significand;
  const less = e.ltU(a.significand, divisor);
  // Halved unless it is less than the divisor: the quotient then has 64 bits.
  const upper = e.select(less, a.significand, e.shrU(a.significand, e.i64(1)));
  const lower = e.select(less, e.i64(0), e.shl(a.significand, e.i64(63)));
  const first = quotientDigit(e, upper, e.shrU(lower, e.i64(32)), divisor);
  const second = quotientDigit(e, first.rest, e.and(lower, e.i64(0xffffffffn)), divisor);
  return {
    sign: e.and(e.xor(a.top, b.top), e.i32(SIGN)),
    exponent: e.sub(e.add(e.sub(exponentOf(e, a), exponentOf(e, b)), e.i32(BIAS)), less),
    high: e.or(e.shl(first.digit, e.i64(32)), second.digit),
    low: belowOf(e, second.rest, e.gtU(second.rest, e.sub(divisor, second.rest))),
  };
}

/** 64 bits that round as a remainder does that cannot be just half: above half, below, or zero. */
function belowOf(e: RoutineEmitter, remainder: Value, aboveHalf: Value): Value {
  const nonZero = e.extendU(e.ne(remainder, e.i64(0)));
  return e.select(aboveHalf, e.i64(3n << 62n), nonZero);
}

function operate(e: RoutineEmitter, operation: ExtendedOperation, a: Extended, b: Extended): Unrounded {
  switch (operation) {
    case 'add':
      return sum(e, a, b);
    case 'sub':
      return sum(e, a, negated(e, b));
    case 'subr':
      return sum(e, negated(e, a), b);
    case 'mul':
      return product(e, a, b);
    case 'div':
      return quotient(e, a, b);
    case 'divr':
      return quotient(e, b, a);
  }
}

const negated = (e: RoutineEmitter, a: Extended): Extended => ({ ...a, top: e.xor(a.top, e.i32(SIGN)) });

/** The exact results of zero operands. */
function withZeros(e: RoutineEmitter, operation: ExtendedOperation, a: Extended, b: Extended): Extended {
  const sign = e.and(e.xor(a.top, b.top), e.i32(SIGN));
  switch (operation) {
    case 'mul':
      return { top: sign, significand: e.i64(0) };
    case 'div':
      giveUpIf(e, isZero(e, b));
      return { top: sign, significand: e.i64(0) };
    case 'divr':
      giveUpIf(e, isZero(e, a));
      return { top: sign, significand: e.i64(0) };
    case 'sub':
      return withZeros(e, 'add', a, negated(e, b));
    case 'subr':
      return withZeros(e, 'add', negated(e, a), b);
    case 'add': {
      // The other operand; of two zeros −0 only when both are.
      const aZero = isZero(e, a);
      const both = e.and(aZero, isZero(e, b));
      const other = e.select(aZero, b.top, a.top);
      return {
        top: e.select(both, e.and(a.top, b.top), other),
        significand: e.or(a.significand, b.significand),
      };
    }
  }
}

/** a OP b. */
export function compute(e: RoutineEmitter, operation: ExtendedOperation, a: Extended, b: Extended): Result {
  const top = e.variable(e.i32(0));
  const significand = e.variable(e.i64(0));
  const inexact = e.variable(e.i32(0));
  const up = e.variable(e.i32(0));
  e.if(
    e.and(isNormal(e, a), isNormal(e, b)),
    () => {
      const u = operate(e, operation, a, b);
      const cancels = operation === 'add' || operation === 'sub' || operation === 'subr';
      const finish = (): void => {
        const r = round(e, u);
        top.set(r.top);
        significand.set(r.significand);
        inexact.set(r.inexact);
        up.set(r.up);
      };
      if (cancels) e.if(e.ne(u.high, e.i64(0)), finish);
      else finish();
    },
    () => {
      needOrdinary(e, a);
      needOrdinary(e, b);
      const r = withZeros(e, operation, a, b);
      top.set(r.top);
      significand.set(r.significand);
    },
  );
  return { top: top.get(), significand: significand.get(), inexact: inexact.get(), up: up.get() };
}

/** The square root of a positive normal number, or of a zero. */
export function squareRoot(e: RoutineEmitter, a: Extended): Result {
  const top = e.variable(a.top);
  const significand = e.variable(a.significand);
  const inexact = e.variable(e.i32(0));
  const up = e.variable(e.i32(0));
  e.if(e.eqz(isZero(e, a)), () => {
    giveUpIf(e, e.eqz(isNormal(e, a)));
    giveUpIf(e, signOf(e, a));
    const r = round(e, root(e, a));
    top.set(r.top);
    significand.set(r.significand);
    inexact.set(r.inexact);
    up.set(r.up);
  });
  return { top: top.get(), significand: significand.get(), inexact: inexact.get(), up: up.get() };
}

function root(e: RoutineEmitter, a: Extended): Unrounded {
  // An odd exponent (the bias is odd) leaves the significand one place higher: the radicand has 127 or 128 bits.
  const even = e.extendU(e.and(a.top, e.i32(1)));
  const upper = e.shrU(a.significand, even);
  const lower = e.select(e.wrap(even), e.shl(a.significand, e.i64(63)), e.i64(0));
  const radicand = { high: upper, low: lower };
  const estimate = e.op('f64.sqrt', [e.op('f64.convert_i64_u', [upper])]);
  const scaled = e.op('f64.mul', [estimate, power(e, 32)]);
  const first = e.op('i64.trunc_sat_f64_u', [scaled]);
  const error = minusSquare(e, radicand, first);
  const correction = e.op('f64.div', [asDouble(e, error), e.op('f64.mul', [scaled, power(e, 1)])]);
  const guess = e.add(first, e.op('i64.trunc_sat_f64_s', [e.op('f64.floor', [correction])]));
  return settle(e, a, radicand, guess);
}

/** 2^exponent as an f64. */
function power(e: RoutineEmitter, exponent: number): Value {
  return e.op('f64.reinterpret_i64', [e.i64(BigInt(1023 + exponent) << 52n)]);
}

interface Wide {
  readonly high: Value;
  readonly low: Value;
}

/** radicand − s², as 128 signed bits. */
function minusSquare(e: RoutineEmitter, radicand: Wide, s: Value): Wide {
  const square = multiplyWide(e, s, s);
  const borrow = e.extendU(e.ltU(radicand.low, square.low));
  return {
    high: e.sub(e.sub(radicand.high, square.high), borrow),
    low: e.sub(radicand.low, square.low),
  };
}

function asDouble(e: RoutineEmitter, { high, low }: Wide): Value {
  const upper = e.op('f64.mul', [e.op('f64.convert_i64_s', [high]), power(e, 64)]);
  return e.op('f64.add', [upper, e.op('f64.convert_i64_u', [low])]);
}

/** The root from a guess that is at most one off. */
function settle(e: RoutineEmitter, a: Extended, radicand: Wide, guess: Value): Unrounded {
  const s = e.variable(guess);
  const tooLarge = e.shrS(minusSquare(e, radicand, guess).high, e.i64(63));
  s.set(e.add(s.get(), tooLarge));
  const next = minusSquare(e, radicand, s.get());
  // One more fits while the remainder is above 2s.
  const double = { high: e.shrU(s.get(), e.i64(63)), low: e.shl(s.get(), e.i64(1)) };
  const above = e.or(
    e.gtS(next.high, double.high),
    e.and(e.eq(next.high, double.high), e.gtU(next.low, double.low)),
  );
  s.set(e.add(s.get(), e.extendU(above)));
  const rest = minusSquare(e, radicand, s.get());
  const aboveHalf = e.or(e.ne(rest.high, e.i64(0)), e.gtU(rest.low, s.get()));
  // (exponent − bias) / 2, rounded down, and the bias back.
  const exponent = e.add(e.shrU(e.sub(exponentOf(e, a), e.i32(1)), e.i32(1)), e.i32((BIAS + 1) / 2));
  return {
    sign: e.i32(0),
    exponent,
    high: s.get(),
    low: belowOf(e, e.or(rest.high, rest.low), aboveHalf),
  };
}
