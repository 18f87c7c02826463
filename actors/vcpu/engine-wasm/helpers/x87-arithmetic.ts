// x87 arithmetic and comparison: FADD … FDIVR, FCOM/FUCOM/FCOMI families, FTST, FXAM, FSQRT, FRNDINT, FABS, FCHS. Intel SDM vol. 2,
// vol. 1 §8.3, §8.5. Called by shared/x86/semantics/x87-arithmetic.ts with the numbers given there.
import { HELPER_ARG0, VECTOR_SCRATCH } from '#shared/x86/cpu-state.js';
import { add, compare, divide, multiply, squareRoot, subtract } from '#shared/x86/softfloat/arithmetic.js';
import type { Comparison } from '#shared/x86/softfloat/arithmetic.js';
import { roundToIntegral } from '#shared/x86/softfloat/conversion.js';
import { compareExtended } from '#shared/x86/softfloat/extended-transfer.js';
import { extendedBinary } from '#shared/x86/softfloat/extended.js';
import { F80, unpack } from '#shared/x86/softfloat/format.js';
import type { FloatEnvironment } from '#shared/x86/softfloat/rounding.js';
import { C0, C1, C2, C3, INDEFINITE } from './x87-unit.js';
import type { X87Unit } from './x87-unit.js';

/** Operations as the semantics number them; 8 is added to pop. */
function operate(operation: number, env: FloatEnvironment, a: bigint, b: bigint): bigint {
  switch (operation) {
    case 0:
      return add(F80, env, a, b);
    case 1:
      return multiply(F80, env, a, b);
    case 2:
      return subtract(F80, env, a, b);
    case 3:
      return subtract(F80, env, b, a);
    case 4:
      return divide(F80, env, a, b);
    default:
      return divide(F80, env, b, a);
  }
}

/** ST(destination) = ST(destination) OP ST(source). */
export function binaryStack(unit: X87Unit, control: number, destination: number, source: number): number {
  const env = unit.begin();
  const pop = (control & 8) !== 0;
  if (unit.isEmpty(destination) || unit.isEmpty(source)) {
    storeUnderflow(unit, destination, pop);
    return 0;
  }
  const to = unit.offset(destination);
  if (!extendedBinary(unit.page, env, control & 7, to, unit.offset(source), to)) {
    const result = operate(control & 7, env, unit.read(destination), unit.read(source));
    if (unit.finish()) return 0;
    unit.write(destination, result);
  } else if (unit.finish()) return 0;
  if (pop) unit.pop();
  return 0;
}

/** ST(0) = ST(0) OP memory. */
export function binaryMemory(unit: X87Unit, operation: number, type: number): number {
  const env = unit.begin();
  if (unit.isEmpty(0)) {
    storeUnderflow(unit, 0, false);
    return 0;
  }
  const to = unit.offset(0);
  if (unit.quickSource(type, OPERAND) && extendedBinary(unit.page, env, operation, to, OPERAND, to)) {
    unit.finish();
    return 0;
  }
  const source = unit.source(type);
  const result = operate(operation, env, unit.read(0), source);
  if (!unit.finish()) unit.write(0, result);
  return 0;
}

/** Where a memory operand is widened to. */
const OPERAND = VECTOR_SCRATCH + 16;

function storeUnderflow(unit: X87Unit, destination: number, pop: boolean): void {
  if (!unit.underflow()) return;
  unit.write(destination, INDEFINITE);
  if (pop) unit.pop();
}

const CONDITION_MASK = C0 | C2 | C3;

function conditionOf(result: Comparison): number {
  return result === 'unordered' ? CONDITION_MASK : result === 0 ? C3 : result === -1 ? C0 : 0;
}

