// JMP CALL RET, LOOPcc, JCXZ, software interrupts and far transfers. Intel SDM vol. 2. Far transfers and interrupts are
// helpers; they find the address of the next instruction in HELPER_ARG1. IRET and system calls have files of their own.
import type { Emitter, OperandBits, Operands, SemanticsTable, Value } from '#shared/translate/emitter.js';
import {
  CPL,
  CS,
  HELPER_ARG0,
  HELPER_ARG1,
  SEGMENT,
  SEGMENT_BYTES,
  SEGMENT_LIMIT,
  SS,
} from '#shared/x86/cpu-state.js';
import { wrapAddress } from '#shared/x86/semantics/data-movement.js';

const OVERFLOW_VECTOR = 4;
const BOUND_VECTOR = 5;
const UNDEFINED_OPCODE = 6;
const GENERAL_PROTECTION = 13;
const RSP = 4;

/** Calls a helper that sets RIP and always leaves. */
export function leaveBy(e: Emitter, helper: string, args: readonly Value[] = []): void {
  e.setState('i64', HELPER_ARG1, e.nextIp());
  e.helper(helper, args, { ends: true });
}

/** Whether the target of a near branch is canonical, or inside CS. */
function isReachable(e: Emitter, target: Value, bits: OperandBits): Value {
  if (bits === 64) return e.eq(e.signExtend(target, 48), target);
  const limit = e.getState('i32', SEGMENT + CS * SEGMENT_BYTES + SEGMENT_LIMIT);
  return e.leU(e.wrap(e.zeroExtend(target, bits)), limit);
}

/** Raises #GP for a target that cannot be reached, before anything is popped. */
function checkTarget(e: Emitter, target: Value, bits: OperandBits): void {
  e.if(e.eqz(isReachable(e, target, bits)), () => e.raise(GENERAL_PROTECTION, 0));
}

/** A CALL stores its return address before it faults for its target; RSP stays. */
function checkCallTarget(e: Emitter, op: Operands, target: Value): void {
  const bytes = op.bits / 8;
  e.if(e.eqz(isReachable(e, target, op.bits)), () => {
    const top = e.sub(e.toBits(e.readGpr(RSP, op.stackBits), 64), e.i64(bytes));
    const address = e.linear(SS, wrapAddress(e, top, op.stackBits), bytes, 'write');
    e.store(address, bytes, e.toBits(e.nextIp(), op.bits));
    e.raise(GENERAL_PROTECTION, 0);
  });
}

/** Offset and selector of a far operand: the offset to HELPER_ARG0, the selector as a value. */
function readFarPointer(e: Emitter, op: Operands): Value {
  if (op.kind(0) === 'branch') {
    const pointer = op.read(0);
    e.setState('i64', HELPER_ARG0, e.zeroExtend(pointer, 32));
    return e.wrap(e.shrU(pointer, e.i64(32)));
  }
  const bytes = op.bits / 8;
  const address = op.linearAddress(0, bytes + 2, 'read');
  const offset = e.load(address, bytes);
  const selector = e.load(e.add(address, e.i64(bytes)), 2);
  e.setState('i64', HELPER_ARG0, e.toBits(offset, 64));
  return selector;
}

function semJmp(e: Emitter, op: Operands): void {
  if (op.far) leaveBy(e, 'farJump', [readFarPointer(e, op), e.i32(op.bits)]);
  else if (op.kind(0) === 'branch') e.jumpDirect();
  else {
    const target = e.toBits(op.read(0), 64);
    checkTarget(e, target, op.bits);
    e.jumpIndirect(target, op.bits);
  }
}

function semCall(e: Emitter, op: Operands): void {
  if (op.far) {
    leaveBy(e, 'farCall', [readFarPointer(e, op), e.i32(op.bits)]);
  } else if (op.kind(0) === 'branch') {
    if (op.bits !== 64) checkCallTarget(e, op, e.directTarget());
    e.push(e.toBits(e.nextIp(), op.bits), op.bits);
    e.jumpDirect();
  } else {
    const target = e.toBits(op.read(0), 64);
    checkCallTarget(e, op, target);
    e.push(e.toBits(e.nextIp(), op.bits), op.bits);
    e.jumpIndirect(target, op.bits);
  }
}

