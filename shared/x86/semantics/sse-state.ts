// MXCSR and the FXSAVE area. Intel SDM vol. 1 §10.5 (layout), vol. 2 FXSAVE, FXRSTOR, LDMXCSR, STMXCSR. The x87 part of the
// image is built and taken apart by routines in FX_IMAGE of the state page; here it moves between there and memory, faults first.
import type { Emitter, Operands, Semantics, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { FX_IMAGE, MXCSR, X87_TRAP, XMM } from '#shared/x86/cpu-state.js';
import { MXCSR_MASK } from '#shared/x86/routines/fx-image.js';
import { VECTOR_GP, VECTOR_NM, simd } from './sse-operand.js';

const FX_BYTES = 512;
/** Bytes that the processor writes: up to XMM7, or XMM15 in 64-bit mode. */
const FX_BYTES_LEGACY = 288;
const FX_BYTES_LONG = 416;
/** Where the XMM registers begin. */
const FX_VECTORS = 160;

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

/** Bytes that the processor reads or writes. */
const usedBytes = (op: Operands): number => (op.mode === 64 ? FX_BYTES_LONG : FX_BYTES_LEGACY);

function save(routine: string): Semantics {
  return (e, op) => {
    const linear = fxArea(e, op, 'write');
    e.routine(routine, []);
    // Processors ask for all 512 bytes to be writable, though they leave the last ones alone.
    e.modifyAt(e.add(linear, e.i64(FX_BYTES - 8)), 8, (old) => old);
    // The last bytes first: when they lie in another page and fault, nothing has been written.
    for (let at = usedBytes(op) - 16; at >= 0; at -= 16) {
      const source = at < FX_VECTORS ? FX_IMAGE + at : XMM + at - FX_VECTORS;
      e.store(e.add(linear, e.i64(at)), 16, e.getState('v128', source));
    }
  };
}

function restore(routine: string): Semantics {
  return (e, op) => {
    const linear = fxArea(e, op, 'read');
    const bytes = usedBytes(op);
    for (let at = 0; at < bytes; at += 16)
      e.setState('v128', FX_IMAGE + at, e.load(e.add(linear, e.i64(at)), 16));
    const reserved = e.and(e.getState('i32', FX_IMAGE + 24), e.i32(~MXCSR_MASK));
    e.if(reserved, () => e.raise(VECTOR_GP, 0));
    e.routine(routine, []);
    for (let at = FX_VECTORS; at < bytes; at += 16)
      e.setState('v128', XMM + at - FX_VECTORS, e.getState('v128', FX_IMAGE + at));
  };
}

export const SSE_STATE: SemanticsTable = {
  Ldmxcsr: { sem: simd(loadMxcsr) },
  Stmxcsr: { sem: simd(storeMxcsr) },
  Fxsave: { sem: save('fx_save'), modeSensitive: true },
  Fxsave64: { sem: save('fx_save_wide'), modeSensitive: true },
  Fxrstor: { sem: restore('fx_restore'), modeSensitive: true },
  Fxrstor64: { sem: restore('fx_restore_wide'), modeSensitive: true },
};
