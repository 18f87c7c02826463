// The common cases of x87 loads and stores in 32-bit words: singles, doubles and integers to extended and back, and comparison. Each tells whether
// it did the work; zeros, normal numbers and what rounds to them are done here, the rest is left to the exact BigInt code. Registers lie
// in a DataView as FXSAVE keeps them. Intel SDM vol. 1 §8.2.
import { PE } from './format.js';
import { ROUND_DOWN, ROUND_NEAREST, ROUND_UP } from './rounding.js';
import type { FloatEnvironment } from './rounding.js';

function put(page: DataView, to: number, top: number, high: number, low: number): void {
  page.setUint32(to, low, true);
  page.setUint32(to + 4, high, true);
  page.setUint16(to + 8, top, true);
}

export function copyExtended(page: DataView, from: number, to: number): void {
  put(page, to, page.getUint16(from + 8, true), page.getUint32(from + 4, true), page.getUint32(from, true));
}

export function swapExtended(page: DataView, a: number, b: number): void {
  const top = page.getUint16(a + 8, true);
  const high = page.getUint32(a + 4, true);
  const low = page.getUint32(a, true);
  copyExtended(page, b, a);
  put(page, b, top, high, low);
}

/** A single at `from`, unless denormal or NaN. */
export function widenSingle(page: DataView, from: number, to: number): boolean {
  const bits = page.getUint32(from, true);
  const exponent = (bits >>> 23) & 0xff;
  const sign = (bits >>> 31) << 15;
  const fraction = bits & 0x7fffff;
  if (exponent === 0 || exponent === 0xff) {
    if (fraction !== 0) return false;
    if (exponent === 0) put(page, to, sign, 0, 0);
    else put(page, to, sign | 0x7fff, 0x80000000, 0);
    return true;
  }
  put(page, to, sign | (exponent - 127 + 0x3fff), (0x80000000 | (fraction << 8)) >>> 0, 0);
  return true;
}

/** A double at `from`, unless denormal or NaN. */
export function widenDouble(page: DataView, from: number, to: number): boolean {
  const high = page.getUint32(from + 4, true);
  const low = page.getUint32(from, true);
  const exponent = (high >>> 20) & 0x7ff;
  const sign = (high >>> 31) << 15;
  if (exponent === 0 || exponent === 0x7ff) {
    if ((high & 0xfffff) !== 0 || low !== 0) return false;
    if (exponent === 0) put(page, to, sign, 0, 0);
    else put(page, to, sign | 0x7fff, 0x80000000, 0);
    return true;
  }
  put(
    page,
    to,
    sign | (exponent - 1023 + 0x3fff),
    (0x80000000 | ((high & 0xfffff) << 11) | (low >>> 21)) >>> 0,
    (low << 11) >>> 0,
  );
  return true;
}

/** A signed 64-bit integer given as two words. */
export function widenInteger(page: DataView, high: number, low: number, to: number): void {
  const sign = high < 0 ? 0x8000 : 0;
  if (sign !== 0) {
    low = -low >>> 0;
    high = low === 0 ? -high : ~high;
  }
  high >>>= 0;
  if (high === 0 && low === 0) {
    put(page, to, 0, 0, 0);
    return;
  }
  let exponent = 63;
  if (high === 0) {
    high = low;
    low = 0;
    exponent = 31;
  }
  const count = Math.clz32(high);
  if (count !== 0) {
    high = ((high << count) | (low >>> (32 - count))) >>> 0;
    low = (low << count) >>> 0;
  }
  put(page, to, sign | (0x3fff + exponent - count), high, low);
}

/** Whether what was cut off (`lost` against `half`, `below` under it) rounds the magnitude up. */
function roundsUp(
  rounding: number,
  sign: number,
  odd: boolean,
  lost: number,
  half: number,
  below: boolean,
): boolean {
  switch (rounding) {
    case ROUND_NEAREST:
      return lost > half || (lost === half && (below || odd));
    case ROUND_DOWN:
      return sign !== 0;
    case ROUND_UP:
      return sign === 0;
    default:
      return false;
  }
}

