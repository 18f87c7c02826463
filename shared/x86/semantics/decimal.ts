// DAA DAS AAA AAS AAM AAD: decimal adjustment, not in 64-bit mode. Intel SDM vol. 2.
import type { Emitter, Operands, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { AF, CF, OF, PF, SF, ZF } from '#shared/x86/rflags.js';

const DIVIDE_ERROR = 0;
const RAX = 0;

function decimalAdjust(subtract: boolean) {
  return (e: Emitter): void => {
    const al = e.readGpr(RAX, 8);
    const cf = e.getFlag('cf');
    const low = e.or(e.getFlag('af'), e.gtU(e.and(al, e.i32(15)), e.i32(9)));
    const high = e.or(cf, e.gtU(al, e.i32(0x99)));
    const amount = e.add(e.mul(low, e.i32(6)), e.mul(high, e.i32(0x60)));
    const result = subtract ? e.sub(al, amount) : e.add(al, amount);
    // DAS also carries when the adjustment of the low digit borrows.
    const borrow = subtract ? e.and(low, e.ltU(al, e.i32(6))) : e.i32(0);
    e.writeGpr(RAX, 8, result);
    e.setResultFlags(8, result, { cf: e.or(high, borrow), af: low });
  };
}

function asciiAdjust(subtract: boolean) {
  return (e: Emitter): void => {
    const ax = e.readGpr(RAX, 16);
    const adjust = e.or(e.getFlag('af'), e.gtU(e.and(ax, e.i32(15)), e.i32(9)));
    const amount = e.mul(adjust, e.i32(0x106));
    const sum = subtract ? e.sub(ax, amount) : e.add(ax, amount);
    e.writeGpr(RAX, 16, e.and(sum, e.i32(0xff0f)));
    e.writeFlags({ cf: adjust, af: adjust });
  };
}

function semAam(e: Emitter, op: Operands): void {
  const base = e.and(e.toBits(op.read(0), 32), e.i32(0xff));
  e.if(e.eqz(base), () => e.raise(DIVIDE_ERROR));
  const al = e.readGpr(RAX, 8);
  const quotient = e.op('i32.div_u', [al, base]);
  const remainder = e.op('i32.rem_u', [al, base]);
  e.writeGpr(RAX, 16, e.or(e.shl(quotient, e.i32(8)), remainder));
  e.setResultFlags(8, remainder);
}

function semAad(e: Emitter, op: Operands): void {
  const base = e.toBits(op.read(0), 32);
  const ax = e.readGpr(RAX, 16);
  const tens: Value = e.mul(e.shrU(ax, e.i32(8)), base);
  const result = e.and(e.add(ax, tens), e.i32(0xff));
  e.writeGpr(RAX, 16, result);
  e.setResultFlags(8, result);
}

export const decimalSemantics: SemanticsTable = {
  Daa: { sem: decimalAdjust(false), undefinedFlags: OF },
  Das: { sem: decimalAdjust(true), undefinedFlags: OF },
  Aaa: { sem: asciiAdjust(false), undefinedFlags: OF | SF | ZF | PF },
  Aas: { sem: asciiAdjust(true), undefinedFlags: OF | SF | ZF | PF },
  Aam: { sem: semAam, undefinedFlags: OF | AF | CF },
  Aad: { sem: semAad, undefinedFlags: OF | AF | CF },
};
