// x87 loads, stores, constants, exchanges and stack control. Intel SDM vol. 2, vol. 1 §8.3.3–8.3.4, §8.5.1. A store has two halves: here the
// datum and the state that it leads to are put into VECTOR_SCRATCH; generated code writes memory, which may fault, then commits.
import { VECTOR_SCRATCH, X87_STATUS } from '#shared/x86/cpu-state.js';
import { BCD_INDEFINITE, convert, toBcd, toInteger } from '#shared/x86/softfloat/conversion.js';
import { DE, F32, F64, F80, IE, OE, PE, UE, defaultNan, unpack } from '#shared/x86/softfloat/format.js';
import {
  copyExtended,
  narrowDouble,
  narrowInteger,
  narrowSingle,
  swapExtended,
} from '#shared/x86/softfloat/extended-transfer.js';
import type { FloatEnvironment } from '#shared/x86/softfloat/rounding.js';
import { ROUND_ZERO } from '#shared/x86/softfloat/rounding.js';
import { extendedConstant } from '#shared/x86/softfloat/constant.js';
import {
  C1,
  ES,
  INDEFINITE,
  SOURCE_BCD,
  SOURCE_F32,
  SOURCE_F64,
  SOURCE_F80,
  SOURCE_I16,
  SOURCE_I32,
  SOURCE_I64,
  quieten,
} from './x87-unit.js';
import type { X87Unit } from './x87-unit.js';

/** Offsets in VECTOR_SCRATCH of what a store commits. */
const COMMIT_STATUS = VECTOR_SCRATCH + 16;
const COMMIT_TOP = VECTOR_SCRATCH + 20;
const COMMIT_TAGS = VECTOR_SCRATCH + 24;
const COMMIT_STORE = VECTOR_SCRATCH + 28;

export function loadMemory(unit: X87Unit, type: number): number {
  const env = unit.begin();
  if (unit.isEmpty(-1) && unit.quickSource(type, unit.offset(-1))) {
    unit.pushSlot();
    return 0;
  }
  let value = unit.source(type);
  if (unit.isEmpty(-1) && type <= SOURCE_F64) {
    if (unpack(F80, value).kind === 'snan') {
      env.flags |= IE;
      value = quieten(value);
    } else if (env.sourceDenormal) env.flags |= DE;
    // A denormal is loaded even when that is unmasked.
    if (unit.finish() && (env.flags & IE) !== 0) return 0;
  }
  unit.push(value);
  return 0;
}

export function loadStack(unit: X87Unit, index: number): number {
  unit.begin();
  if (unit.isEmpty(index)) {
    if (unit.underflow()) pushUnchecked(unit, INDEFINITE);
    return 0;
  }
  if (unit.isEmpty(-1)) {
    copyExtended(unit.page, unit.offset(index), unit.offset(-1));
    unit.pushSlot();
  } else unit.push(INDEFINITE);
  return 0;
}

function pushUnchecked(unit: X87Unit, value: bigint): void {
  unit.top -= 1;
  unit.write(0, value);
}

/** FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ: 0–6. */
export function loadConstant(unit: X87Unit, which: number): number {
  const env = unit.begin();
  unit.push(extendedConstant(which, env.rounding));
  return 0;
}

/** `control`: bit 0 pop, bit 1 truncate (FISTTP). */
export function storeMemory(unit: X87Unit, type: number, control: number): number {
  const { page } = unit;
  const { status, top, tags } = unit;
  const stored = prepareStore(unit, type, control);
  if (stored && (control & 1) !== 0) unit.pop();
  page.setInt32(COMMIT_STATUS, unit.status, true);
  if ((unit.status & ES) !== 0) unit.noteOperand();
  page.setInt32(COMMIT_TOP, unit.top, true);
  page.setInt32(COMMIT_TAGS, unit.tags, true);
  page.setInt32(COMMIT_STORE, stored ? 1 : 0, true);
  page.setInt32(X87_STATUS, status, true);
  unit.top = top;
  unit.tags = tags;
  return 0;
}

function prepareStore(unit: X87Unit, type: number, control: number): boolean {
  const env = unit.begin();
  env.precision = 64;
  if (unit.isEmpty(0)) {
    if (!unit.underflow()) return false;
    putDatum(unit, type, indefinite(type));
    return true;
  }
  if (storeQuickly(unit, env, type, (control & 2) !== 0)) return !unit.finish();
  const value = storedValue(type, env, unit.read(0), (control & 2) !== 0);
  // Unmasked overflow and underflow, too, leave memory and the stack alone.
  const tooFar = env.flags & ~env.masks & (OE | UE);
  if (tooFar !== 0) env.flags &= ~PE;
  if (unit.finish() || tooFar !== 0) return false;
  putDatum(unit, type, value);
  return true;
}