/** Register at `from` to a double at `to`: zero, or a result well inside the normal range. */
export function narrowDouble(page: DataView, env: FloatEnvironment, from: number, to: number): boolean {
  const top = page.getUint16(from + 8, true);
  const high = page.getUint32(from + 4, true);
  const low = page.getUint32(from, true);
  const sign = top >>> 15;
  let exponent = (top & 0x7fff) - 0x3fff + 1023;
  let upper = 0;
  let lower = 0;
  if ((top & 0x7fff) === 0 && high === 0 && low === 0) exponent = 0;
  else {
    if (exponent < 1 || exponent > 2045 || high >>> 31 === 0) return false;
    upper = (high >>> 11) & 0xfffff;
    lower = ((high << 21) | (low >>> 11)) >>> 0;
    const lost = low & 0x7ff;
    if (lost !== 0) {
      env.flags |= PE;
      if (roundsUp(env.rounding, sign, (lower & 1) !== 0, lost, 0x400, false)) {
        env.roundedUp = true;
        lower = (lower + 1) >>> 0;
        if (lower === 0) upper += 1;
      }
    }
  }
  page.setUint32(to, lower, true);
  // A carry out of the fraction raises the exponent.
  page.setUint32(to + 4, ((sign << 31) | ((exponent << 20) + upper)) >>> 0, true);
  return true;
}

/** Register at `from` to a single at `to`: zero, or a result well inside the normal range. */
export function narrowSingle(page: DataView, env: FloatEnvironment, from: number, to: number): boolean {
  const top = page.getUint16(from + 8, true);
  const high = page.getUint32(from + 4, true);
  const low = page.getUint32(from, true);
  const sign = top >>> 15;
  let exponent = (top & 0x7fff) - 0x3fff + 127;
  let fraction = 0;
  if ((top & 0x7fff) === 0 && high === 0 && low === 0) exponent = 0;
  else {
    if (exponent < 1 || exponent > 253 || high >>> 31 === 0) return false;
    fraction = (high >>> 8) & 0x7fffff;
    const lost = high & 0xff;
    if (lost !== 0 || low !== 0) {
      env.flags |= PE;
      if (roundsUp(env.rounding, sign, (fraction & 1) !== 0, lost, 0x80, low !== 0)) {
        env.roundedUp = true;
        fraction += 1;
      }
    }
  }
  page.setUint32(to, ((sign << 31) | ((exponent << 23) + fraction)) >>> 0, true);
  return true;
}

/** Register at `from` to a 16 or 32-bit integer at `to`: magnitudes from 1 to below the limit. */
export function narrowInteger(
  page: DataView,
  env: FloatEnvironment,
  from: number,
  to: number,
  bits: 16 | 32,
  rounding: number,
): boolean {
  const top = page.getUint16(from + 8, true);
  const high = page.getUint32(from + 4, true);
  const low = page.getUint32(from, true);
  const sign = top >>> 15;
  const exponent = (top & 0x7fff) - 0x3fff;
  if (exponent < 0 || exponent > bits - 2 || high >>> 31 === 0) return false;
  let value = high >>> (31 - exponent);
  const lost = (high << (exponent + 1)) >>> 0;
  if (lost !== 0 || low !== 0) {
    const up = roundsUp(rounding, sign, (value & 1) !== 0, lost, 0x80000000, low !== 0);
    if (up) value += 1;
    if (value >= 2 ** (bits - 1)) return false;
    env.flags |= PE;
    env.roundedUp = up;
  }
  page.setInt32(to, sign !== 0 ? -value : value, true);
  return true;
}

/** −1, 0 or 1 for zeros and normal numbers; 2 when an operand is anything else. */
export function compareExtended(page: DataView, a: number, b: number): -1 | 0 | 1 | 2 {
  const aTop = page.getUint16(a + 8, true);
  const bTop = page.getUint16(b + 8, true);
  const aHigh = page.getUint32(a + 4, true);
  const bHigh = page.getUint32(b + 4, true);
  const aLow = page.getUint32(a, true);
  const bLow = page.getUint32(b, true);
  if (!isOrdinary(aTop, aHigh, aLow) || !isOrdinary(bTop, bHigh, bLow)) return 2;
  const aZero = aHigh === 0;
  const bZero = bHigh === 0;
  if (aZero && bZero) return 0;
  const aSign = aTop >>> 15;
  if (aZero) return bTop >>> 15 === 0 ? -1 : 1;
  if (bZero || aSign !== bTop >>> 15) return aSign === 0 ? 1 : -1;
  const larger = aTop !== bTop ? aTop > bTop : aHigh !== bHigh ? aHigh > bHigh : aLow > bLow;
  if (!larger && aTop === bTop && aHigh === bHigh && aLow === bLow) return 0;
  return larger === (aSign === 0) ? 1 : -1;
}

function isOrdinary(top: number, high: number, low: number): boolean {
  const exponent = top & 0x7fff;
  if (exponent === 0) return high === 0 && low === 0;
  return exponent !== 0x7fff && high >>> 31 !== 0;
}
