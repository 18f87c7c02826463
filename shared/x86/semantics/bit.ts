// BT BTS BTR BTC BSF BSR POPCNT BSWAP. Intel SDM vol. 2. TZCNT and LZCNT are not announced: they decode as BSF and BSR.
import type { Emitter, Operands, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { AF, CF, OF, PF, SF } from '#shared/x86/rflags.js';

type Change = (e: Emitter, old: Value, mask: Value) => Value;

/** Byte displacement (i64) of the word that holds bit `index` of a bit string in memory. */
function bitStringDisplacement(e: Emitter, index: Value, bits: number): Value {
  const wide = bits === 64 ? index : e.extendS(e.signExtend(index, bits));
  const shift = bits === 16 ? 4 : bits === 32 ? 5 : 6;
  return e.shl(e.shrS(wide, e.i64(shift)), e.i64(shift - 3));
}

function bitTest(change: Change | undefined) {
  return (e: Emitter, op: Operands): void => {
    const bits = op.bits;
    const index = e.toBits(op.read(1), bits);
    const position = e.and(index, e.constant(bits, bits - 1));
    const bitString = op.kind(0) === 'memory' && op.kind(1) === 'gpr';
    const displacement = bitString ? bitStringDisplacement(e, index, bits) : undefined;
    const mask = e.shl(e.constant(bits, 1), position);
    const old = change ? op.modify(0, (a) => change(e, a, mask), displacement).old : op.read(0, displacement);
    const cf = e.toBits(e.and(e.shrU(old, position), e.constant(bits, 1)), 32);
    e.writeFlags({ cf });
  };
}

function semBsf(e: Emitter, op: Operands): void {
  const source = op.read(1);
  const zero = e.eqz(source);
  // A zero source leaves the destination as it is (a 32-bit one too: no zero extension).
  e.if(e.eqz(zero), () => op.write(0, e.ctz(source)));
  e.setResultFlags(op.bits, source);
}

function semBsr(e: Emitter, op: Operands): void {
  const source = op.read(1);
  const zero = e.eqz(source);
  const top = e.constant(op.bits, op.bits === 64 ? 63 : 31);
  e.if(e.eqz(zero), () => op.write(0, e.sub(top, e.clz(source))));
  e.setResultFlags(op.bits, source);
}

function semPopcnt(e: Emitter, op: Operands): void {
  const source = op.read(1);
  op.write(0, e.popcnt(source));
  const zf = e.eqz(source);
  e.writeFlags({ cf: e.i32(0), pf: e.i32(0), af: e.i32(0), zf, sf: e.i32(0), of: e.i32(0) });
}

function swap32(e: Emitter, value: Value): Value {
  const outer = e.and(e.rotr(value, e.i32(8)), e.i32(0xff00ff00 | 0));
  return e.or(outer, e.and(e.rotl(value, e.i32(8)), e.i32(0x00ff00ff)));
}

function semBswap(e: Emitter, op: Operands): void {
  const value = op.read(0);
  if (op.bits === 16) {
    // Undefined by the manual; processors give zero.
    op.write(0, e.i32(0));
  } else if (op.bits === 32) {
    op.write(0, swap32(e, value));
  } else {
    const low = swap32(e, e.wrap(e.shrU(value, e.i64(32))));
    const high = swap32(e, e.wrap(value));
    op.write(0, e.or(e.extendU(low), e.shl(e.extendU(high), e.i64(32))));
  }
}

const BIT_TEST_UNDEFINED = OF | SF | AF | PF;
const BIT_SCAN_UNDEFINED = CF | OF | SF | AF | PF;

export const bitSemantics: SemanticsTable = {
  Bt: { sem: bitTest(undefined), undefinedFlags: BIT_TEST_UNDEFINED },
  Bts: { sem: bitTest((e, old, mask) => e.or(old, mask)), undefinedFlags: BIT_TEST_UNDEFINED },
  Btr: {
    sem: bitTest((e, old, mask) => e.and(old, e.xor(mask, e.constant(mask.type === 'i64' ? 64 : 32, -1)))),
    undefinedFlags: BIT_TEST_UNDEFINED,
  },
  Btc: { sem: bitTest((e, old, mask) => e.xor(old, mask)), undefinedFlags: BIT_TEST_UNDEFINED },
  Bsf: { sem: semBsf, undefinedFlags: BIT_SCAN_UNDEFINED, overwritesFlags: true },
  Bsr: { sem: semBsr, undefinedFlags: BIT_SCAN_UNDEFINED, overwritesFlags: true },
  Popcnt: { sem: semPopcnt, overwritesFlags: true },
  Bswap: { sem: semBswap },
};
