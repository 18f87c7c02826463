// x87 and MMX control: control and status words, initialization, the environment and state images, FWAIT, EMMS. Intel SDM vol. 2,
// vol. 1 §8.1.8–8.1.10. Images travel through FX_IMAGE; memory is written, or read, before anything changes.
import { CR0, FX_IMAGE, X87_CONTROL, X87_STATUS, X87_TAGS, X87_TOP } from '#shared/x86/cpu-state.js';
import type { Emitter, Operands, Semantics, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { VECTOR_NM, checkMmx, checkPendingX87 } from './sse-operand.js';
import { noWait, waiting } from './x87-operand.js';

const CR0_MP_TS = 0xa;
const ALL_EXCEPTION_FLAGS = 0x80ff;
const EXCEPTION_MASKS = 0x3f;

const loadControl: Semantics = (e, op) => e.helper('x87_set_control', [op.readLow(0, 16)]);
const storeControl: Semantics = (e, op) => op.writeLow(0, 16, e.getState('u16', X87_CONTROL));

function statusWord(e: Emitter): Value {
  return e.or(e.getState('i32', X87_STATUS), e.shl(e.getState('i32', X87_TOP), e.i32(11)));
}
const storeStatus: Semantics = (e, op) => op.writeLow(0, 16, statusWord(e));

const clearExceptions: Semantics = (e) =>
  e.setState('i32', X87_STATUS, e.and(e.getState('i32', X87_STATUS), e.i32(~ALL_EXCEPTION_FLAGS)));
const initialize: Semantics = (e) => e.helper('x87_initialize');

/** Moves `bytes` between FX_IMAGE and memory, in pieces of 8, 4 and 2. */
function pieces(bytes: number): { at: number; bytes: 2 | 4 | 8 }[] {
  const list: { at: number; bytes: 2 | 4 | 8 }[] = [];
  let at = 0;
  for (const size of [8, 4, 2] as const)
    for (; bytes - at >= size; at += size) list.push({ at, bytes: size });
  return list;
}

const KIND = { 2: 'u16', 4: 'i32', 8: 'i64' } as const;

function storeImage(e: Emitter, op: Operands, bytes: number): void {
  const linear = op.linearAddress(0, bytes, 'write');
  // The last piece first: should it fault, nothing has been written.
  for (const piece of pieces(bytes).reverse()) {
    e.store(e.add(linear, e.i64(piece.at)), piece.bytes, e.getState(KIND[piece.bytes], FX_IMAGE + piece.at));
  }
}

function fetchImage(e: Emitter, op: Operands, bytes: number): void {
  const linear = op.linearAddress(0, bytes, 'read');
  for (const piece of pieces(bytes)) {
    e.setState(KIND[piece.bytes], FX_IMAGE + piece.at, e.load(e.add(linear, e.i64(piece.at)), piece.bytes));
  }
}

/** 16 or 32: the width of the image's fields. */
function imageBits(op: Operands): 16 | 32 {
  return op.bits === 16 ? 16 : 32;
}

const storeEnvironment: Semantics = (e, op) => {
  const bits = imageBits(op);
  e.helper('x87_environment_image', [e.i32(bits)]);
  storeImage(e, op, bits === 16 ? 14 : 28);
  // All exceptions are masked afterwards, so none is pending.
  e.helper('x87_set_control', [e.or(e.getState('i32', X87_CONTROL), e.i32(EXCEPTION_MASKS))]);
};

const loadEnvironment: Semantics = (e, op) => {
  const bits = imageBits(op);
  fetchImage(e, op, bits === 16 ? 14 : 28);
  e.helper('x87_load_environment', [e.i32(bits)]);
};

const saveState: Semantics = (e, op) => {
  const bits = imageBits(op);
  e.helper('x87_save_image', [e.i32(bits)]);
  storeImage(e, op, bits === 16 ? 94 : 108);
  e.helper('x87_initialize');
};

const restoreState: Semantics = (e, op) => {
  const bits = imageBits(op);
  fetchImage(e, op, bits === 16 ? 94 : 108);
  e.helper('x87_restore_image', [e.i32(bits)]);
};

/** FWAIT: #NM only under CR0.MP and CR0.TS both. */
const wait: Semantics = (e) => {
  e.if(e.eq(e.and(e.getState('i32', CR0), e.i32(CR0_MP_TS)), e.i32(CR0_MP_TS)), () => e.raise(VECTOR_NM));
  checkPendingX87(e);
};

const emptyMmx: Semantics = (e) => {
  checkMmx(e);
  e.setState('i32', X87_TAGS, e.i32(0));
  e.setState('i32', X87_TOP, e.i32(0));
};

const nothing: Semantics = () => {};

export const X87_CONTROL_TABLE: SemanticsTable = {
  Fldcw: { sem: waiting(loadControl) },
  Fnstcw: { sem: noWait(storeControl) },
  Fstcw: { sem: waiting(storeControl) },
  Fnstsw: { sem: noWait(storeStatus) },
  Fstsw: { sem: waiting(storeStatus) },
  Fnclex: { sem: noWait(clearExceptions) },
  Fclex: { sem: waiting(clearExceptions) },
  Fninit: { sem: noWait(initialize) },
  Finit: { sem: waiting(initialize) },
  Fnstenv: { sem: noWait(storeEnvironment) },
  Fstenv: { sem: waiting(storeEnvironment) },
  Fldenv: { sem: waiting(loadEnvironment) },
  Fnsave: { sem: noWait(saveState) },
  Fsave: { sem: waiting(saveState) },
  Frstor: { sem: waiting(restoreState) },
  // Relics of the 8087 and 80287: no operation.
  Fneni: { sem: noWait(nothing) },
  Feni: { sem: noWait(nothing) },
  Fndisi: { sem: noWait(nothing) },
  Fdisi: { sem: noWait(nothing) },
  Fnsetpm: { sem: noWait(nothing) },
  Fsetpm: { sem: noWait(nothing) },
  Wait: { sem: wait },
  Emms: { sem: emptyMmx },
};
