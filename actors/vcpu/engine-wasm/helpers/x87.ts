// The x87 and FXSAVE helpers by name, as generated code calls them. They work on the state page alone: operands come
// and go through VECTOR_SCRATCH and FX_IMAGE, so that memory accesses stay in generated code.
import {
  CPU_STATE_BYTES,
  EXCEPTION_ERROR_CODE,
  EXCEPTION_VECTOR,
  EXIT_EXCEPTION,
} from '#shared/x86/cpu-state.js';
import {
  binaryMemory,
  binaryStack,
  compareFlags,
  compareMemory,
  compareStack,
  compareZero,
  examine,
  unary,
} from './x87-arithmetic.js';
import { partialRemainder, scale, extractExponent } from './x87-remainder.js';
import {
  environmentImage,
  initialize,
  loadEnvironment,
  restoreImage,
  saveImage,
  setControl,
} from './x87-state.js';
import {
  exchange,
  loadConstant,
  loadMemory,
  loadStack,
  moveIf,
  stackControl,
  storeMemory,
  storeStack,
} from './x87-transfer.js';
import { transcendental } from './x87-transcendental.js';
import { ES, X87Unit } from './x87-unit.js';

/** The part of a CpuContext that these helpers need: a view of the state page. */
export interface StatePageOwner {
  readonly u8: Uint8Array;
}

export type PageHelper = (cpu: StatePageOwner, a0: number, a1: number, a2: number) => number;

let lastOwner: StatePageOwner | undefined;
let lastUnit: X87Unit | undefined;

/** The unit of a vCPU; a worker has one, so the last is remembered. */
export function x87UnitOf(cpu: StatePageOwner): X87Unit {
  if (cpu === lastOwner && lastUnit !== undefined) return lastUnit;
  lastOwner = cpu;
  lastUnit = new X87Unit(new DataView(cpu.u8.buffer, cpu.u8.byteOffset, CPU_STATE_BYTES));
  return lastUnit;
}

/** Leaves an exception for the run loop. */
export function raiseByPage(page: DataView, vector: number, errorCode: number): number {
  page.setInt32(EXCEPTION_VECTOR, vector, true);
  page.setInt32(EXCEPTION_ERROR_CODE, errorCode, true);
  return EXIT_EXCEPTION;
}

function onUnit(body: (unit: X87Unit, a0: number, a1: number, a2: number) => number): PageHelper {
  return (cpu, a0, a1, a2) => body(x87UnitOf(cpu), a0, a1, a2);
}

/** An instruction with a memory operand: the data pointer is kept when an unmasked exception comes of it. */
function withOperand(body: (unit: X87Unit, a0: number, a1: number) => number): PageHelper {
  return (cpu, a0, a1) => {
    const unit = x87UnitOf(cpu);
    const exit = body(unit, a0, a1);
    if ((unit.status & ES) !== 0) unit.noteOperand();
    return exit;
  };
}

export const X87_HELPERS: Readonly<Record<string, PageHelper>> = {
  x87_binary_stack: onUnit(binaryStack),
  x87_binary_memory: withOperand(binaryMemory),
  x87_compare_stack: onUnit(compareStack),
  x87_compare_memory: withOperand(compareMemory),
  x87_compare_zero: onUnit(compareZero),
  x87_compare_flags: onUnit(compareFlags),
  x87_examine: onUnit(examine),
  x87_unary: onUnit(unary),
  x87_load_memory: withOperand(loadMemory),
  x87_load_stack: onUnit(loadStack),
  x87_load_constant: onUnit(loadConstant),
  x87_store_memory: onUnit(storeMemory),
  x87_store_stack: onUnit(storeStack),
  x87_exchange: onUnit(exchange),
  x87_move_if: onUnit(moveIf),
  x87_stack_control: onUnit(stackControl),
  x87_remainder: onUnit(partialRemainder),
  x87_scale: onUnit(scale),
  x87_extract: onUnit(extractExponent),
  x87_transcendental: onUnit(transcendental),
  x87_set_control: onUnit(setControl),
  x87_initialize: onUnit(initialize),
  x87_environment_image: onUnit(environmentImage),
  x87_load_environment: onUnit(loadEnvironment),
  x87_save_image: onUnit(saveImage),
  x87_restore_image: onUnit(restoreImage),
};
