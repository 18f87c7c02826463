// MOV MOVZX MOVSX MOVSXD MOVNTI LEA XCHG CBW CWDE CDQE CWD CDQ CQO XLATB and the loads of far pointers (LDS…LGS).
// Intel SDM vol. 2. MOV to segment, control and debug registers goes through helpers (descriptor loads, mode changes);
// such a helper gets the new value in HELPER_ARG0 and the address of the next instruction in HELPER_ARG1.
import type { Emitter, Operands, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { CPL, CS, DS, ES, FS, GS, HELPER_ARG0, HELPER_ARG1, SS } from '#shared/x86/cpu-state.js';
import { SEGMENT, SEGMENT_BYTES, SEGMENT_SELECTOR } from '#shared/x86/cpu-state.js';

const GENERAL_PROTECTION = 13;

function readSelector(e: Emitter, register: number): Value {
  return e.getState('u16', SEGMENT + register * SEGMENT_BYTES + SEGMENT_SELECTOR);
}

/** The selector (i32) of the segment register that operand `index` names. */
export function selectorOf(e: Emitter, op: Operands, index: number): Value {
  const number = op.registerNumber(index);
  let value = readSelector(e, GS);
  for (const register of [ES, CS, SS, DS, FS]) {
    value = e.select(e.eq(number, e.i32(register)), readSelector(e, register), value);
  }
  return value;
}

/** Loads the segment register that operand `index` names; leaves the block when that changes the mode. */
export function loadSegment(e: Emitter, register: Value, selector: Value): void {
  e.setState('i64', HELPER_ARG1, e.nextIp());
  e.helper('loadSegment', [register, selector]);
}

function moveControl(e: Emitter, op: Operands, family: 'ControlRegister' | 'DebugRegister'): void {
  const write = op.kind(0) !== 'gpr';
  e.if(e.getState('i32', CPL), () => e.raise(GENERAL_PROTECTION, 0));
  if (write) {
    e.setState('i64', HELPER_ARG0, e.toBits(op.read(1), 64));
    e.setState('i64', HELPER_ARG1, e.nextIp());
    e.helper(`write${family}`, [op.registerNumber(0)], { ends: true });
  } else {
    e.helper(`read${family}`, [op.registerNumber(1)]);
    op.write(0, e.toBits(e.getState('i64', HELPER_ARG0), op.bitsOf(0)));
  }
}

function semMov(e: Emitter, op: Operands): void {
  const [to, from] = [op.kind(0), op.kind(1)];
  if (to === 'segment') {
    loadSegment(e, op.registerNumber(0), e.and(e.toBits(op.read(1), 32), e.i32(0xffff)));
    e.endBlock();
  } else if (from === 'segment') {
    op.write(0, e.toBits(selectorOf(e, op, 1), op.bitsOf(0)));
  } else if (to === 'control' || from === 'control') {
    moveControl(e, op, 'ControlRegister');
  } else if (to === 'debug' || from === 'debug') {
    moveControl(e, op, 'DebugRegister');
  } else {
    op.write(0, op.read(1));
  }
}

function semMovzx(e: Emitter, op: Operands): void {
  op.write(0, e.toBits(op.read(1), op.bits));
}

function semMovsx(e: Emitter, op: Operands): void {
  op.write(0, e.signExtend(e.toBits(op.read(1), op.bits), op.bitsOf(1)));
}

function semLea(e: Emitter, op: Operands): void {
  op.write(0, e.toBits(op.effectiveAddress(1), op.bits));
}

function semXchg(_e: Emitter, op: Operands): void {
  const b = op.read(1);
  if (op.kind(0) === 'memory') {
    const { old } = op.modify(0, () => b);
    op.write(1, old);
  } else {
    const a = op.read(0);
    op.write(0, b);
    op.write(1, a);
  }
}

/** CBW, CWDE, CDQE: the accumulator from half its size. */
function extendAccumulator(bits: 16 | 32 | 64) {
  return (e: Emitter): void => {
    const half = (bits / 2) as 8 | 16 | 32;
    e.writeGpr(0, bits, e.signExtend(e.toBits(e.readGpr(0, half), bits), half));
  };
}

/** CWD, CDQ, CQO: the sign of the accumulator through DX. */
function extendIntoData(bits: 16 | 32 | 64) {
  return (e: Emitter): void => {
    const accumulator = e.signExtend(e.readGpr(0, bits), bits);
    e.writeGpr(2, bits, e.shrS(accumulator, e.constant(bits, bits - 1)));
  };
}

/** `offset` (i64) wrapped to an address size. */
export function wrapAddress(e: Emitter, offset: Value, addressBits: 16 | 32 | 64): Value {
  return addressBits === 64 ? offset : e.zeroExtend(offset, addressBits);
}

function semXlatb(e: Emitter, op: Operands): void {
  const base = e.toBits(e.readGpr(3, op.addressBits), 64);
  const index = e.extendU(e.readGpr(0, 8));
  const offset = wrapAddress(e, e.add(base, index), op.addressBits);
  e.writeGpr(0, 8, e.load(e.linear(op.segment(), offset, 1, 'read'), 1));
}

/** LES LDS LSS LFS LGS. */
function loadFarPointer(register: number) {
  return (e: Emitter, op: Operands): void => {
    const bytes = op.bits / 8;
    const address = op.linearAddress(1, bytes + 2, 'read');
    const offset = e.load(address, bytes);
    const selector = e.load(e.add(address, e.i64(bytes)), 2);
    // The helper faults before anything is written, or writes the segment register and lets us go on.
    e.helper('loadSegmentOfFarPointer', [e.i32(register), selector]);
    op.write(0, offset);
    e.endBlock();
  };
}

export const dataMovementSemantics: SemanticsTable = {
  Mov: { sem: semMov },
  Movzx: { sem: semMovzx },
  Movsx: { sem: semMovsx },
  Movsxd: { sem: semMovsx },
  Movnti: { sem: semMov },
  Lea: { sem: semLea },
  Xchg: { sem: semXchg },
  Cbw: { sem: extendAccumulator(16) },
  Cwde: { sem: extendAccumulator(32) },
  Cdqe: { sem: extendAccumulator(64) },
  Cwd: { sem: extendIntoData(16) },
  Cdq: { sem: extendIntoData(32) },
  Cqo: { sem: extendIntoData(64) },
  Xlatb: { sem: semXlatb, modeSensitive: true },
  Les: { sem: loadFarPointer(ES), endsBlock: true },
  Lds: { sem: loadFarPointer(DS), endsBlock: true },
  Lss: { sem: loadFarPointer(SS), endsBlock: true },
  Lfs: { sem: loadFarPointer(FS), endsBlock: true },
  Lgs: { sem: loadFarPointer(GS), endsBlock: true },
};
