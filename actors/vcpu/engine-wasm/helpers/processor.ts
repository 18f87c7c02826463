// CPUID, time stamp counter, MSRs, HLT, INVLPG, the flags that change the mode, and CMPXCHG16B under LOCK.
// Intel SDM vol. 2.

import { CR4_TSD } from '#shared/x86/control-bits.js';
import { readArithmeticFlags, writeArithmeticFlags } from '#shared/translate/flag-builder.js';
import * as S from '#shared/x86/cpu-state.js';
import { MSR_GP, MSR_OK_MODE } from '#shared/x86/msr.js';
import * as F from '#shared/x86/rflags.js';
import { type CpuContext, type Helper, raise } from '../cpu-context.js';
import { VECTOR_GP } from './descriptor.js';
import { continueAfter, cplOf, getAddress, isRealMode, setWords } from './state-access.js';

export const cpuid: Helper = (cpu) => {
  const [eax, ebx, ecx, edx] = cpu.cpuid(cpu.u32[S.RAX >> 2]!, cpu.u32[S.RCX >> 2]!);
  setWords(cpu, S.RAX, eax, 0);
  setWords(cpu, S.RBX, ebx, 0);
  setWords(cpu, S.RCX, ecx, 0);
  setWords(cpu, S.RDX, edx, 0);
  return S.EXIT_NONE;
};

/** EDX:EAX from what the MSR file has read. */
function giveMsr(cpu: CpuContext): void {
  setWords(cpu, S.RAX, cpu.msrs.lo, 0);
  setWords(cpu, S.RDX, cpu.msrs.hi, 0);
}

export const readTimeStampCounter: Helper = (cpu) => {
  const disabled = (cpu.i32[S.CR4 >> 2]! & CR4_TSD) !== 0;
  if (disabled && cplOf(cpu) !== 0 && !isRealMode(cpu)) raise(VECTOR_GP, 0);
  cpu.msrs.readTsc();
  giveMsr(cpu);
  return S.EXIT_NONE;
};

export const readTimeStampCounterAndProcessor: Helper = (cpu) => {
  readTimeStampCounter(cpu, 0, 0, 0);
  setWords(cpu, S.RCX, cpu.i32[S.TSC_AUX >> 2]!, 0);
  return S.EXIT_NONE;
};

export const readMsr: Helper = (cpu) => {
  if (!cpu.msrs.read(cpu.u32[S.RCX >> 2]!)) raise(VECTOR_GP, 0);
  giveMsr(cpu);
  return S.EXIT_NONE;
};

export const writeMsr: Helper = (cpu) => {
  const result = cpu.msrs.write(cpu.u32[S.RCX >> 2]!, cpu.i32[S.RAX >> 2]!, cpu.i32[S.RDX >> 2]!);
  if (result === MSR_GP) raise(VECTOR_GP, 0);
  if (result !== MSR_OK_MODE) return S.EXIT_NONE;
  cpu.flushTlb(true);
  cpu.modeChanged();
  return continueAfter(cpu);
};

/** RIP is past the HLT: an interrupt returns there. */
export const halt: Helper = (cpu) => {
  continueAfter(cpu);
  return S.EXIT_HALT;
};

export const invalidatePage: Helper = (cpu) => {
  cpu.invalidatePage(getAddress(cpu, S.HELPER_ARG0));
  return S.EXIT_NONE;
};

/** Faults as a write to the address in HELPER_ARG0 would. */
export const probeWrite: Helper = (cpu, bytes) => {
  cpu.probe(getAddress(cpu, S.HELPER_ARG0), bytes, true, false);
  return S.EXIT_NONE;
};

/** POPF changed TF or AC. */
export const systemFlagsChanged: Helper = (cpu) => {
  cpu.modeChanged();
  return S.EXIT_NONE;
};

export const unparkInterrupt: Helper = (cpu) => {
  cpu.unparkInterrupt();
  return S.EXIT_NONE;
};

/** The address is in HELPER_ARG0, aligned to 16 bytes. */
export const lockedCmpxchg16b: Helper = (cpu) => {
  const address = getAddress(cpu, S.HELPER_ARG0);
  cpu.probe(address, 16, true, false);
  cpu.lockMemory();
  try {
    compareAndExchange(cpu, address);
  } finally {
    cpu.unlockMemory();
  }
  return S.EXIT_NONE;
};

function compareAndExchange(cpu: CpuContext, address: number): void {
  cpu.readU64(address, false);
  const [low0, low1] = [cpu.lo, cpu.hi];
  cpu.readU64(address + 8, false);
  const [high0, high1] = [cpu.lo, cpu.hi];
  const { u32 } = cpu;
  const [a, d, b, c] = [S.RAX >> 2, S.RDX >> 2, S.RBX >> 2, S.RCX >> 2];
  const equal = low0 === u32[a] && low1 === u32[a + 1] && high0 === u32[d] && high1 === u32[d + 1];
  if (equal) {
    cpu.writeU64(address, u32[b]!, u32[b + 1]!, false);
    cpu.writeU64(address + 8, u32[c]!, u32[c + 1]!, false);
  } else {
    setWords(cpu, S.RAX, low0, low1);
    setWords(cpu, S.RDX, high0, high1);
  }
  const flags = readArithmeticFlags(cpu.i32, 0);
  writeArithmeticFlags(cpu.i32, 0, equal ? flags | F.ZF : flags & ~F.ZF);
}
