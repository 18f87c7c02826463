// SHL SAL SHR SAR ROL ROR RCL RCR SHLD SHRD. Intel SDM vol. 2. The count is masked to 5 bits (6 for 64-bit operands);
// a masked count of zero changes no flag. Flags that the manual leaves undefined for counts other than 1 (OF) or
// beyond the operand follow what current Intel processors do.
import type { Emitter, Operands, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { AF, OF } from '#shared/x86/rflags.js';

/** The masked count as i32. A register count is always CL. */
function maskedCount(e: Emitter, op: Operands, index: number): Value {
  const count = op.kind(index) === 'gpr' ? e.readGpr(1, 8) : op.read(index);
  return e.and(e.toBits(count, 32), e.i32(op.bits === 64 ? 63 : 31));
}

/** Bit `position` of `value` as i32 0 or 1; a constant position. */
function bit(e: Emitter, value: Value, position: number, bits: Operands['bits']): Value {
  return e.toBits(e.and(e.shrU(value, e.constant(bits, position)), e.constant(bits, 1)), 32);
}

function lowBit(e: Emitter, value: Value): Value {
  return e.and(e.toBits(value, 32), e.i32(1));
}

/** Whether the two top bits differ: OF of a left shift or rotation by one. */
function topBitsDiffer(e: Emitter, value: Value, bits: Operands['bits']): Value {
  return e.xor(bit(e, value, bits - 1, bits), bit(e, value, bits - 2, bits));
}

function semShl(e: Emitter, op: Operands): void {
  const bits = op.bits;
  const count = maskedCount(e, op, 1);
  const wide = e.toBits(count, bits);
  const { old, value } = op.modify(0, (a) => e.shl(a, wide));
  e.if(count, () => {
    const last = e.shl(old, e.sub(wide, e.constant(bits, 1)));
    const cf = bit(e, last, bits - 1, bits);
    e.setResultFlags(bits, value, { cf, of: topBitsDiffer(e, old, bits) });
  });
}

function semShr(e: Emitter, op: Operands): void {
  const bits = op.bits;
  const count = maskedCount(e, op, 1);
  const wide = e.toBits(count, bits);
  const { old, value } = op.modify(0, (a) => e.shrU(a, wide));
  e.if(count, () => {
    const cf = lowBit(e, e.shrU(old, e.sub(wide, e.constant(bits, 1))));
    e.setResultFlags(bits, value, { cf, of: bit(e, old, bits - 1, bits) });
  });
}

function semSar(e: Emitter, op: Operands): void {
  const bits = op.bits;
  const count = maskedCount(e, op, 1);
  const wide = e.toBits(count, bits);
  const { old, value } = op.modify(0, (a) => e.shrS(e.signExtend(a, bits), wide));
  e.if(count, () => {
    const cf = lowBit(e, e.shrS(e.signExtend(old, bits), e.sub(wide, e.constant(bits, 1))));
    e.setResultFlags(bits, value, { cf });
  });
}

/** Rotates the low `bits` of `a` left by `count` (already below 32, or 64). */
function rotateLeft(e: Emitter, a: Value, count: Value, bits: Operands['bits']): Value {
  if (bits >= 32) return e.rotl(a, count);
  const inside = e.and(count, e.i32(bits - 1));
  return e.or(e.shl(a, inside), e.shrU(a, e.sub(e.i32(bits), inside)));
}

/** A register by an immediate: OF changes for a count of 1 only. Otherwise for every count as it does for 1. */
function writeRotationFlags(e: Emitter, op: Operands, count: Value, cf: Value, of: Value): void {
  const keeps = op.kind(0) === 'gpr' && op.kind(1) === 'immediate';
  e.writeFlags({ cf, of: keeps ? e.select(e.eq(count, e.i32(1)), of, e.getFlag('of')) : of });
}

function semRol(e: Emitter, op: Operands): void {
  const bits = op.bits;
  const count = maskedCount(e, op, 1);
  const wide = e.toBits(count, bits);
  const { old, value } = op.modify(0, (a) => rotateLeft(e, a, wide, bits));
  e.if(count, () => writeRotationFlags(e, op, count, lowBit(e, value), topBitsDiffer(e, old, bits)));
}

function semRor(e: Emitter, op: Operands): void {
  const bits = op.bits;
  const count = maskedCount(e, op, 1);
  const wide = e.toBits(count, bits);
  const { old, value } = op.modify(0, (a) =>
    bits >= 32 ? e.rotr(a, wide) : rotateLeft(e, a, e.sub(e.i32(0), wide), bits),
  );
  e.if(count, () => {
    const of = e.xor(lowBit(e, old), bit(e, old, bits - 1, bits));
    writeRotationFlags(e, op, count, bit(e, value, bits - 1, bits), of);
  });
}

/** Rotates through CF by `count` modulo `bits` + 1; gives the result and the carry as i32. */
interface CarryRotation {
  (e: Emitter, a: Value, carry: Value, count: Value): { result: Value; carry: Value; count: Value };
}

/** RCL and RCR of 8, 16 and 32 bits: CF and the operand are one number of bits + 1 in an i64. */
function narrowRotation(bits: 8 | 16 | 32, left: boolean): CarryRotation {
  const width = bits + 1;
  return (e, a, carry, count) => {
    const number = e.or(e.extendU(a), e.shl(e.extendU(carry), e.i64(bits)));
    const turns = bits === 32 ? count : e.op('i32.rem_u', [count, e.i32(width)]);
    const inside = e.extendU(turns);
    const rest = e.sub(e.i64(width), inside);
    const rotated = left
      ? e.or(e.shl(number, inside), e.shrU(number, rest))
      : e.or(e.shrU(number, inside), e.shl(number, rest));
    const out = e.wrap(e.and(e.shrU(rotated, e.i64(bits)), e.i64(1)));
    return { result: e.wrap(rotated), carry: out, count: turns };
  };
}

/** RCL and RCR of 64 bits; the count is not zero where the carry is used. */
function wideRotation(left: boolean): CarryRotation {
  return (e, a, carry, count) => {
    const wide = e.extendU(count);
    const less = e.sub(wide, e.i64(1));
    const back = e.sub(e.i64(64), wide);
    const bitIn = e.extendU(carry);
    const one = e.i64(1);
    const moved = left
      ? e.or(e.or(e.shl(a, wide), e.shl(bitIn, less)), e.shrU(e.shrU(a, one), back))
      : e.or(e.or(e.shrU(a, wide), e.shl(bitIn, back)), e.shl(e.shl(a, one), back));
    const out = e.wrap(e.and(e.shrU(a, left ? back : less), one));
    return { result: e.select(e.eqz(count), a, moved), carry: out, count };
  };
}

function throughCarry(left: boolean) {
  return (e: Emitter, op: Operands): void => {
    const bits = op.bits as 8 | 16 | 32 | 64;
    const rotate = bits === 64 ? wideRotation(left) : narrowRotation(bits, left);
    const count = maskedCount(e, op, 1);
    const carry = e.getFlag('cf');
    const { old } = op.modify(0, (a) => rotate(e, a, carry, count).result);
    const turned = rotate(e, old, carry, count);
    // A whole turn of 9 or 17 bits changes no flag either.
    e.if(turned.count, () => {
      const of = left ? topBitsDiffer(e, old, bits) : e.xor(carry, bit(e, old, bits - 1, bits));
      e.writeFlags({ cf: turned.carry, of });
    });
  };
}

/** SHLD and SHRD of 16 bits: counts above 16 take the operand's own bits again, as Intel processors do. */
function doubleShift16(e: Emitter, op: Operands, left: boolean): void {
  const count = maskedCount(e, op, 2);
  const wide = e.extendU(count);
  const source = e.extendU(op.read(1));
  const shifted = (a: Value, by: Value): Value => {
    const own = e.extendU(a);
    if (left) {
      // own:source:own, the result in bits 32–47 after the shift.
      const triple = e.or(e.or(e.shl(own, e.i64(32)), e.shl(source, e.i64(16))), own);
      return e.shrU(e.shl(triple, by), e.i64(32));
    }
    const triple = e.or(e.or(e.shl(own, e.i64(32)), e.shl(source, e.i64(16))), own);
    return e.shrU(triple, by);
  };
  const { old, value } = op.modify(0, (a) => e.wrap(shifted(a, wide)));
  e.if(count, () => {
    const last = shifted(old, e.sub(wide, e.i64(1)));
    const cf = left ? e.wrap(e.and(e.shrU(last, e.i64(15)), e.i64(1))) : e.wrap(e.and(last, e.i64(1)));
    const of = left ? topBitsDiffer(e, old, 16) : e.xor(bit(e, old, 15, 16), lowBit(e, source));
    e.setResultFlags(16, value, { cf, of });
  });
}

function doubleShift(left: boolean) {
  return (e: Emitter, op: Operands): void => {
    const bits = op.bits;
    if (bits === 16) return doubleShift16(e, op, left);
    const count = maskedCount(e, op, 2);
    const wide = e.toBits(count, bits);
    const source = op.read(1);
    const one = e.constant(bits, 1);
    const back = e.sub(e.constant(bits, bits - 1), wide);
    const { old, value } = op.modify(0, (a) =>
      left
        ? e.or(e.shl(a, wide), e.shrU(e.shrU(source, one), back))
        : e.or(e.shrU(a, wide), e.shl(e.shl(source, one), back)),
    );
    e.if(count, () => {
      const less = e.sub(wide, one);
      const cf = left ? bit(e, e.shl(old, less), bits - 1, bits) : lowBit(e, e.shrU(old, less));
      const of = left ? topBitsDiffer(e, old, bits) : e.xor(bit(e, old, bits - 1, bits), lowBit(e, source));
      e.setResultFlags(bits, value, { cf, of });
    });
  };
}

export const shiftSemantics: SemanticsTable = {
  Shl: { sem: semShl, undefinedFlags: AF, undefinedUnlessOne: OF },
  Sal: { sem: semShl, undefinedFlags: AF, undefinedUnlessOne: OF },
  Shr: { sem: semShr, undefinedFlags: AF, undefinedUnlessOne: OF },
  Sar: { sem: semSar, undefinedFlags: AF },
  Rol: { sem: semRol, undefinedUnlessOne: OF },
  Ror: { sem: semRor, undefinedUnlessOne: OF },
  Rcl: { sem: throughCarry(true), undefinedUnlessOne: OF },
  Rcr: { sem: throughCarry(false), undefinedUnlessOne: OF },
  Shld: { sem: doubleShift(true), undefinedFlags: AF, undefinedUnlessOne: OF },
  Shrd: { sem: doubleShift(false), undefinedFlags: AF, undefinedUnlessOne: OF },
};
