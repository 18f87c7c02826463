import { describe, expect, it } from 'vitest';
import { add, compare, divide, multiply, subtract } from '#shared/x86/softfloat/arithmetic.js';
import { convert, fromInteger, toInteger } from '#shared/x86/softfloat/conversion.js';
import { extendedBinary } from '#shared/x86/softfloat/extended.js';
import {
  compareExtended,
  narrowDouble,
  narrowInteger,
  narrowSingle,
  widenDouble,
  widenInteger,
  widenSingle,
} from '#shared/x86/softfloat/extended-transfer.js';
import { F32, F64, F80 } from '#shared/x86/softfloat/format.js';
import { newEnvironment } from '#shared/x86/softfloat/rounding.js';
import type { FloatEnvironment } from '#shared/x86/softfloat/rounding.js';
import { CaseRandom, floatPattern } from '../../../../support/float-case.js';

const CASES = 6_000;
const A = 0;
const B = 16;
const TO = 32;

const page = new DataView(new ArrayBuffer(64));

function put(at: number, pattern: bigint): void {
  page.setBigUint64(at, BigInt.asUintN(64, pattern), true);
  page.setUint16(at + 8, Number(pattern >> 64n), true);
}

function get(at: number): bigint {
  return (BigInt(page.getUint16(at + 8, true)) << 64n) | page.getBigUint64(at, true);
}

/** Mostly ordinary numbers of similar size, where rounding, carries and cancellation happen. */
function extendedPattern(random: CaseRandom): bigint {
  if (random.chance(20)) return floatPattern(random, 15, 64, true);
  const significands = [
    random.bits(64),
    random.bits(64) & ~0x7ffn,
    (1n << 64n) - 1n - BigInt(random.below(4)),
    BigInt(random.below(4)),
  ];
  const significand = random.pick(significands) | (1n << 63n);
  return (BigInt(random.below(2)) << 79n) | (BigInt(0x3fff - 70 + random.below(140)) << 64n) | significand;
}

function environment(rounding: number): FloatEnvironment {
  return newEnvironment({ x87: true, rounding });
}

const outcome = (pattern: bigint, env: FloatEnvironment): string =>
  `${pattern.toString(16)} ${env.flags} ${env.flags === 0 ? '' : env.roundedUp}`;

describe('the quick extended arithmetic', () => {
  it('agrees with the exact one wherever it answers', () => {
    const random = new CaseRandom(11);
    const exact = [
      add,
      multiply,
      subtract,
      (f: typeof F80, e: FloatEnvironment, a: bigint, b: bigint) => subtract(f, e, b, a),
      divide,
    ];
    let answered = 0;
    for (let i = 0; i < CASES; i++) {
      const [a, b] = [extendedPattern(random), extendedPattern(random)];
      const operation = random.below(5);
      const [quick, slow] = [environment(i & 3), environment(i & 3)];
      put(A, a);
      put(B, b);
      if (!extendedBinary(page, quick, operation, A, B, TO)) continue;
      answered++;
      const expected = exact[operation]!(F80, slow, a, b);
      expect(outcome(get(TO), quick), `${operation}: ${a.toString(16)}, ${b.toString(16)}`).toBe(
        outcome(expected, slow),
      );
    }
    expect(answered).toBeGreaterThan(CASES / 2);
  });

  it('compares like the exact comparison', () => {
    const random = new CaseRandom(12);
    for (let i = 0; i < CASES; i++) {
      const a = extendedPattern(random);
      const b = random.chance(10)
        ? a
        : random.chance(10)
          ? a ^ (1n << 79n)
          : random.chance(10)
            ? a ^ 1n
            : extendedPattern(random);
      put(A, a);
      put(B, b);
      const result = compareExtended(page, A, B);
      if (result !== 2) expect(result).toBe(compare(F80, environment(0), a, b, false));
    }
  });
});

describe('the quick conversions', () => {
  it('narrow like the exact conversion wherever they answer', () => {
    const random = new CaseRandom(13);
    for (let i = 0; i < CASES; i++) {
      const a = extendedPattern(random);
      put(A, a);
      const slow = environment(i & 3);
      let quick = environment(i & 3);
      if (narrowDouble(page, quick, A, TO)) {
        expect(outcome(page.getBigUint64(TO, true), quick)).toBe(outcome(convert(F80, F64, slow, a), slow));
      }
      slow.flags = 0;
      quick = environment(i & 3);
      if (narrowSingle(page, quick, A, TO)) {
        expect(outcome(BigInt(page.getUint32(TO, true)), quick)).toBe(
          outcome(convert(F80, F32, slow, a), slow),
        );
      }
      for (const bits of [16, 32] as const) {
        slow.flags = 0;
        quick = environment(i & 3);
        if (!narrowInteger(page, quick, A, TO, bits, i & 3)) continue;
        expect(outcome(BigInt(page.getInt32(TO, true)), quick)).toBe(
          outcome(toInteger(F80, slow, a, bits), slow),
        );
      }
    }
  });

  it('widen like the exact conversion wherever they answer', () => {
    const random = new CaseRandom(14);
    for (let i = 0; i < CASES; i++) {
      const double = floatPattern(random, 11, 52, false);
      page.setBigUint64(A, double, true);
      if (widenDouble(page, A, TO)) expect(get(TO)).toBe(convert(F64, F80, environment(0), double));
      const single = floatPattern(random, 8, 23, false);
      page.setUint32(A, Number(single), true);
      if (widenSingle(page, A, TO)) expect(get(TO)).toBe(convert(F32, F80, environment(0), single));
      const integer =
        BigInt.asIntN(64, random.bits(64) >> BigInt(random.below(64))) * (random.chance(50) ? 1n : -1n);
      const value = BigInt.asIntN(64, integer);
      widenInteger(page, Number(value >> 32n), Number(value & 0xffffffffn), TO);
      expect(get(TO)).toBe(fromInteger(F80, environment(0), value));
    }
  });
});
