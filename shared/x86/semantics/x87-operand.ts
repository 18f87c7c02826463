// What x87 semantics share: the checks of a waiting instruction, memory operands on their way to and from VECTOR_SCRATCH, the commit
// of a store. Intel SDM vol. 1 §8.1.8, §8.6–8.7. The arithmetic is in the engine's helpers.
import {
  HELPER_ARG2,
  VECTOR_SCRATCH,
  X87_STATUS,
  X87_TAGS,
  X87_TOP,
  X87_TRAP,
} from '#shared/x86/cpu-state.js';
import type {
  Emitter,
  Operands,
  Semantics,
  SemanticsEntry,
  SemanticsTable,
  Value,
} from '#shared/translate/emitter.js';
import { VECTOR_NM, checkPendingX87 } from './sse-operand.js';

/** Numbers of operand types that the helpers share (x87-unit.ts). */
export const TYPE_F32 = 0;
export const TYPE_F64 = 1;
export const TYPE_F80 = 2;
export const TYPE_I16 = 3;
export const TYPE_I32 = 4;
export const TYPE_I64 = 5;
export const TYPE_BCD = 6;

const TYPE_BYTES = [4, 8, 10, 2, 4, 8, 10] as const;

/** #NM under CR0.EM or CR0.TS. */
export function checkX87(e: Emitter): void {
  e.if(e.getState('i32', X87_TRAP), () => e.raise(VECTOR_NM));
}

/** A non-waiting instruction. */
export function noWait(sem: Semantics): Semantics {
  return (e, op) => {
    checkX87(e);
    sem(e, op);
  };
}

/** A waiting instruction: a pending exception comes first. */
export function waiting(sem: Semantics): Semantics {
  return (e, op) => {
    checkX87(e);
    checkPendingX87(e);
    sem(e, op);
  };
}

export function x87Table(
  meanings: Readonly<Record<string, Semantics>>,
  more: Partial<SemanticsEntry> = {},
): SemanticsTable {
  const table: Record<string, SemanticsEntry> = {};
  for (const [name, sem] of Object.entries(meanings)) table[name] = { sem: waiting(sem), ...more };
  return table;
}

/** The type of a float memory operand by its width. */
export function floatType(op: Operands): number {
  const bits: number = op.bitsOf(0);
  return bits === 32 ? TYPE_F32 : bits === 64 ? TYPE_F64 : TYPE_F80;
}

export function integerType(op: Operands): number {
  const bits = op.bitsOf(0);
  return bits === 16 ? TYPE_I16 : bits === 32 ? TYPE_I32 : TYPE_I64;
}

function operandAddress(op: Operands, type: number, access: 'read' | 'write'): Value {
  return op.linearAddress(0, TYPE_BYTES[type]!, access);
}

function noteOperand(e: Emitter, op: Operands): void {
  e.setState('i64', HELPER_ARG2, op.effectiveAddress(0));
}

/** Loads the memory operand into VECTOR_SCRATCH. */
export function fetchOperand(e: Emitter, op: Operands, type: number): void {
  const linear = operandAddress(op, type, 'read');
  const bytes = TYPE_BYTES[type]!;
  if (bytes === 10) {
    const low = e.load(linear, 8);
    const high = e.load(e.add(linear, e.i64(8)), 2);
    e.setState('i64', VECTOR_SCRATCH, low);
    e.setState('u16', VECTOR_SCRATCH + 8, high);
  } else if (bytes === 8) e.setState('i64', VECTOR_SCRATCH, e.load(linear, 8));
  else e.setState('i32', VECTOR_SCRATCH, e.load(linear, bytes));
  noteOperand(e, op);
}

export const STORE_POP = 1;
export const STORE_TRUNCATE = 2;

/** Has the helper make the datum, writes it, and only then commits status, TOP and tags. */
export function storeOperand(e: Emitter, op: Operands, type: number, control: number): void {
  const linear = operandAddress(op, type, 'write');
  const bytes = TYPE_BYTES[type]!;
  noteOperand(e, op);
  e.helper('x87_store_memory', [e.i32(type), e.i32(control)]);
  e.if(e.getState('i32', VECTOR_SCRATCH + 28), () => {
    if (bytes === 10) {
      e.store(e.add(linear, e.i64(8)), 2, e.getState('u16', VECTOR_SCRATCH + 8));
      e.store(linear, 8, e.getState('i64', VECTOR_SCRATCH));
    } else e.store(linear, bytes, e.getState(bytes === 8 ? 'i64' : 'i32', VECTOR_SCRATCH));
  });
  e.setState('i32', X87_STATUS, e.getState('i32', VECTOR_SCRATCH + 16));
  e.setState('i32', X87_TOP, e.getState('i32', VECTOR_SCRATCH + 20));
  e.setState('i32', X87_TAGS, e.getState('i32', VECTOR_SCRATCH + 24));
}
