// The x87 part of FXSAVE's image, MXCSR with it, from the state page to FX_IMAGE and back. Intel SDM vol. 1 §10.5, table 10-2. Every
// switch between processes and every signal of a Linux guest goes through both.
import type { Value } from '#shared/translate/emitter.js';
import type { Routine, RoutineEmitter, RoutineTable } from '#shared/translate/routine.js';
import {
  FX_IMAGE,
  MXCSR,
  X87,
  X87_CONTROL,
  X87_DP,
  X87_IP,
  X87_OPCODE,
  X87_STATUS,
  X87_TAGS,
  X87_TOP,
} from '#shared/x86/cpu-state.js';
import { DONE } from './x87-stack.js';

/** Bits that MXCSR has: a load with any other set is #GP(0). */
export const MXCSR_MASK = 0xffff;
const CONTROL_MASK = 0x1f7f;
const CONTROL_ONE = 0x40;
const STATUS_WITHOUT_TOP = 0xc77f;
const OPCODE_MASK = 0x7ff;
const EXCEPTIONS = 0x3f;
/** Status bits that follow from exceptions and masks: ES and B. */
const SUMMARY = 0x8080;
const TOP_SHIFT = 11;
const REGISTERS = FX_IMAGE + 32;

/** Offset of ST(index)'s register from the first one's. */
function registerSlot(e: RoutineEmitter, top: Value, index: number): Value {
  return e.shl(e.and(e.add(top, e.i32(index)), e.i32(7)), e.i32(4));
}

/** An instruction or data pointer: 64 bits with REX.W, else 32 and a selector of zero. */
function pointer(e: RoutineEmitter, wide: boolean, offset: number): Value {
  return wide ? e.getState('i64', offset) : e.extendU(e.getState('i32', offset));
}

const save = (wide: boolean): Routine => ({
  parameters: [],
  body: (e) => {
    const top = e.getState('i32', X87_TOP);
    const status = e.or(e.getState('i32', X87_STATUS), e.shl(top, e.i32(TOP_SHIFT)));
    e.setState('u16', FX_IMAGE, e.getState('i32', X87_CONTROL));
    e.setState('u16', FX_IMAGE + 2, status);
    e.setState('u16', FX_IMAGE + 4, e.getState('u8', X87_TAGS));
    e.setState('u16', FX_IMAGE + 6, e.and(e.getState('u16', X87_OPCODE), e.i32(OPCODE_MASK)));
    e.setState('i64', FX_IMAGE + 8, pointer(e, wide, X87_IP));
    e.setState('i64', FX_IMAGE + 16, pointer(e, wide, X87_DP));
    e.setState('i32', FX_IMAGE + 24, e.getState('i32', MXCSR));
    e.setState('i32', FX_IMAGE + 28, e.i32(MXCSR_MASK));
    for (let i = 0; i < 8; i++) {
      const slot = registerSlot(e, top, i);
      e.setState('i64', REGISTERS + 16 * i, e.loadAt(slot, 'i64', X87));
      e.setState('i64', REGISTERS + 16 * i + 8, e.extendU(e.loadAt(slot, 'u16', X87 + 8)));
    }
    return e.i32(DONE);
  },
});

function restoreStatus(e: RoutineEmitter, word: Value, control: Value): void {
  const status = e.and(word, e.i32(STATUS_WITHOUT_TOP & ~SUMMARY));
  const unmasked = e.and(e.and(status, e.xor(control, e.i32(-1))), e.i32(EXCEPTIONS));
  const summary = e.select(unmasked, e.i32(SUMMARY), e.i32(0));
  e.setState('i32', X87_STATUS, e.or(status, summary));
}

/** MXCSR in the image has no bits but those of MXCSR_MASK. */
const restore = (wide: boolean): Routine => ({
  parameters: [],
  body: (e) => {
    const word = e.getState('u16', FX_IMAGE + 2);
    const top = e.and(e.shrU(word, e.i32(TOP_SHIFT)), e.i32(7));
    const control = e.or(e.and(e.getState('u16', FX_IMAGE), e.i32(CONTROL_MASK)), e.i32(CONTROL_ONE));
    e.setState('i32', X87_CONTROL, control);
    e.setState('i32', X87_TOP, top);
    restoreStatus(e, word, control);
    e.setState('i32', X87_TAGS, e.getState('u8', FX_IMAGE + 4));
    e.setState('i32', X87_OPCODE, e.and(e.getState('u16', FX_IMAGE + 6), e.i32(OPCODE_MASK)));
    e.setState('i64', X87_IP, pointer(e, wide, FX_IMAGE + 8));
    e.setState('i64', X87_DP, pointer(e, wide, FX_IMAGE + 16));
    e.setState('i32', MXCSR, e.getState('i32', FX_IMAGE + 24));
    for (let i = 0; i < 8; i++) {
      const slot = registerSlot(e, top, i);
      e.storeAt(slot, 'i64', X87, e.getState('i64', REGISTERS + 16 * i));
      e.storeAt(slot, 'u16', X87 + 8, e.getState('u16', REGISTERS + 16 * i + 8));
    }
    return e.i32(DONE);
  },
});

export const FX_ROUTINES: RoutineTable = {
  fx_save: save(false),
  fx_save_wide: save(true),
  fx_restore: restore(false),
  fx_restore_wide: restore(true),
};
