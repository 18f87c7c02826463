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
  e.checkOnce('x87', () => e.ifRare(e.getState('i32', X87_TRAP), () => e.raise(VECTOR_NM)));
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

/** As {@link x87Table} for meanings that see to a pending exception themselves. */
export function unwaitingTable(meanings: Readonly<Record<string, Semantics>>): SemanticsTable {
  const table: Record<string, SemanticsEntry> = {};
  for (const [name, sem] of Object.entries(meanings)) table[name] = { sem: noWait(sem) };
  return table;
}

/** A helper that works on the x87 state alone. */
export function x87Helper(e: Emitter, name: string, args: readonly Value[] = []): void {
  e.helper(name, args, { confined: true });
}

/** `routine` (x87-routines.ts) does the usual case; `rest` everything else. */
export function usually(e: Emitter, routine: string, args: readonly Value[], rest: () => void): void {
  e.ifRare(e.eqz(e.routine(routine, [e.instructionIp(), ...args])), rest);
}

/** As {@link usually} without a memory operand, whose access a pending exception would have to come before: the routine gives up on one. */
export function usuallyOnStack(e: Emitter, routine: string, args: readonly Value[], rest: () => void): void {
  usually(e, routine, args, () => {
    checkPendingX87(e);
    rest();
  });
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

/** A memory operand that was read. */
export interface FetchedOperand {
  /** i32 (up to 4 bytes, zero-extended), i64, or for 10 bytes i64 and i32. */
  readonly values: readonly Value[];
  /** Puts it where helpers look: VECTOR_SCRATCH, its offset in HELPER_ARG2. */
  keep(): void;
}

/** Reads the memory operand, after a pending exception. */
export function readOperand(e: Emitter, op: Operands, type: number): FetchedOperand {
  checkPendingX87(e);
  const linear = operandAddress(op, type, 'read');
  const bytes = TYPE_BYTES[type]!;
  const low = e.load(linear, bytes === 10 ? 8 : bytes);
  const values = bytes === 10 ? [low, e.load(e.add(linear, e.i64(8)), 2)] : [low];
  const keep = (): void => {
    e.setState(low.type === 'i64' ? 'i64' : 'i32', VECTOR_SCRATCH, low);
    if (bytes === 10) e.setState('u16', VECTOR_SCRATCH + 8, values[1]!);
    noteOperand(e, op);
  };
  return { values, keep };
}

export const STORE_POP = 1;
export const STORE_TRUNCATE = 2;

/** The routine that makes the datum of a store, if there is one. */
function storeRoutine(type: number, truncate: boolean): string | undefined {
  switch (type) {
    case TYPE_F32:
      return 'x87_store_f32';
    case TYPE_F64:
      return 'x87_store_f64';
    case TYPE_F80:
      return 'x87_store_f80';
    case TYPE_BCD:
      return undefined;
    default:
      return `x87_${truncate ? 'truncate' : 'store'}_i${TYPE_BYTES[type]! * 8}`;
  }
}

/** Has the datum made, writes it, and only then commits status, TOP and tags. */
export function storeOperand(e: Emitter, op: Operands, type: number, control: number): void {
  checkPendingX87(e);
  const linear = operandAddress(op, type, 'write');
  const bytes = TYPE_BYTES[type]!;
  const byHelper = (): void => {
    noteOperand(e, op);
    x87Helper(e, 'x87_store_memory', [e.i32(type), e.i32(control)]);
  };
  const routine = storeRoutine(type, (control & STORE_TRUNCATE) !== 0);
  if (routine === undefined) byHelper();
  else usually(e, routine, [e.i32(control & STORE_POP)], byHelper);
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
