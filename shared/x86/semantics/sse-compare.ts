// SSE floating-point comparison and rounding to integral: CMPccPS…, COMISS, UCOMISS, ROUNDPS…. Intel SDM vol. 2.
import { HELPER_ARG0 } from '#shared/x86/cpu-state.js';
import type { Semantics, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { Lanes, SHAPE_NUMBER, inexactIsMasked, noteInexact, roundingControl } from './sse-lanes.js';
import type { Shape } from './sse-lanes.js';
import { immediate, simd, simdHelper, v } from './sse-operand.js';

/** Predicates 0–3 are EQ, LT, LE, UNORD; bit 2 inverts. Without NaNs UNORD is false. */
function comparison(l: Lanes, control: Value, a: Value, b: Value): Value {
  const { e } = l;
  const [x, y] = [l.fromBits(a), l.fromBits(b)];
  const low = e.and(control, e.i32(3));
  const pick = (number: number, chosen: Value, other: Value): Value =>
    e.select(e.eq(low, e.i32(number)), chosen, other);
  const none = l.packed ? v(e, 'i32x4.splat', e.i32(0)) : e.i32(0);
  const found = pick(0, l.f('eq', x, y), pick(1, l.f('lt', x, y), pick(2, l.f('le', x, y), none)));
  const inverted = e.sub(e.i32(0), e.and(e.shrU(control, e.i32(2)), e.i32(1)));
  if (l.packed) return v(e, 'v128.xor', found, v(e, 'i32x4.splat', inverted));
  const mask = e.xor(e.sub(e.i32(0), found), inverted);
  return l.bits === 64 ? e.extendS(mask) : mask;
}

function compare(shape: Shape): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const b = l.readSource(op);
    const a = l.readDestination(op);
    const control = e.and(immediate(e, op, 2), e.i32(7));
    const plain = l.all(l.and(l.isPlain(l.fromBits(a)), l.isPlain(l.fromBits(b))));
    const result = e.unlessRare(
      plain,
      l.rawType,
      () => comparison(l, control, a, b),
      () => {
        l.putScratch(0, a);
        l.putScratch(16, b);
        simdHelper(e, 'sse_compare', [control, e.i32(SHAPE_NUMBER[shape])]);
        return l.getScratch();
      },
    );
    l.writeDestination(op, result);
  };
}

/** COMISS and UCOMISS: ZF PF CF by the order, OF SF AF clear. `quiet`: a quiet NaN is no exception. */
function compareToFlags(shape: 'ss' | 'sd', quiet: boolean): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const b = l.readSource(op);
    const a = l.readDestination(op);
    const [x, y] = [l.fromBits(a), l.fromBits(b)];
    const image = e.unlessRare(
      l.areOrdered(a, b),
      'i32',
      () => e.or(e.shl(l.f('eq', x, y), e.i32(6)), l.f('lt', x, y)),
      () => {
        l.putScratch(0, a);
        l.putScratch(16, b);
        simdHelper(e, 'sse_compare_flags', [e.i32(quiet ? 1 : 0), e.i32(SHAPE_NUMBER[shape])]);
        return e.getState('i32', HELPER_ARG0);
      },
    );
    e.writeArithmeticFlags(image);
  };
}

const DIRECTIONS = ['nearest', 'floor', 'ceil', 'trunc'];

/** ROUNDxx: imm[1:0] the rule, or MXCSR.RC under imm bit 2; imm bit 3 keeps PE as it is. */
function roundTo(shape: Shape): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const raw = l.readSource(op);
    const x = l.fromBits(raw);
    const control = immediate(e, op, 2);
    const rule = e.select(e.and(control, e.i32(4)), roundingControl(e), e.and(control, e.i32(3)));
    const pick = (number: number): Value =>
      number === 3
        ? l.f('trunc', x)
        : e.unlessRare(
            e.eq(rule, e.i32(number)),
            x.type,
            () => l.f(DIRECTIONS[number]!, x),
            () => pick(number + 1),
          );
    const result = pick(0);
    const silent = e.or(e.and(control, e.i32(8)), l.all(l.f('eq', result, x)));
    const value = e.unlessRare(
      e.and(l.all(l.isPlain(x)), e.ne(e.or(silent, inexactIsMasked(e)), e.i32(0))),
      l.rawType,
      () => {
        noteInexact(e, silent);
        return l.toBits(result);
      },
      () => {
        l.putScratch(0, raw);
        simdHelper(e, 'sse_round', [control, e.i32(SHAPE_NUMBER[shape])]);
        return l.getScratch();
      },
    );
    l.writeDestination(op, value);
  };
}

export const SSE_COMPARE: SemanticsTable = {
  Cmpps: { sem: simd(compare('ps')) },
  Cmppd: { sem: simd(compare('pd')) },
  Cmpss: { sem: simd(compare('ss')) },
  Cmpsd: { sem: simd(compare('sd')) },
  Comiss: { sem: simd(compareToFlags('ss', false)) },
  Comisd: { sem: simd(compareToFlags('sd', false)) },
  Ucomiss: { sem: simd(compareToFlags('ss', true)) },
  Ucomisd: { sem: simd(compareToFlags('sd', true)) },
  Roundps: { sem: simd(roundTo('ps')) },
  Roundpd: { sem: simd(roundTo('pd')) },
  Roundss: { sem: simd(roundTo('ss')) },
  Roundsd: { sem: simd(roundTo('sd')) },
};