/** The datum of an ordinary number straight to VECTOR_SCRATCH. */
function storeQuickly(unit: X87Unit, env: FloatEnvironment, type: number, truncate: boolean): boolean {
  const { page } = unit;
  const from = unit.offset(0);
  switch (type) {
    case SOURCE_F32:
      return narrowSingle(page, env, from, VECTOR_SCRATCH);
    case SOURCE_F64:
      return narrowDouble(page, env, from, VECTOR_SCRATCH);
    case SOURCE_F80:
      copyExtended(page, from, VECTOR_SCRATCH);
      return true;
    case SOURCE_I16:
    case SOURCE_I32:
      return narrowInteger(
        page,
        env,
        from,
        VECTOR_SCRATCH,
        type === SOURCE_I16 ? 16 : 32,
        truncate ? ROUND_ZERO : env.rounding,
      );
    default:
      return false;
  }
}

function indefinite(type: number): bigint {
  switch (type) {
    case SOURCE_F32:
      return defaultNan(F32);
    case SOURCE_F64:
      return defaultNan(F64);
    case SOURCE_F80:
      return INDEFINITE;
    case SOURCE_BCD:
      return BCD_INDEFINITE;
    default:
      return -(1n << BigInt(integerBits(type) - 1));
  }
}

function integerBits(type: number): number {
  return type === SOURCE_I16 ? 16 : type === SOURCE_I32 ? 32 : 64;
}

function storedValue(type: number, env: FloatEnvironment, value: bigint, truncate: boolean): bigint {
  switch (type) {
    case SOURCE_F32:
      return convert(F80, F32, env, value, 'unchecked');
    case SOURCE_F64:
      return convert(F80, F64, env, value, 'unchecked');
    case SOURCE_F80:
      return value;
    case SOURCE_BCD:
      return toBcd(F80, env, value);
    case SOURCE_I16:
    case SOURCE_I32:
    case SOURCE_I64:
      return toInteger(F80, env, value, integerBits(type), truncate ? ROUND_ZERO : env.rounding);
    default:
      throw new Error(`no x87 operand type ${type}`);
  }
}

function putDatum(unit: X87Unit, type: number, value: bigint): void {
  const { page } = unit;
  page.setBigUint64(VECTOR_SCRATCH, BigInt.asUintN(64, value), true);
  if (type === SOURCE_F80 || type === SOURCE_BCD)
    page.setUint16(VECTOR_SCRATCH + 8, Number(value >> 64n), true);
}

/** FST ST(i), FSTP ST(i): a copy, no exception but the stack's. `unchecked` is for the undocumented FSTPNCE, to which an empty ST(0) is nothing to store. */
export function storeStack(unit: X87Unit, index: number, pop: number, unchecked: number): number {
  unit.begin();
  if (!unit.isEmpty(0)) {
    copyExtended(unit.page, unit.offset(0), unit.offset(index));
    unit.validate(index);
  } else if (unchecked === 0) {
    if (!unit.underflow()) return 0;
    unit.write(index, INDEFINITE);
  }
  if (pop !== 0) unit.pop();
  return 0;
}

export function exchange(unit: X87Unit, index: number): number {
  unit.begin();
  const emptyTop = unit.isEmpty(0);
  const emptyOther = unit.isEmpty(index);
  if (!emptyTop && !emptyOther) {
    swapExtended(unit.page, unit.offset(0), unit.offset(index));
    return 0;
  }
  if (!unit.underflow()) return 0;
  const a = emptyTop ? INDEFINITE : unit.read(0);
  const b = emptyOther ? INDEFINITE : unit.read(index);
  unit.write(0, b);
  unit.write(index, a);
  return 0;
}

/** FCMOVcc: `condition` 0 or 1. */
export function moveIf(unit: X87Unit, condition: number, index: number): number {
  unit.begin(true);
  if (unit.isEmpty(0) || unit.isEmpty(index)) {
    // Whatever the condition.
    if (unit.underflow()) unit.write(0, INDEFINITE);
    return 0;
  }
  if (condition !== 0) copyExtended(unit.page, unit.offset(index), unit.offset(0));
  return 0;
}

export const STACK_FREE = 0;
export const STACK_FREE_POP = 1;
export const STACK_INCREMENT = 2;
export const STACK_DECREMENT = 3;
export const STACK_NOTHING = 4;

/** FFREE, FFREEP, FINCSTP, FDECSTP, FNOP. */
export function stackControl(unit: X87Unit, what: number, index: number): number {
  unit.noteInstruction();
  switch (what) {
    case STACK_FREE:
      unit.setCondition(C1, 0);
      unit.free(index);
      break;
    case STACK_FREE_POP:
      unit.setCondition(C1, 0);
      unit.free(index);
      unit.pop();
      break;
    case STACK_INCREMENT:
      unit.setCondition(C1, 0);
      unit.top += 1;
      break;
    case STACK_DECREMENT:
      unit.setCondition(C1, 0);
      unit.top -= 1;
      break;
    default:
      break;
  }
  return 0;
}
