// PUSH POP PUSHA POPA ENTER LEAVE. Intel SDM vol. 2. Segment register forms load through a helper.
import type { Emitter, Operands, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { HELPER_ARG0, SS } from '#shared/x86/cpu-state.js';
import { selectorOf, wrapAddress } from '#shared/x86/semantics/data-movement.js';

const RSP = 4;
const RBP = 5;

/** RSP or RBP as an i64 of the stack's width. */
function stackRegister(e: Emitter, op: Operands, register: number): Value {
  return e.toBits(e.readGpr(register, op.stackBits), 64);
}

/** Linear address of `offset` (i64, wrapped here) in the stack segment. */
function stackLinear(
  e: Emitter,
  op: Operands,
  offset: Value,
  bytes: number,
  access: 'read' | 'write',
): Value {
  return e.linear(SS, wrapAddress(e, offset, op.stackBits), bytes, access);
}

function writeStackRegister(e: Emitter, op: Operands, register: number, offset: Value): void {
  e.writeGpr(register, op.stackBits, e.toBits(offset, op.stackBits));
}

function semPush(e: Emitter, op: Operands): void {
  if (op.kind(0) === 'segment' && op.bits === 32) {
    // Processors write the selector alone; the upper half of the slot stays.
    const top = e.sub(stackRegister(e, op, RSP), e.i64(4));
    e.store(stackLinear(e, op, top, 4, 'write'), 2, selectorOf(e, op, 0));
    writeStackRegister(e, op, RSP, top);
    return;
  }
  const value = op.kind(0) === 'segment' ? selectorOf(e, op, 0) : op.read(0);
  e.push(e.toBits(value, op.bits), op.bits);
}

function semPop(e: Emitter, op: Operands): void {
  const kind = op.kind(0);
  if (kind === 'memory') {
    popMemory(e, op);
    return;
  }
  if (kind === 'segment') {
    // Processors read the selector alone.
    const top = stackRegister(e, op, RSP);
    const selector = e.load(stackLinear(e, op, top, 2, 'read'), 2);
    // Checks and loads; RSP moves only if it does not fault.
    e.helper('loadSegmentOfFarPointer', [op.registerNumber(0), selector]);
    writeStackRegister(e, op, RSP, e.add(top, e.i64(op.bits / 8)));
    e.endBlock();
    return;
  }
  const { value, commit } = e.pop(op.bits);
  commit();
  op.write(0, value);
}

/** POP to memory computes its address with the RSP that follows the pop. */
function popMemory(e: Emitter, op: Operands): void {
  const before = e.readGpr(RSP, 64);
  const { value, commit } = e.pop(op.bits);
  commit();
  const offset = op.effectiveAddress(0);
  e.writeGpr(RSP, 64, before);
  const bytes = op.bits / 8;
  e.store(e.linear(op.segment(), offset, bytes, 'write'), bytes, value);
  commit();
}

function pushAll(bits: 16 | 32) {
  return (e: Emitter, op: Operands): void => {
    const bytes = bits / 8;
    const top = stackRegister(e, op, RSP);
    // In memory order from the lowest address: DI SI BP SP BX DX CX AX. Both ends first: a fault then stores nothing twice.
    for (const register of [0, 7, 6, 5, 4, 3, 2, 1]) {
      const offset = e.sub(top, e.i64(bytes * (register + 1)));
      e.store(stackLinear(e, op, offset, bytes, 'write'), bytes, e.readGpr(register, bits));
    }
    writeStackRegister(e, op, RSP, e.sub(top, e.i64(bytes * 8)));
  };
}

function popAll(bits: 16 | 32) {
  return (e: Emitter, op: Operands): void => {
    const bytes = bits / 8;
    const top = stackRegister(e, op, RSP);
    const registers = [7, 6, 5, 3, 2, 1, 0];
    const values = registers.map((register) => {
      const offset = e.add(top, e.i64(bytes * (7 - register)));
      return e.load(stackLinear(e, op, offset, bytes, 'read'), bytes);
    });
    registers.forEach((register, index) => e.writeGpr(register, bits, values[index]!));
    writeStackRegister(e, op, RSP, e.add(top, e.i64(bytes * 8)));
  };
}

/** ENTER copies up to 30 frame pointers of the enclosing procedures. */
function copyDisplay(e: Emitter, op: Operands, level: Value, top: Value, frame: Value, value: Value): Value {
  const bytes = op.bits / 8;
  const size = e.i64(bytes);
  const to = e.variable(top);
  const from = e.variable(frame);
  const left = e.variable(level);
  e.block((end) => {
    e.loop((again) => {
      e.branchIf(end, e.leS(left.get(), e.i32(1)));
      left.set(e.sub(left.get(), e.i32(1)));
      from.set(e.sub(from.get(), size));
      to.set(e.sub(to.get(), size));
      const pointer = e.load(stackLinear(e, op, from.get(), bytes, 'read'), bytes);
      e.store(stackLinear(e, op, to.get(), bytes, 'write'), bytes, pointer);
      e.branch(again);
    });
  });
  to.set(e.sub(to.get(), size));
  e.store(stackLinear(e, op, to.get(), bytes, 'write'), bytes, value);
  return to.get();
}

function semEnter(e: Emitter, op: Operands): void {
  const bits = op.bits;
  const bytes = bits / 8;
  const allocation = e.and(e.toBits(op.read(0), 64), e.i64(0xffff));
  const level = e.and(e.toBits(op.read(1), 32), e.i32(31));
  const old = e.readGpr(RBP, bits);
  const framePointer = e.sub(stackRegister(e, op, RSP), e.i64(bytes));
  e.store(stackLinear(e, op, framePointer, bytes, 'write'), bytes, old);
  const bottom = e.variable(framePointer);
  e.if(level, () => {
    const value = e.toBits(framePointer, bits);
    bottom.set(copyDisplay(e, op, level, framePointer, stackRegister(e, op, RBP), value));
  });
  const top = e.sub(bottom.get(), allocation);
  // The new stack's top must be writable, though nothing is written there.
  e.setState('i64', HELPER_ARG0, stackLinear(e, op, top, bytes, 'write'));
  e.helper('probeWrite', [e.i32(bytes)]);
  e.writeGpr(RBP, bits, e.toBits(framePointer, bits));
  writeStackRegister(e, op, RSP, top);
}

function semLeave(e: Emitter, op: Operands): void {
  const bits = op.bits;
  const bytes = bits / 8;
  const frame = stackRegister(e, op, RBP);
  const value = e.load(stackLinear(e, op, frame, bytes, 'read'), bytes);
  writeStackRegister(e, op, RSP, e.add(frame, e.i64(bytes)));
  e.writeGpr(RBP, bits, value);
}

export const stackSemantics: SemanticsTable = {
  Push: { sem: semPush, modeSensitive: true },
  Pop: { sem: semPop, modeSensitive: true },
  Pusha: { sem: pushAll(16), modeSensitive: true },
  Pushad: { sem: pushAll(32), modeSensitive: true },
  Popa: { sem: popAll(16), modeSensitive: true },
  Popad: { sem: popAll(32), modeSensitive: true },
  Enter: { sem: semEnter, modeSensitive: true },
  Leave: { sem: semLeave, modeSensitive: true },
};
