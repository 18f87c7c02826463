// FPREM, FPREM1, FSCALE, FXTRACT. Intel SDM vol. 2. A partial remainder takes off at most 63 bits of exponent difference a step, as many as
// the processor does, so that programs see the same intermediate values.
import { chooseNan, invalid, noteDenormals, specialOperands } from '#shared/x86/softfloat/arithmetic.js';
import { exponentOf } from '#shared/x86/softfloat/conversion.js';
import { DE, F80, ZE, infinity, isNan, quietNan, unpack, zero } from '#shared/x86/softfloat/format.js';
import type { Unpacked } from '#shared/x86/softfloat/format.js';
import { roundPack } from '#shared/x86/softfloat/rounding.js';
import type { FloatEnvironment } from '#shared/x86/softfloat/rounding.js';
import { C0, C1, C2, C3, INDEFINITE } from './x87-unit.js';
import type { X87Unit } from './x87-unit.js';

const CONDITIONS = C0 | C1 | C2 | C3;

/** `nearest` 0: FPREM, truncating; 1: FPREM1, to nearest even. */
export function partialRemainder(unit: X87Unit, nearest: number): number {
  const env = unit.begin();
  env.precision = 64;
  unit.setCondition(C2, 0);
  if (unit.isEmpty(0) || unit.isEmpty(1)) {
    if (unit.underflow()) unit.write(0, INDEFINITE);
    return 0;
  }
  const a = unpack(F80, unit.read(0));
  const b = unpack(F80, unit.read(1));
  const { value, conditions } = remainder(env, a, b, unit.read(0), nearest !== 0);
  if (unit.finish()) return 0;
  unit.write(0, value);
  if (conditions !== undefined) unit.setCondition(CONDITIONS, conditions);
  return 0;
}

interface RemainderResult {
  readonly value: bigint;
  /** Undefined: C0 and C3 stay as they are (not a number, invalid). */
  readonly conditions: number | undefined;
}

function remainder(
  env: FloatEnvironment,
  a: Unpacked,
  b: Unpacked,
  unchanged: bigint,
  nearest: boolean,
): RemainderResult {
  const special = specialOperands(F80, env, a, b);
  if (special !== undefined) return { value: special, conditions: undefined };
  if (a.kind === 'infinity' || b.kind === 'zero') return { value: invalid(F80, env), conditions: undefined };
  noteDenormals(env, a, b);
  if (a.kind === 'zero' || b.kind === 'infinity') return { value: exactly(env, a, unchanged), conditions: 0 };
  const distance = exponentOf(a) - exponentOf(b);
  if (distance >= 64) return reduceStep(env, a, b, distance);
  if (distance < (nearest ? -1 : 0)) return { value: exactly(env, a, unchanged), conditions: 0 };
  const shift = a.exponent - b.exponent;
  const x = shift > 0 ? a.significand << BigInt(shift) : a.significand;
  const y = shift < 0 ? b.significand << BigInt(-shift) : b.significand;
  let quotient = x / y;
  let rest = x - quotient * y;
  if (nearest && (rest * 2n > y || (rest * 2n === y && (quotient & 1n) === 1n))) {
    quotient += 1n;
    rest -= y;
  }
  const q = Number(quotient & 7n);
  const conditions = ((q & 4) !== 0 ? C0 : 0) | ((q & 2) !== 0 ? C3 : 0) | ((q & 1) !== 0 ? C1 : 0);
  return { value: signed(env, a.sign, rest, Math.min(a.exponent, b.exponent)), conditions };
}

/** The dividend itself; a pseudo-denormal or denormal is packed anew. */
function exactly(env: FloatEnvironment, a: Unpacked, unchanged: bigint): bigint {
  return a.kind === 'finite' ? roundPack(F80, env, a.sign, a.exponent, a.significand) : unchanged;
}

function reduceStep(env: FloatEnvironment, a: Unpacked, b: Unpacked, distance: number): RemainderResult {
  const bits = (distance & 31) | 32;
  // a − b × ⌊a / b / 2^(distance − bits)⌋ × 2^(distance − bits)
  const step = a.exponent - b.exponent - (distance - bits);
  const x = step > 0 ? a.significand << BigInt(step) : a.significand;
  const y = step < 0 ? b.significand << BigInt(-step) : b.significand;
  return { value: signed(env, a.sign, x % y, a.exponent - Math.max(step, 0)), conditions: C2 };
}

