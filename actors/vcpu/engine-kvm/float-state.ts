// x87, MMX and SSE: struct kvm_xsave ↔ the state page. It is the image of XSAVE, SDM vol. 1 §13.4: registers as FXSAVE has them (ST0
// first, tags by physical register), then what is valid. KVM_GET_FPU would do but for MXCSR, which it leaves out.
// The selectors of the last x87 instruction (legacy modes) have no place in the 64-bit form; CPUID calls them deprecated.

import * as S from '#shared/x86/cpu-state.js';

// Byte offsets.
const FPU_CONTROL = 0;
const FPU_STATUS = 2;
const FPU_TAGS = 4;
const FPU_OPCODE = 6;
const FPU_IP = 8;
const FPU_DP = 16;
const FPU_MXCSR = 24;
const FPU_ST = 32;
const FPU_XMM = 160;
const XSTATE_BV = 512;
const XSTATE_X87_AND_SSE = 3n;
const XMM_BYTES = 256;

const STATUS_TOP_SHIFT = 11;
const STATUS_TOP = 7 << STATUS_TOP_SHIFT;

export function fpuFromPage(page: DataView, fpu: DataView): void {
  const top = page.getInt32(S.X87_TOP, true) & 7;
  for (let i = 0; i < 8; i++) {
    const from = S.X87 + ((top + i) & 7) * 16;
    fpu.setBigUint64(FPU_ST + i * 16, page.getBigUint64(from, true), true);
    fpu.setUint16(FPU_ST + i * 16 + 8, page.getUint16(from + 8, true), true);
  }
  fpu.setUint16(FPU_CONTROL, page.getInt32(S.X87_CONTROL, true), true);
  const status = (page.getInt32(S.X87_STATUS, true) & ~STATUS_TOP) | (top << STATUS_TOP_SHIFT);
  fpu.setUint16(FPU_STATUS, status, true);
  fpu.setUint8(FPU_TAGS, page.getInt32(S.X87_TAGS, true));
  fpu.setUint16(FPU_OPCODE, page.getInt32(S.X87_OPCODE, true), true);
  fpu.setBigUint64(FPU_IP, page.getBigUint64(S.X87_IP, true), true);
  fpu.setBigUint64(FPU_DP, page.getBigUint64(S.X87_DP, true), true);
  bytesOf(fpu, FPU_XMM, XMM_BYTES).set(bytesOf(page, S.XMM, XMM_BYTES));
  fpu.setUint32(FPU_MXCSR, page.getUint32(S.MXCSR, true), true);
  fpu.setBigUint64(XSTATE_BV, XSTATE_X87_AND_SSE, true);
}

export function fpuToPage(fpu: DataView, page: DataView): void {
  const status = fpu.getUint16(FPU_STATUS, true);
  const top = (status & STATUS_TOP) >> STATUS_TOP_SHIFT;
  for (let i = 0; i < 8; i++) {
    const to = S.X87 + ((top + i) & 7) * 16;
    page.setBigUint64(to, fpu.getBigUint64(FPU_ST + i * 16, true), true);
    page.setUint16(to + 8, fpu.getUint16(FPU_ST + i * 16 + 8, true), true);
  }
  page.setInt32(S.X87_CONTROL, fpu.getUint16(FPU_CONTROL, true), true);
  page.setInt32(S.X87_STATUS, status & ~STATUS_TOP, true);
  page.setInt32(S.X87_TOP, top, true);
  page.setInt32(S.X87_TAGS, fpu.getUint8(FPU_TAGS), true);
  page.setInt32(S.X87_OPCODE, fpu.getUint16(FPU_OPCODE, true), true);
  page.setBigUint64(S.X87_IP, fpu.getBigUint64(FPU_IP, true), true);
  page.setBigUint64(S.X87_DP, fpu.getBigUint64(FPU_DP, true), true);
  bytesOf(page, S.XMM, XMM_BYTES).set(bytesOf(fpu, FPU_XMM, XMM_BYTES));
  page.setUint32(S.MXCSR, fpu.getUint32(FPU_MXCSR, true), true);
}

function bytesOf(view: DataView, offset: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + offset, length);
}