/** `control`: bit 0 quiet (FUCOM), bits 1–2 how many to pop. */
function compareWith(unit: X87Unit, control: number, right: bigint | undefined): number {
  const { env } = unit;
  let condition = CONDITION_MASK;
  let stop: boolean;
  if (right === undefined || unit.isEmpty(0)) stop = !unit.underflow();
  else {
    condition = conditionOf(compare(F80, env, unit.read(0), right, (control & 1) !== 0));
    stop = unit.finish();
  }
  // An unmasked exception keeps the stack as it is, but not the condition code.
  unit.setCondition(CONDITION_MASK, condition);
  if (stop) return 0;
  for (let i = control >> 1; i > 0; i--) unit.pop();
  return 0;
}

/** The usual comparison: numbers, nothing raised. False when it is not that. */
function compareQuickly(unit: X87Unit, control: number, at: number): boolean {
  if (unit.isEmpty(0)) return false;
  const result = compareExtended(unit.page, unit.offset(0), at);
  if (result === 2) return false;
  unit.setCondition(CONDITION_MASK, conditionOf(result));
  for (let i = control >> 1; i > 0; i--) unit.pop();
  return true;
}

export function compareStack(unit: X87Unit, control: number, index: number): number {
  unit.begin();
  if (!unit.isEmpty(index) && compareQuickly(unit, control, unit.offset(index))) return 0;
  return compareWith(unit, control, unit.isEmpty(index) ? undefined : unit.read(index));
}

export function compareMemory(unit: X87Unit, control: number, type: number): number {
  unit.begin();
  if (unit.quickSource(type, OPERAND) && compareQuickly(unit, control, OPERAND)) return 0;
  return compareWith(unit, control, unit.source(type));
}

export function compareZero(unit: X87Unit): number {
  unit.begin();
  return compareWith(unit, 0, 0n);
}

/** FCOMI: leaves an RFLAGS image in HELPER_ARG0. An unmasked exception keeps the stack as it is, but not the flags. */
export function compareFlags(unit: X87Unit, control: number, index: number): number {
  const env = unit.begin(true);
  let result: Comparison = 'unordered';
  let stop: boolean;
  if (unit.isEmpty(0) || unit.isEmpty(index)) {
    stop = !unit.underflow();
  } else {
    const quick = compareExtended(unit.page, unit.offset(0), unit.offset(index));
    result = quick !== 2 ? quick : compare(F80, env, unit.read(0), unit.read(index), (control & 1) !== 0);
    stop = unit.finish();
  }
  unit.page.setInt32(
    HELPER_ARG0,
    result === 'unordered' ? 0x45 : result === 0 ? 0x40 : result === -1 ? 1 : 0,
    true,
  );
  if (!stop && control >> 1 !== 0) unit.pop();
  return 0;
}

/** FXAM: the class in C3 C2 C0, the sign in C1, empty or not. */
export function examine(unit: X87Unit): number {
  unit.noteInstruction();
  const a = unpack(F80, unit.read(0));
  const classes = {
    unsupported: 0,
    qnan: C0,
    snan: C0,
    finite: a.denormal ? C3 | C2 : C2,
    infinity: C2 | C0,
    zero: C3,
  };
  const condition = unit.isEmpty(0) ? C3 | C0 : classes[a.kind];
  unit.setCondition(CONDITION_MASK | C1, condition | (a.sign === 1 ? C1 : 0));
  return 0;
}

export const UNARY_CHS = 0;
export const UNARY_ABS = 1;
export const UNARY_SQRT = 2;
export const UNARY_RNDINT = 3;

export function unary(unit: X87Unit, operation: number): number {
  const env = unit.begin();
  if (unit.isEmpty(0)) {
    storeUnderflow(unit, 0, false);
    return 0;
  }
  const a = unit.read(0);
  const result = unaryResult(operation, env, a);
  if (!unit.finish()) unit.write(0, result);
  return 0;
}

function unaryResult(operation: number, env: FloatEnvironment, a: bigint): bigint {
  switch (operation) {
    case UNARY_CHS:
      return a ^ (1n << 79n);
    case UNARY_ABS:
      return a & ~(1n << 79n);
    case UNARY_SQRT:
      return squareRoot(F80, env, a);
    default:
      return roundToIntegral(F80, env, a, { rounding: env.rounding, checkDenormal: true });
  }
}
