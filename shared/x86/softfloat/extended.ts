// The common case of x87 addition, subtraction and multiplication in 32-bit words: both operands normal, result normal.
// Everything else (zeros, denormals, infinities, NaNs, overflow, underflow, division) is left to the exact BigInt code, to which this must agree
// bit for bit. Operands and result lie in a DataView as FXSAVE keeps registers: 64-bit significand, then sign and exponent.
import { PE } from './format.js';
import { ROUND_DOWN, ROUND_NEAREST, ROUND_UP } from './rounding.js';
import type { FloatEnvironment } from './rounding.js';

// The result under construction: 64-bit significand, a word below it, and whether anything lies below that.
let high = 0;
let low = 0;
let rest = 0;
let sticky = false;

/** operation: 0 add, 1 multiply, 2 subtract, 3 subtract reversed, 4 divide, 5 divide reversed; true when done. Nothing is touched otherwise. */
export function extendedBinary(
  page: DataView,
  env: FloatEnvironment,
  operation: number,
  a: number,
  b: number,
  to: number,
): boolean {
  if (env.precision !== 64) return false;
  if (operation === 5) return extendedBinary(page, env, 4, b, a, to);
  const aTop = page.getUint16(a + 8, true);
  const bTop = page.getUint16(b + 8, true);
  const aHigh = page.getUint32(a + 4, true);
  const bHigh = page.getUint32(b + 4, true);
  // Exponents that leave room for any carry or cancellation; the leading bit set.
  if (!isPlain(aTop & 0x7fff) || !isPlain(bTop & 0x7fff) || ((aHigh & bHigh) | 0) >= 0) return false;
  if (operation === 4) return quotient(page, env, aTop, a, bTop, b, to);
  const aLow = page.getUint32(a, true);
  const bLow = page.getUint32(b, true);
  if (operation === 1) return product(page, env, aTop, aHigh, aLow, bTop, bHigh, bLow, to);
  const aSign = (aTop >> 15) ^ (operation === 3 ? 1 : 0);
  const bSign = (bTop >> 15) ^ (operation === 2 ? 1 : 0);
  return sum(page, env, aSign, aTop & 0x7fff, aHigh, aLow, bSign, bTop & 0x7fff, bHigh, bLow, to);
}

function isPlain(exponent: number): boolean {
  return exponent > 128 && exponent < 0x7f00;
}

function sum(
  page: DataView,
  env: FloatEnvironment,
  aSign: number,
  aExp: number,
  aHigh: number,
  aLow: number,
  bSign: number,
  bExp: number,
  bHigh: number,
  bLow: number,
  to: number,
): boolean {
  // The larger magnitude first.
  if (aExp < bExp || (aExp === bExp && (aHigh < bHigh || (aHigh === bHigh && aLow < bLow)))) {
    return sum(page, env, bSign, bExp, bHigh, bLow, aSign, aExp, aHigh, aLow, to);
  }
  alignRight(bHigh, bLow, aExp - bExp);
  if (aSign === bSign) return addAligned(page, env, aSign, aExp, aHigh, aLow, to);
  return subtractAligned(page, env, aSign, aExp, aHigh, aLow, to);
}

/** Puts (h, l) moved right by `count` into high, low, rest, sticky. */
function alignRight(h: number, l: number, count: number): void {
  let below = 0;
  sticky = false;
  if (count >= 96) {
    high = low = rest = 0;
    sticky = true;
    return;
  }
  for (; count >= 32; count -= 32) {
    if (below !== 0) sticky = true;
    below = l;
    l = h;
    h = 0;
  }
  if (count !== 0) {
    if (below << (32 - count) !== 0) sticky = true;
    below = ((below >>> count) | (l << (32 - count))) >>> 0;
    l = ((l >>> count) | (h << (32 - count))) >>> 0;
    h >>>= count;
  }
  high = h;
  low = l;
  rest = below;
}

function addAligned(
  page: DataView,
  env: FloatEnvironment,
  sign: number,
  exponent: number,
  aHigh: number,
  aLow: number,
  to: number,
): boolean {
  const lowSum = aLow + low;
  const highSum = aHigh + high + (lowSum > 0xffffffff ? 1 : 0);
  low = lowSum >>> 0;
  if (highSum > 0xffffffff) {
    if ((rest & 1) !== 0) sticky = true;
    rest = ((rest >>> 1) | (low << 31)) >>> 0;
    low = ((low >>> 1) | (highSum << 31)) >>> 0;
    high = ((highSum >>> 1) | 0x80000000) >>> 0;
    exponent++;
  } else high = highSum >>> 0;
  return round(page, env, sign, exponent, to);
}

function subtractAligned(
  page: DataView,
  env: FloatEnvironment,
  sign: number,
  exponent: number,
  aHigh: number,
  aLow: number,
  to: number,
): boolean {
  // a − (high:low:rest + sticky): what lies below `rest` borrows one and leaves something sticky.
  let borrow = sticky ? 1 : 0;
  const restDifference = 0 - rest - borrow;
  rest = restDifference >>> 0;
  borrow = restDifference < 0 ? 1 : 0;
  const lowDifference = aLow - low - borrow;
  low = lowDifference >>> 0;
  borrow = lowDifference < 0 ? 1 : 0;
  high = (aHigh - high - borrow) >>> 0;
  if ((high | low | rest) === 0 && !sticky) return false;
  return round(page, env, sign, exponent - normalize(), to);
}

