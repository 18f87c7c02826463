// MUL IMUL DIV IDIV. Intel SDM vol. 2. SF ZF AF PF are undefined after a multiplication, all six after a division
// (which leaves them alone here). 128-bit by 64-bit division is a shift-and-subtract loop behind a fast path.
import type { Emitter, Operands, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { AF, ARITHMETIC_FLAGS, PF, SF, ZF } from '#shared/x86/rflags.js';

const DIVIDE_ERROR = 0;

/** High 64 bits of the unsigned product of two i64. */
function multiplyHighUnsigned(e: Emitter, a: Value, b: Value): Value {
  const mask = e.i64(0xffff_ffffn);
  const half = e.i64(32);
  const aLow = e.and(a, mask);
  const aHigh = e.shrU(a, half);
  const bLow = e.and(b, mask);
  const bHigh = e.shrU(b, half);
  const middle = e.add(e.mul(aHigh, bLow), e.shrU(e.mul(aLow, bLow), half));
  const cross = e.add(e.mul(aLow, bHigh), e.and(middle, mask));
  return e.add(e.mul(aHigh, bHigh), e.add(e.shrU(middle, half), e.shrU(cross, half)));
}

function multiplyHighSigned(e: Emitter, a: Value, b: Value): Value {
  const top = e.i64(63);
  const corrections = e.add(e.and(e.shrS(a, top), b), e.and(e.shrS(b, top), a));
  return e.sub(multiplyHighUnsigned(e, a, b), corrections);
}

/** 64-bit MUL and IMUL into RDX:RAX. */
function multiplyWide(e: Emitter, b: Value, signed: boolean): void {
  const a = e.readGpr(0, 64);
  const low = e.mul(a, b);
  const high = signed ? multiplyHighSigned(e, a, b) : multiplyHighUnsigned(e, a, b);
  const overflow = e.ne(high, signed ? e.shrS(low, e.i64(63)) : e.i64(0));
  e.writeGpr(0, 64, low);
  e.writeGpr(2, 64, high);
  e.setResultFlags(64, low, { cf: overflow, of: overflow });
}

/** One-operand MUL and IMUL. */
function multiplyAccumulator(e: Emitter, op: Operands, signed: boolean): void {
  const bits = op.bits;
  const b = op.read(0);
  if (bits === 64) return multiplyWide(e, b, signed);
  const extend = (v: Value): Value =>
    signed ? e.extendS(e.signExtend(v, bits)) : e.extendU(e.zeroExtend(v, bits));
  const product = e.mul(extend(e.readGpr(0, bits)), extend(b));
  const low = e.wrap(product);
  const inRange = signed ? e.signExtend(product, bits) : e.zeroExtend(product, bits);
  const overflow = e.ne(product, inRange);
  if (bits === 8) {
    e.writeGpr(0, 16, low);
  } else {
    e.writeGpr(0, bits, low);
    e.writeGpr(2, bits, e.wrap(e.shrU(product, e.i64(bits))));
  }
  e.setResultFlags(bits, low, { cf: overflow, of: overflow });
}

/** Two and three-operand IMUL. */
function multiplyTruncated(e: Emitter, op: Operands): void {
  const bits = op.bits;
  const first = op.count === 3 ? 1 : 0;
  const a = op.read(first);
  const b = op.read(first + 1);
  if (bits === 64) {
    const low = e.mul(a, b);
    const overflow = e.ne(multiplyHighSigned(e, a, b), e.shrS(low, e.i64(63)));
    op.write(0, low);
    e.setResultFlags(64, low, { cf: overflow, of: overflow });
    return;
  }
  const product = e.mul(e.extendS(e.signExtend(a, bits)), e.extendS(e.signExtend(b, bits)));
  const overflow = e.ne(product, e.signExtend(product, bits));
  op.write(0, e.wrap(product));
  e.setResultFlags(bits, e.wrap(product), { cf: overflow, of: overflow });
}

/** 8, 16 and 32-bit division: all in an i64. */
function divideNarrow(e: Emitter, op: Operands, signed: boolean): void {
  const bits = op.bits;
  const extend = (v: Value): Value =>
    signed ? e.extendS(e.signExtend(v, bits)) : e.extendU(e.zeroExtend(v, bits));
  const divisor = extend(op.read(0));
  let dividend: Value;
  if (bits === 8) {
    const ax = e.readGpr(0, 16);
    dividend = signed ? e.extendS(e.signExtend(ax, 16)) : e.extendU(ax);
  } else {
    const low = e.extendU(e.readGpr(0, bits));
    dividend = e.or(e.shl(extend(e.readGpr(2, bits)), e.i64(bits)), low);
  }
  e.if(e.eqz(divisor), () => e.raise(DIVIDE_ERROR));
  if (signed && bits === 32) {
    const smallest = e.eq(dividend, e.i64(-(1n << 63n)));
    e.if(e.and(smallest, e.eq(divisor, e.i64(-1))), () => e.raise(DIVIDE_ERROR));
  }
  const quotient = e.op(signed ? 'i64.div_s' : 'i64.div_u', [dividend, divisor]);
  const fits = e.eq(quotient, signed ? e.signExtend(quotient, bits) : e.zeroExtend(quotient, bits));
  e.if(e.eqz(fits), () => e.raise(DIVIDE_ERROR));
  const remainder = e.sub(dividend, e.mul(quotient, divisor));
  if (bits === 8) {
    const ah = e.shl(e.wrap(remainder), e.i32(8));
    e.writeGpr(0, 16, e.or(e.zeroExtend(e.wrap(quotient), 8), ah));
  } else {
    e.writeGpr(0, bits, e.wrap(quotient));
    e.writeGpr(2, bits, e.wrap(remainder));
  }
}

/** Unsigned high:low by divisor, high < divisor; calls `done` with quotient and remainder. */
function divideLong(
  e: Emitter,
  high: Value,
  low: Value,
  divisor: Value,
): { quotient: Value; remainder: Value } {
  const remainder = e.variable(high);
  const quotient = e.variable(low);
  const steps = e.variable(e.i32(64));
  e.loop((again) => {
    const r = remainder.get();
    const q = quotient.get();
    const shifted = e.or(e.shl(r, e.i64(1)), e.shrU(q, e.i64(63)));
    const carry = e.ltS(r, e.i64(0));
    const take = e.or(carry, e.geU(shifted, divisor));
    remainder.set(e.select(take, e.sub(shifted, divisor), shifted));
    quotient.set(e.or(e.shl(q, e.i64(1)), e.extendU(take)));
    const left = e.sub(steps.get(), e.i32(1));
    steps.set(left);
    e.branchIf(again, left);
  });
  return { quotient: quotient.get(), remainder: remainder.get() };
}

function divideUnsigned64(e: Emitter, divisor: Value): void {
  const low = e.readGpr(0, 64);
  const high = e.readGpr(2, 64);
  // Covers a divisor of zero too.
  e.if(e.geU(high, divisor), () => e.raise(DIVIDE_ERROR));
  e.if(
    e.eqz(high),
    () => {
      const quotient = e.op('i64.div_u', [low, divisor]);
      e.writeGpr(0, 64, quotient);
      e.writeGpr(2, 64, e.sub(low, e.mul(quotient, divisor)));
    },
    () => {
      const { quotient, remainder } = divideLong(e, high, low, divisor);
      e.writeGpr(0, 64, quotient);
      e.writeGpr(2, 64, remainder);
    },
  );
}

/** `negative ? −value : value` without a branch: `sign` is 0 or −1. */
function applySign(e: Emitter, value: Value, sign: Value): Value {
  return e.sub(e.xor(value, sign), sign);
}

function divideSignedLong(e: Emitter, high: Value, low: Value, divisor: Value): void {
  const dividendSign = e.shrS(high, e.i64(63));
  const divisorSign = e.shrS(divisor, e.i64(63));
  const size = applySign(e, divisor, divisorSign);
  const lowSize = applySign(e, low, dividendSign);
  // −(high:low) = ~high + (low == 0) : −low
  const carry = e.and(e.extendU(e.eqz(low)), e.and(dividendSign, e.i64(1)));
  const highSize = e.add(e.xor(high, dividendSign), carry);
  e.if(e.geU(highSize, size), () => e.raise(DIVIDE_ERROR));
  const { quotient, remainder } = divideLong(e, highSize, lowSize, size);
  const sign = e.xor(dividendSign, divisorSign);
  // The largest magnitude is 2^63 − 1, or 2^63 when the quotient is negative.
  const limit = e.sub(e.i64(0x7fff_ffff_ffff_ffffn), sign);
  e.if(e.gtU(quotient, limit), () => e.raise(DIVIDE_ERROR));
  e.writeGpr(0, 64, applySign(e, quotient, sign));
  e.writeGpr(2, 64, applySign(e, remainder, dividendSign));
}

function divideSigned64(e: Emitter, divisor: Value): void {
  const low = e.readGpr(0, 64);
  const high = e.readGpr(2, 64);
  e.if(e.eqz(divisor), () => e.raise(DIVIDE_ERROR));
  const short = e.eq(high, e.shrS(low, e.i64(63)));
  // −2^63 / −1 would trap: left to the long way, which finds the overflow.
  const safe = e.or(e.ne(divisor, e.i64(-1)), e.ne(low, e.i64(-(1n << 63n))));
  e.if(
    e.and(short, safe),
    () => {
      const quotient = e.op('i64.div_s', [low, divisor]);
      e.writeGpr(0, 64, quotient);
      e.writeGpr(2, 64, e.sub(low, e.mul(quotient, divisor)));
    },
    () => divideSignedLong(e, high, low, divisor),
  );
}

function semMul(e: Emitter, op: Operands): void {
  multiplyAccumulator(e, op, false);
}

function semImul(e: Emitter, op: Operands): void {
  if (op.count === 1) multiplyAccumulator(e, op, true);
  else multiplyTruncated(e, op);
}

function semDiv(e: Emitter, op: Operands): void {
  if (op.bits === 64) divideUnsigned64(e, op.read(0));
  else divideNarrow(e, op, false);
}

function semIdiv(e: Emitter, op: Operands): void {
  if (op.bits === 64) divideSigned64(e, op.read(0));
  else divideNarrow(e, op, true);
}

export const multiplyDivideSemantics: SemanticsTable = {
  Mul: { sem: semMul, undefinedFlags: SF | ZF | AF | PF, overwritesFlags: true },
  Imul: { sem: semImul, undefinedFlags: SF | ZF | AF | PF, overwritesFlags: true },
  Div: { sem: semDiv, undefinedFlags: ARITHMETIC_FLAGS },
  Idiv: { sem: semIdiv, undefinedFlags: ARITHMETIC_FLAGS },
};
