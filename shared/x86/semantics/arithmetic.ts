// Integer addition and subtraction: ADD ADC SUB SBB CMP NEG INC DEC XADD CMPXCHG CMPXCHG8B CMPXCHG16B.
// Intel SDM vol. 2. CMPXCHG16B under LOCK goes through a helper, as WebAssembly has no 128-bit atomic.
import type { Emitter, Operands, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { HELPER_ARG0 } from '#shared/x86/cpu-state.js';

function semAdd(e: Emitter, op: Operands): void {
  const b = op.read(1);
  const { old, value } = op.modify(0, (a) => e.add(a, b));
  e.setFlags('add', op.bits, old, b, value);
}

function semAdc(e: Emitter, op: Operands): void {
  const b = op.read(1);
  const carry = e.toBits(e.getFlag('cf'), op.bits);
  const { old, value } = op.modify(0, (a) => e.add(e.add(a, b), carry));
  e.setFlags('add', op.bits, old, b, value);
}

function semSub(e: Emitter, op: Operands): void {
  const b = op.read(1);
  const { old, value } = op.modify(0, (a) => e.sub(a, b));
  e.setFlags('sub', op.bits, old, b, value);
}

function semSbb(e: Emitter, op: Operands): void {
  const b = op.read(1);
  const borrow = e.toBits(e.getFlag('cf'), op.bits);
  const { old, value } = op.modify(0, (a) => e.sub(e.sub(a, b), borrow));
  e.setFlags('sub', op.bits, old, b, value);
}

function semCmp(e: Emitter, op: Operands): void {
  const a = op.read(0);
  const b = op.read(1);
  e.setFlags('sub', op.bits, a, b, e.sub(a, b));
}

function semNeg(e: Emitter, op: Operands): void {
  const zero = e.constant(op.bits, 0);
  const { old, value } = op.modify(0, (a) => e.sub(zero, a));
  e.setFlags('sub', op.bits, zero, old, value);
}

function semInc(e: Emitter, op: Operands): void {
  const one = e.constant(op.bits, 1);
  const { old, value } = op.modify(0, (a) => e.add(a, one));
  e.setFlags('inc', op.bits, old, one, value);
}

function semDec(e: Emitter, op: Operands): void {
  const one = e.constant(op.bits, 1);
  const { old, value } = op.modify(0, (a) => e.sub(a, one));
  e.setFlags('dec', op.bits, old, one, value);
}

function semXadd(e: Emitter, op: Operands): void {
  const b = op.read(1);
  if (op.kind(0) === 'gpr') {
    const a = op.read(0);
    const sum = e.add(a, b);
    // The source first: XADD EAX,EAX leaves the sum.
    op.write(1, a);
    op.write(0, sum);
    e.setFlags('add', op.bits, a, b, sum);
    return;
  }
  const { old, value } = op.modify(0, (a) => e.add(a, b));
  op.write(1, old);
  e.setFlags('add', op.bits, old, b, value);
}

function semCmpxchg(e: Emitter, op: Operands): void {
  const source = op.read(1);
  const accumulator = e.toBits(e.readGpr(0, op.bits), op.bits);
  if (op.kind(0) === 'gpr') {
    // Only one of the two registers is written: the other keeps its upper half.
    const a = op.read(0);
    e.if(
      e.eq(a, accumulator),
      () => op.write(0, source),
      () => e.writeGpr(0, op.bits, a),
    );
    e.setFlags('sub', op.bits, accumulator, a, e.sub(accumulator, a));
    return;
  }
  const { old } = op.modify(0, (a) => e.select(e.eq(a, accumulator), source, a));
  e.if(e.ne(old, accumulator), () => e.writeGpr(0, op.bits, old));
  e.setFlags('sub', op.bits, accumulator, old, e.sub(accumulator, old));
}

/** HIGH:LOW of two 32-bit registers as an i64. */
function readPair(e: Emitter, high: number, low: number): Value {
  const upper = e.shl(e.extendU(e.readGpr(high, 32)), e.i64(32));
  return e.or(upper, e.extendU(e.readGpr(low, 32)));
}

function semCmpxchg8b(e: Emitter, op: Operands): void {
  const expected = readPair(e, 2, 0);
  const replacement = readPair(e, 1, 3);
  const { old } = op.modify(0, (a) => e.select(e.eq(a, expected), replacement, a));
  const equal = e.eq(old, expected);
  e.if(e.eqz(equal), () => {
    e.writeGpr(0, 32, e.wrap(old));
    e.writeGpr(2, 32, e.wrap(e.shrU(old, e.i64(32))));
  });
  e.writeFlags({ zf: equal });
}

function semCmpxchg16b(e: Emitter, op: Operands): void {
  const address = op.linearAddress(0, 16, 'write');
  e.if(e.ne(e.and(e.wrap(address), e.i32(15)), e.i32(0)), () => e.raise(13, 0));
  if (op.lock) {
    // The helper does it all, flags too.
    e.setState('i64', HELPER_ARG0, address);
    e.helper('lockedCmpxchg16b');
    return;
  }
  const high = e.add(address, e.i64(8));
  // Probes for write, as the processor faults for that even when the read would too.
  const oldLow = e.modifyAt(address, 8, (low) => low).old;
  const oldHigh = e.load(high, 8);
  const equal = e.and(e.eq(oldLow, e.readGpr(0, 64)), e.eq(oldHigh, e.readGpr(2, 64)));
  // Written back even when different, as the processor does; both halves lie in one page, so the second cannot fault.
  e.store(address, 8, e.select(equal, e.readGpr(3, 64), oldLow));
  e.store(high, 8, e.select(equal, e.readGpr(1, 64), oldHigh));
  e.if(e.eqz(equal), () => {
    e.writeGpr(0, 64, oldLow);
    e.writeGpr(2, 64, oldHigh);
  });
  e.writeFlags({ zf: equal });
}

export const arithmeticSemantics: SemanticsTable = {
  Add: { sem: semAdd, overwritesFlags: true },
  Adc: { sem: semAdc },
  Sub: { sem: semSub, overwritesFlags: true },
  Sbb: { sem: semSbb },
  Cmp: { sem: semCmp, overwritesFlags: true },
  Neg: { sem: semNeg, overwritesFlags: true },
  Inc: { sem: semInc },
  Dec: { sem: semDec },
  Xadd: { sem: semXadd, overwritesFlags: true },
  Cmpxchg: { sem: semCmpxchg, overwritesFlags: true },
  Cmpxchg8b: { sem: semCmpxchg8b },
  Cmpxchg16b: { sem: semCmpxchg16b },
};