function signed(env: FloatEnvironment, sign: number, magnitude: bigint, exponent: number): bigint {
  if (magnitude === 0n) return zero(F80, sign);
  return magnitude < 0n
    ? roundPack(F80, env, sign ^ 1, exponent, -magnitude)
    : roundPack(F80, env, sign, exponent, magnitude);
}

/** FSCALE: ST(0) × 2^trunc(ST(1)). */
export function scale(unit: X87Unit): number {
  const env = unit.begin();
  env.precision = 64;
  if (unit.isEmpty(0) || unit.isEmpty(1)) {
    if (unit.underflow()) unit.write(0, INDEFINITE);
    return 0;
  }
  const result = scaled(env, unpack(F80, unit.read(0)), unpack(F80, unit.read(1)));
  if (!unit.finish()) unit.write(0, result);
  return 0;
}

function scaled(env: FloatEnvironment, a: Unpacked, b: Unpacked): bigint {
  if (a.kind === 'unsupported' || b.kind === 'unsupported') return invalid(F80, env);
  if (isNan(a) || isNan(b)) return chooseNan(F80, env, a, b);
  if (b.kind === 'infinity') {
    if (b.sign === 1 ? a.kind === 'infinity' : a.kind === 'zero') return invalid(F80, env);
    noteDenormals(env, a, b);
    return b.sign === 1 ? zero(F80, a.sign) : infinity(F80, a.sign);
  }
  noteDenormals(env, a, b);
  if (a.kind === 'infinity') return infinity(F80, a.sign);
  if (a.kind === 'zero') return zero(F80, a.sign);
  return roundPack(F80, env, a.sign, a.exponent + scaleCount(b), a.significand);
}

/** trunc(b), cut to what is beyond every exponent range. */
const SCALE_LIMIT = 0x10000;

function scaleCount(b: Unpacked): number {
  if (b.kind === 'zero') return 0;
  const top = exponentOf(b);
  const magnitude = top < 0 ? 0 : top > 16 ? SCALE_LIMIT : Number(b.significand >> BigInt(-b.exponent));
  return b.sign === 1 ? -magnitude : magnitude;
}

/** FXTRACT: ST(0) becomes the exponent, the significand is pushed. */
export function extractExponent(unit: X87Unit): number {
  const env = unit.begin();
  env.precision = 64;
  if (unit.isEmpty(0) || !unit.isEmpty(-1)) {
    const overflow = !unit.isEmpty(0);
    if (!unit.underflow()) {
      if (overflow) unit.setCondition(C1, C1);
      return 0;
    }
    unit.write(0, INDEFINITE);
    unit.top -= 1;
    unit.write(0, INDEFINITE);
    if (overflow) unit.setCondition(C1, C1);
    return 0;
  }
  const a = unpack(F80, unit.read(0));
  const { exponent, significand } = extracted(env, a);
  if (unit.finish()) return 0;
  unit.write(0, exponent);
  unit.top -= 1;
  unit.write(0, significand);
  return 0;
}

function extracted(env: FloatEnvironment, a: Unpacked): { exponent: bigint; significand: bigint } {
  if (a.kind === 'unsupported') return { exponent: invalid(F80, env), significand: INDEFINITE };
  if (isNan(a)) {
    const nan = chooseNan(F80, env, a, a);
    return { exponent: nan, significand: quietNan(F80, F80, a) };
  }
  if (a.kind === 'infinity') return { exponent: infinity(F80, 0), significand: infinity(F80, a.sign) };
  if (a.kind === 'zero') {
    env.flags |= ZE;
    return { exponent: infinity(F80, 1), significand: zero(F80, a.sign) };
  }
  if (a.denormal) env.flags |= DE;
  const top = exponentOf(a);
  const exponent = top === 0 ? zero(F80, 0) : roundPack(F80, env, top < 0 ? 1 : 0, 0, BigInt(Math.abs(top)));
  return { exponent, significand: roundPack(F80, env, a.sign, a.exponent - top, a.significand) };
}