function semRet(e: Emitter, op: Operands): void {
  const { value, commit } = e.pop(op.bits);
  const target = e.toBits(value, 64);
  checkTarget(e, target, op.bits);
  commit();
  if (op.count === 1) {
    const release = e.and(e.toBits(op.read(0), op.stackBits), e.constant(op.stackBits, 0xffff));
    e.writeGpr(RSP, op.stackBits, e.add(e.readGpr(RSP, op.stackBits), release));
  }
  e.jumpIndirect(target, op.bits);
}

function semRetf(e: Emitter, op: Operands): void {
  const release = op.count === 1 ? e.and(e.toBits(op.read(0), 32), e.i32(0xffff)) : e.i32(0);
  leaveBy(e, 'farReturn', [e.i32(op.bits), release]);
}

function loop(extra: 'none' | 'zf' | 'nzf') {
  return (e: Emitter, op: Operands): void => {
    const bits = op.addressBits;
    const count = e.sub(e.readGpr(1, bits), e.constant(bits, 1));
    e.writeGpr(1, bits, count);
    let condition = e.ne(e.zeroExtend(count, bits), e.constant(bits, 0));
    if (extra !== 'none') {
      const zf = e.getFlag('zf');
      condition = e.and(condition, extra === 'zf' ? zf : e.eqz(zf));
    }
    e.jumpDirectIf(condition);
  };
}

function jumpIfCountZero(bits: 16 | 32 | 64) {
  return (e: Emitter): void => e.jumpDirectIf(e.eqz(e.readGpr(1, bits)));
}

function semInt(e: Emitter, op: Operands): void {
  leaveBy(e, 'softwareInterrupt', [e.and(e.toBits(op.read(0), 32), e.i32(0xff))]);
}

function semInt3(e: Emitter): void {
  leaveBy(e, 'softwareException', [e.i32(3)]);
}

function semInto(e: Emitter): void {
  e.if(e.getFlag('of'), () => leaveBy(e, 'softwareException', [e.i32(OVERFLOW_VECTOR)]));
  e.endBlock();
}

function semInt1(e: Emitter): void {
  leaveBy(e, 'debugTrap');
}

function semBound(e: Emitter, op: Operands): void {
  const bits = op.bits as 16 | 32;
  const bytes = bits / 8;
  const index = e.signExtend(op.read(0), bits);
  const address = op.linearAddress(1, bytes * 2, 'read');
  const lower = e.signExtend(e.load(address, bytes), bits);
  const upper = e.signExtend(e.load(e.add(address, e.i64(bytes)), bytes), bits);
  e.if(e.or(e.ltS(index, lower), e.gtS(index, upper)), () => e.raise(BOUND_VECTOR));
}

function undefinedOpcode(e: Emitter): void {
  e.raise(UNDEFINED_OPCODE);
}

function semHlt(e: Emitter): void {
  e.if(e.getState('i32', CPL), () => e.raise(GENERAL_PROTECTION, 0));
  leaveBy(e, 'halt');
}

const ends = true;

export const controlTransferSemantics: SemanticsTable = {
  Jmp: { sem: semJmp, endsBlock: ends },
  Call: { sem: semCall, endsBlock: ends, modeSensitive: true },
  Ret: { sem: semRet, endsBlock: ends, modeSensitive: true },
  Retf: { sem: semRetf, endsBlock: ends },
  Loop: { sem: loop('none'), endsBlock: ends, modeSensitive: true },
  Loope: { sem: loop('zf'), endsBlock: ends, modeSensitive: true },
  Loopne: { sem: loop('nzf'), endsBlock: ends, modeSensitive: true },
  Jcxz: { sem: jumpIfCountZero(16), endsBlock: ends },
  Jecxz: { sem: jumpIfCountZero(32), endsBlock: ends },
  Jrcxz: { sem: jumpIfCountZero(64), endsBlock: ends },
  Int: { sem: semInt, endsBlock: ends, notOnHost: 'enters the kernel' },
  Int3: { sem: semInt3, endsBlock: ends, notOnHost: 'enters the kernel' },
  Int1: { sem: semInt1, endsBlock: ends, notOnHost: 'enters the kernel' },
  Into: { sem: semInto, endsBlock: ends },
  Bound: { sem: semBound },
  Ud0: { sem: undefinedOpcode, endsBlock: ends },
  Ud1: { sem: undefinedOpcode, endsBlock: ends },
  Ud2: { sem: undefinedOpcode, endsBlock: ends },
  Hlt: { sem: semHlt, endsBlock: ends, notOnHost: 'privileged' },
};
