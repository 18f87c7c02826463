// F2XM1, FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS, FSINCOS: stack, special operands and exceptions. Intel SDM vol. 1 §8.3.8–8.3.10, vol. 2 (the tables of
// results). The values come from softfloat/elementary.ts; results are within one unit in the last place of the processors'.
import { chooseNan, invalid, noteDenormals, specialOperands } from '#shared/x86/softfloat/arithmetic.js';
import {
  arctangent,
  divideWide,
  exponentialMinusOne,
  logarithm,
  logarithmPlusOne,
  multiplyWide,
  piFraction,
  sineAndCosine,
  topOf,
} from '#shared/x86/softfloat/elementary.js';
import type { WideNumber } from '#shared/x86/softfloat/elementary.js';
import { F80, PE, UE, ZE, infinity, pack, unpack, zero } from '#shared/x86/softfloat/format.js';
import type { Unpacked } from '#shared/x86/softfloat/format.js';
import { roundPack } from '#shared/x86/softfloat/rounding.js';
import type { FloatEnvironment } from '#shared/x86/softfloat/rounding.js';
import { C1, C2, INDEFINITE } from './x87-unit.js';
import type { X87Unit } from './x87-unit.js';

const ONE = pack(F80, 0, F80.emax, 1n << 63n);

export function transcendental(unit: X87Unit, which: number): number {
  const env = unit.begin();
  env.precision = 64;
  switch (which) {
    case 0:
      return oneOperand(unit, env);
    case 1:
      return twoOperands(unit, env, yTimesLogarithm);
    case 2:
      return twoOperands(unit, env, yTimesLogarithmPlusOne);
    case 4:
      return twoOperands(unit, env, partialArctangent);
    default:
      return angle(unit, env, which);
  }
}

function rounded(env: FloatEnvironment, a: WideNumber): bigint {
  if (a.significand === 0n) return zero(F80, a.sign);
  if (a.exact) {
    // The processors call every finite non-zero result inexact, and so a denormal one an underflow.
    const result = roundPack(F80, env, a.sign, a.exponent, a.significand);
    env.flags |= unpack(F80, result).denormal ? UE | PE : PE;
    return result;
  }
  return roundPack(F80, env, a.sign, a.exponent - 1, (a.significand << 1n) | 1n);
}

/** F2XM1. Beyond ±1 the result is undefined: the operand stays. */
function oneOperand(unit: X87Unit, env: FloatEnvironment): number {
  if (unit.isEmpty(0)) {
    if (unit.underflow()) unit.write(0, INDEFINITE);
    return 0;
  }
  const pattern = unit.read(0);
  const result = powerMinusOne(env, unpack(F80, pattern), pattern);
  if (!unit.finish()) unit.write(0, result);
  return 0;
}

function powerMinusOne(env: FloatEnvironment, a: Unpacked, pattern: bigint): bigint {
  const special = specialOperands(F80, env, a, a);
  if (special !== undefined) return special;
  noteDenormals(env, a, a);
  if (a.kind === 'infinity') return a.sign === 0 ? pattern : pack(F80, 1, F80.emax, 1n << 63n);
  if (a.kind === 'zero') return pattern;
  const top = topOf(a);
  if (top > 0 || (top === 0 && a.significand !== 1n << 63n)) {
    env.flags |= PE;
    return pattern;
  }
  return rounded(env, exponentialMinusOne(a));
}

type TwoOperandMeaning = (env: FloatEnvironment, y: Unpacked, x: Unpacked) => bigint;

/** ST(1) = f(ST(1), ST(0)), then pops. */
function twoOperands(unit: X87Unit, env: FloatEnvironment, meaning: TwoOperandMeaning): number {
  let result = INDEFINITE;
  if (unit.isEmpty(0) || unit.isEmpty(1)) {
    if (!unit.underflow()) return 0;
  } else {
    const y = unpack(F80, unit.read(1));
    const x = unpack(F80, unit.read(0));
    result = specialOperands(F80, env, x, y) ?? meaning(env, y, x);
    if (unit.finish()) return 0;
  }
  unit.write(1, result);
  unit.pop();
  return 0;
}

/** Zero, finite or infinite magnitude with a sign: y × a logarithm that is itself zero, infinite or of known sign. */
function productOf(
  env: FloatEnvironment,
  y: Unpacked,
  logarithmKind: 'zero' | 'infinity' | 'finite',
  logarithmSign: number,
): bigint | undefined {
  const sign = y.sign ^ logarithmSign;
  if (
    (y.kind === 'infinity' && logarithmKind === 'zero') ||
    (y.kind === 'zero' && logarithmKind === 'infinity')
  )
    return invalid(F80, env);
  if (y.kind === 'infinity' || logarithmKind === 'infinity') return infinity(F80, sign);
  if (y.kind === 'zero' || logarithmKind === 'zero') return zero(F80, sign);
  return undefined;
}

