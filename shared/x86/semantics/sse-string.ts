// SSE4.2 string comparison (PCMPxSTRx) and CRC32. Intel SDM vol. 2 §4.1. The comparison is a helper's: operands in VECTOR_SCRATCH, lengths
// in HELPER_ARG0 and HELPER_ARG1; it leaves the index in HELPER_ARG0, flags in HELPER_ARG1, the mask in VECTOR_SCRATCH.
import type { Emitter, Operands, Semantics, SemanticsTable } from '#shared/translate/emitter.js';
import { HELPER_ARG0, HELPER_ARG1, VECTOR_SCRATCH, XMM } from '#shared/x86/cpu-state.js';
import { immediate, simd, simdHelper } from './sse-operand.js';

/** Helper argument bits beside the immediate. */
export const STRING_EXPLICIT = 0x100;
export const STRING_MASK = 0x200;

const RAX = 0;
const RCX = 1;
const RDX = 2;

function compareStrings(explicit: 0 | 32 | 64, result: 'index' | 'mask'): Semantics {
  return (e, op) => {
    // These need no alignment.
    e.setState('v128', VECTOR_SCRATCH + 16, op.read(1));
    e.setState('v128', VECTOR_SCRATCH, op.read(0));
    if (explicit !== 0) putLengths(e, explicit);
    const form = (explicit !== 0 ? STRING_EXPLICIT : 0) | (result === 'mask' ? STRING_MASK : 0);
    simdHelper(e, 'sse_compare_strings', [e.or(immediate(e, op, 2), e.i32(form))]);
    if (result === 'mask') e.setState('v128', XMM, e.getState('v128', VECTOR_SCRATCH));
    else e.writeGpr(RCX, 32, e.getState('i32', HELPER_ARG0));
    e.writeArithmeticFlags(e.getState('i32', HELPER_ARG1));
  };
}

/** Signed lengths of the first (RAX) and second (RDX) string, as i64. */
function putLengths(e: Emitter, bits: 32 | 64): void {
  const length = (register: number) =>
    bits === 64 ? e.readGpr(register, 64) : e.extendS(e.readGpr(register, 32));
  e.setState('i64', HELPER_ARG0, length(RAX));
  e.setState('i64', HELPER_ARG1, length(RDX));
}

function crc32(e: Emitter, op: Operands): void {
  const bits = op.bitsOf(1) as 8 | 16 | 32 | 64;
  const source = op.readLow(1, bits);
  const crc = op.readLow(0, 32);
  const low = bits === 64 ? e.wrap(source) : source;
  if (bits === 64) {
    e.setState('i32', HELPER_ARG0, e.wrap(e.shrU(source, e.i64(32))));
    simdHelper(e, 'sse_crc32_quad', [crc, low]);
  } else simdHelper(e, 'sse_crc32', [crc, low, e.i32(bits / 8)]);
  op.write(0, e.toBits(e.getState('i32', HELPER_ARG0), op.bitsOf(0)));
}

export const SSE_STRING: SemanticsTable = {
  Pcmpistri: { sem: simd(compareStrings(0, 'index')) },
  Pcmpistrm: { sem: simd(compareStrings(0, 'mask')) },
  Pcmpestri: { sem: simd(compareStrings(32, 'index')) },
  Pcmpestrm: { sem: simd(compareStrings(32, 'mask')) },
  Pcmpestri64: { sem: simd(compareStrings(64, 'index')) },
  Pcmpestrm64: { sem: simd(compareStrings(64, 'mask')) },
  Crc32: { sem: crc32 },
};
