// MXCSR and the FXSAVE area. Intel SDM vol. 1 §10.5 (layout), vol. 2 FXSAVE, FXRSTOR, LDMXCSR, STMXCSR. The image is built and
// taken apart by helpers in FX_IMAGE of the state page; here it moves between there and memory, faults first.
import type { Emitter, Operands, Semantics, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { FX_IMAGE, MXCSR, X87_TRAP } from '#shared/x86/cpu-state.js';
import { VECTOR_GP, VECTOR_NM, simd } from './sse-operand.js';

/** Bits that MXCSR has: a load with any other set is #GP(0). */
export const MXCSR_MASK = 0xffff;
/** Argument bits of the fxsave and fxrstor helpers. */
export const FX_64BIT_POINTERS = 1;
export const FX_64BIT_MODE = 2;
const FX_BYTES = 512;
/** Bytes that the processor writes: up to XMM7, or XMM15 in 64-bit mode. */
const FX_BYTES_LEGACY = 288;
const FX_BYTES_LONG = 416;

const loadMxcsr: Semantics = (e, op) => {
  const value = op.readLow(0, 32);
  e.if(e.and(value, e.i32(~MXCSR_MASK)), () => e.raise(VECTOR_GP, 0));
  e.setState('i32', MXCSR, value);
};

const storeMxcsr: Semantics = (e, op) => op.writeLow(0, 32, e.getState('i32', MXCSR));

/** #NM and the 16-byte alignment of the area; gives its linear address. */
function fxArea(e: Emitter, op: Operands, access: 'read' | 'write'): Value {
  e.if(e.getState('i32', X87_TRAP), () => e.raise(VECTOR_NM));
  const linear = op.linearAddress(0, 512, access);
  e.if(e.and(e.wrap(linear), e.i32(15)), () => e.raise(VECTOR_GP, 0));
  return linear;
}

function form(op: Operands, pointers64: boolean): { argument: number; bytes: number } {
  const long = op.mode === 64;
  return {
    argument: (pointers64 ? FX_64BIT_POINTERS : 0) | (long ? FX_64BIT_MODE : 0),
    bytes: long ? FX_BYTES_LONG : FX_BYTES_LEGACY,
  };
}

function save(pointers64: boolean): Semantics {
  return (e, op) => {
    const { argument, bytes } = form(op, pointers64);
    const linear = fxArea(e, op, 'write');
    e.helper('fxsave_image', [e.i32(argument)]);
    // Processors ask for all 512 bytes to be writable, though they leave the last ones alone.
    e.modifyAt(e.add(linear, e.i64(FX_BYTES - 8)), 8, (old) => old);
    // The last bytes first: when they lie in another page and fault, nothing has been written.
    for (let at = bytes - 16; at >= 0; at -= 16)
      e.store(e.add(linear, e.i64(at)), 16, e.getState('v128', FX_IMAGE + at));
  };
}

function restore(pointers64: boolean): Semantics {
  return (e, op) => {
    const { argument, bytes } = form(op, pointers64);
    const linear = fxArea(e, op, 'read');
    for (let at = 0; at < bytes; at += 16)
      e.setState('v128', FX_IMAGE + at, e.load(e.add(linear, e.i64(at)), 16));
    e.helper('fxrstor_image', [e.i32(argument)]);
  };
}

export const SSE_STATE: SemanticsTable = {
  Ldmxcsr: { sem: simd(loadMxcsr) },
  Stmxcsr: { sem: simd(storeMxcsr) },
  Fxsave: { sem: save(false), modeSensitive: true },
  Fxsave64: { sem: save(true), modeSensitive: true },
  Fxrstor: { sem: restore(false), modeSensitive: true },
  Fxrstor64: { sem: restore(true), modeSensitive: true },
};