function yTimesLogarithm(env: FloatEnvironment, y: Unpacked, x: Unpacked): bigint {
  if (x.kind === 'zero') {
    if (y.kind === 'zero') return invalid(F80, env);
    if (y.kind !== 'infinity') env.flags |= ZE;
    return infinity(F80, y.sign ^ 1);
  }
  if (x.sign === 1) return invalid(F80, env);
  if (x.kind === 'infinity') {
    const result = productOf(env, y, 'infinity', 0)!;
    if (y.kind !== 'zero') noteDenormals(env, y, y);
    return result;
  }
  const value = logarithm(x);
  const simple = productOf(env, y, value.significand === 0n ? 'zero' : 'finite', value.sign);
  if (simple !== undefined && y.kind === 'infinity' && value.significand === 0n) return simple;
  noteDenormals(env, x, y);
  return simple ?? rounded(env, multiplyWide(y, value));
}

function yTimesLogarithmPlusOne(env: FloatEnvironment, y: Unpacked, x: Unpacked): bigint {
  if (x.kind === 'infinity' && x.sign === 1) return invalid(F80, env);
  const simple = productOf(env, y, x.kind === 'zero' || x.kind === 'infinity' ? x.kind : 'finite', x.sign);
  if (simple !== undefined) {
    if ((env.flags & 1) === 0) noteDenormals(env, x, y);
    return simple;
  }
  noteDenormals(env, x, y);
  // At −1 and below it is undefined: the operand stays.
  if (x.sign === 1 && topOf(x) >= 0) return rounded(env, { ...x, exact: true });
  return rounded(env, multiplyWide(y, logarithmPlusOne(x)));
}

/** FPATAN: the angle of (x, y) for every combination of zero, finite and infinite. */
function partialArctangent(env: FloatEnvironment, y: Unpacked, x: Unpacked): bigint {
  noteDenormals(env, x, y);
  if (y.kind === 'infinity') {
    const quarters =
      x.kind === 'infinity' ? piFraction(y.sign, x.sign === 1 ? 3n : 1n, 2) : piFraction(y.sign, 1n, 1);
    return rounded(env, quarters);
  }
  if (y.kind === 'zero' || x.kind === 'infinity')
    return x.sign === 1 ? rounded(env, piFraction(y.sign, 1n, 0)) : zero(F80, y.sign);
  if (x.kind === 'zero') return rounded(env, piFraction(y.sign, 1n, 1));
  return rounded(env, arctangent(y, x));
}

/** FPTAN 3, FSIN 5, FCOS 6, FSINCOS 7. */
function angle(unit: X87Unit, env: FloatEnvironment, which: number): number {
  const pushes = which === 3 || which === 7;
  unit.setCondition(C2, 0);
  const overflow = pushes && !unit.isEmpty(-1);
  if (unit.isEmpty(0) || overflow) {
    const full = !unit.isEmpty(0);
    const masked = unit.underflow();
    if (full) unit.setCondition(C1, C1);
    if (masked) writeBoth(unit, INDEFINITE, INDEFINITE, pushes);
    return 0;
  }
  const pattern = unit.read(0);
  const a = unpack(F80, pattern);
  if (a.kind === 'finite' && topOf(a) >= 63) {
    unit.setCondition(C2, C2);
    return 0;
  }
  const { first, pushed } = angleResults(env, a, pattern, which);
  if (!unit.finish()) writeBoth(unit, first, pushed, pushes);
  return 0;
}

function writeBoth(unit: X87Unit, first: bigint, pushed: bigint, pushes: boolean): void {
  unit.write(0, first);
  if (!pushes) return;
  unit.top -= 1;
  unit.write(0, pushed);
}

interface AngleResults {
  readonly first: bigint;
  readonly pushed: bigint;
}

function angleResults(env: FloatEnvironment, a: Unpacked, pattern: bigint, which: number): AngleResults {
  if (a.kind === 'qnan' || a.kind === 'snan') {
    const nan = chooseNan(F80, env, a, a);
    return { first: nan, pushed: nan };
  }
  if (a.kind === 'unsupported' || a.kind === 'infinity') {
    const nan = invalid(F80, env);
    return { first: nan, pushed: nan };
  }
  if (a.kind === 'zero') return { first: which === 6 ? ONE : pattern, pushed: ONE };
  noteDenormals(env, a, a);
  const { sine, cosine } = sineAndCosine(a);
  switch (which) {
    case 3:
      return { first: rounded(env, divideWide(sine, cosine)), pushed: ONE };
    case 5:
      return { first: rounded(env, sine), pushed: 0n };
    case 6:
      return { first: rounded(env, cosine), pushed: 0n };
    default: {
      const pushed = rounded(env, cosine);
      return { first: rounded(env, sine), pushed };
    }
  }
}
