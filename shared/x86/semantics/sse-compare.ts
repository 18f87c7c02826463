// SSE floating-point comparison and rounding to integral: CMPccPS…, COMISS, UCOMISS, ROUNDPS…. Intel SDM vol. 2.
import { HELPER_ARG0, VECTOR_SCRATCH } from '#shared/x86/cpu-state.js';
import type { Semantics, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { Lanes, SHAPE_NUMBER, inexactIsMasked, noteInexact, roundingControl } from './sse-lanes.js';
import type { Shape } from './sse-lanes.js';
import { immediate, simd, simdHelper, v, writeOrderFlags, zeroVector } from './sse-operand.js';

const PREDICATES = ['eq', 'lt', 'le'];

/** Predicates 0–3 are EQ, LT, LE, UNORD; bit 2 inverts. Without NaNs UNORD is false. A mask: v128, or i32 0 or −1. */
function comparison(l: Lanes, control: Value, a: Value, b: Value): Value {
  const { e } = l;
  const none = l.packed ? zeroVector(e) : e.i32(0);
  const found = (predicate: number): Value => (predicate === 3 ? none : l.f(PREDICATES[predicate]!, a, b));
  const known = e.known(control);
  const low = e.and(control, e.i32(3));
  const pick = (number: number): Value =>
    number === 3 ? none : e.select(e.eq(low, e.i32(number)), found(number), pick(number + 1));
  const plain = known === undefined ? pick(0) : found(known & 3);
  if (known !== undefined && l.packed) return known < 4 ? plain : v(e, 'v128.not', plain);
  const inverted = e.sub(e.i32(0), e.and(e.shrU(control, e.i32(2)), e.i32(1)));
  if (l.packed) return v(e, 'v128.xor', plain, v(e, 'i32x4.splat', inverted));
  return e.xor(e.sub(e.i32(0), plain), inverted);
}

function compare(shape: Shape): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const b = l.readSource(op);
    const a = l.readDestination(op);
    const control = e.and(immediate(e, op, 2), e.i32(7));
    const plain = l.all(l.and(l.isPlain(a), l.isPlain(b)));
    const mask = l.packed ? 'v128' : 'i32';
    const result = e.unlessRare(
      plain,
      mask,
      () => comparison(l, control, a, b),
      () => {
        l.putScratch(0, a);
        l.putScratch(16, b);
        simdHelper(e, 'sse_compare', [control, e.i32(SHAPE_NUMBER[shape])]);
        return e.getState(mask, VECTOR_SCRATCH);
      },
    );
    if (l.packed) op.write(0, result);
    else op.writeLow(0, l.bits, l.bits === 64 ? e.extendS(result) : result);
  };
}

/** COMISS and UCOMISS: ZF PF CF by the order, OF SF AF clear. `quiet`: a quiet NaN is no exception. */
function compareToFlags(shape: 'ss' | 'sd', quiet: boolean): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const b = l.readSource(op);
    const a = l.readDestination(op);
    const image = e.unlessRare(
      l.areOrdered(a, b),
      'i32',
      () => e.or(e.shl(l.f('eq', a, b), e.i32(6)), l.f('lt', a, b)),
      () => {
        l.putScratch(0, a);
        l.putScratch(16, b);
        simdHelper(e, 'sse_compare_flags', [e.i32(quiet ? 1 : 0), e.i32(SHAPE_NUMBER[shape])]);
        return e.getState('i32', HELPER_ARG0);
      },
    );
    writeOrderFlags(e, image);
  };
}

const DIRECTIONS = ['nearest', 'floor', 'ceil', 'trunc'];

/** ROUNDxx: imm[1:0] the rule, or MXCSR.RC under imm bit 2; imm bit 3 keeps PE as it is. */
function roundTo(shape: Shape): Semantics {
  return (e, op) => {
    const l = new Lanes(e, shape);
    const x = l.readSource(op);
    const control = immediate(e, op, 2);
    const rule = e.select(e.and(control, e.i32(4)), roundingControl(e), e.and(control, e.i32(3)));
    const known = e.known(control);
    const pick = (number: number): Value =>
      number === 3
        ? l.f('trunc', x)
        : e.unlessRare(
            e.eq(rule, e.i32(number)),
            x.type,
            () => l.f(DIRECTIONS[number]!, x),
            () => pick(number + 1),
          );
    const result = known !== undefined && (known & 4) === 0 ? l.f(DIRECTIONS[known & 3]!, x) : pick(0);
    const silent = e.or(e.and(control, e.i32(8)), l.all(l.f('eq', result, x)));
    const value = e.unlessRare(
      e.and(l.all(l.isPlain(x)), e.ne(e.or(silent, inexactIsMasked(e)), e.i32(0))),
      l.type,
      () => {
        noteInexact(e, silent);
        return result;
      },
      () => {
        l.putScratch(0, x);
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
  Comiss: { sem: simd(compareToFlags('ss', false)), overwritesFlags: true },
  Comisd: { sem: simd(compareToFlags('sd', false)), overwritesFlags: true },
  Ucomiss: { sem: simd(compareToFlags('ss', true)), overwritesFlags: true },
  Ucomisd: { sem: simd(compareToFlags('sd', true)), overwritesFlags: true },
  Roundps: { sem: simd(roundTo('ps')) },
  Roundpd: { sem: simd(roundTo('pd')) },
  Roundss: { sem: simd(roundTo('ss')) },
  Roundsd: { sem: simd(roundTo('sd')) },
};