/** Moves high:low:rest left until bit 63 is set; gives the count. Cancellation by more than one place leaves nothing below `rest`. */
function normalize(): number {
  let moved = 0;
  while (high === 0 && moved < 96) {
    high = low;
    low = rest;
    rest = 0;
    moved += 32;
  }
  const count = Math.clz32(high);
  if (count !== 0) {
    high = ((high << count) | (low >>> (32 - count))) >>> 0;
    low = ((low << count) | (rest >>> (32 - count))) >>> 0;
    rest = (rest << count) >>> 0;
  }
  return moved + count;
}

function product(
  page: DataView,
  env: FloatEnvironment,
  aTop: number,
  aHigh: number,
  aLow: number,
  bTop: number,
  bHigh: number,
  bLow: number,
  to: number,
): boolean {
  const exponent = (aTop & 0x7fff) + (bTop & 0x7fff) - 0x3fff + 1;
  if (!isPlain(exponent)) return false;
  multiply64(aHigh, aLow, bHigh, bLow);
  const shift = high >>> 31 === 0 ? normalizeOne() : 0;
  return round(page, env, (aTop ^ bTop) >> 15, exponent - shift, to);
}

function normalizeOne(): number {
  high = ((high << 1) | (low >>> 31)) >>> 0;
  low = ((low << 1) | (rest >>> 31)) >>> 0;
  rest = (rest << 1) >>> 0;
  return 1;
}

/** The one place where BigInt is quick enough: 65 bits of quotient and whether there is a remainder. */
function quotient(
  page: DataView,
  env: FloatEnvironment,
  aTop: number,
  a: number,
  bTop: number,
  b: number,
  to: number,
): boolean {
  const dividend = page.getBigUint64(a, true);
  const divisor = page.getBigUint64(b, true);
  const smaller = dividend < divisor;
  const exponent = (aTop & 0x7fff) - (bTop & 0x7fff) + 0x3fff - (smaller ? 1 : 0);
  if (!isPlain(exponent)) return false;
  const shifted = dividend << (smaller ? 65n : 64n);
  const q = shifted / divisor;
  sticky = q * divisor !== shifted;
  high = Number(q >> 33n);
  low = Number((q >> 1n) & 0xffffffffn);
  rest = (q & 1n) === 0n ? 0 : 0x80000000;
  return round(page, env, (aTop ^ bTop) >> 15, exponent, to);
}

/** Low and high half of a 32 × 32 product. */
function highProduct(x: number, y: number): number {
  const x0 = x & 0xffff;
  const x1 = x >>> 16;
  const y0 = y & 0xffff;
  const y1 = y >>> 16;
  const middle = x1 * y0 + ((x0 * y0) >>> 16);
  const cross = x0 * y1 + (middle & 0xffff);
  return x1 * y1 + (middle >>> 16) + (cross >>> 16);
}

const TWO_TO_MINUS_32 = 2 ** -32;

/** 64 × 64 → high, low, rest and the lowest word: the last bit of `rest` may still be wanted, so the lowest only makes sticky. */
function multiply64(aHigh: number, aLow: number, bHigh: number, bLow: number): void {
  const word0 = Math.imul(aLow, bLow) >>> 0;
  const word1 = highProduct(aLow, bLow) + (Math.imul(aHigh, bLow) >>> 0) + (Math.imul(aLow, bHigh) >>> 0);
  rest = word1 >>> 0;
  const word2 =
    highProduct(aHigh, bLow) +
    highProduct(aLow, bHigh) +
    (Math.imul(aHigh, bHigh) >>> 0) +
    (word1 - rest) * TWO_TO_MINUS_32;
  low = word2 >>> 0;
  high = highProduct(aHigh, bHigh) + (word2 - low) * TWO_TO_MINUS_32;
  sticky = word0 !== 0;
  // When the product's leading bit is bit 126, normalizing moves one bit of word0 up: it is below the rounding bit, so sticky serves.
}

function round(page: DataView, env: FloatEnvironment, sign: number, exponent: number, to: number): boolean {
  if (rest !== 0 || sticky) {
    env.flags |= PE;
    if (roundsUp(env.rounding, sign)) {
      env.roundedUp = true;
      low = (low + 1) >>> 0;
      if (low === 0) {
        high = (high + 1) >>> 0;
        if (high === 0) {
          high = 0x80000000;
          exponent++;
        }
      }
    }
  }
  page.setUint32(to, low, true);
  page.setUint32(to + 4, high, true);
  page.setUint16(to + 8, (sign << 15) | exponent, true);
  return true;
}

function roundsUp(rounding: number, sign: number): boolean {
  switch (rounding) {
    case ROUND_NEAREST:
      return rest > 0x80000000 || (rest === 0x80000000 && (sticky || (low & 1) !== 0));
    case ROUND_DOWN:
      return sign === 1;
    case ROUND_UP:
      return sign === 0;
    default:
      return false;
  }
}
