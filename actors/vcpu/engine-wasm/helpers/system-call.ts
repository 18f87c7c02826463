// SYSCALL SYSRET SYSENTER SYSEXIT. Intel SDM vol. 2 and vol. 3 §5.8.7–5.8.8. They load flat segments without reading a
// descriptor. SYSCALL outside 64-bit mode is #UD, as on Intel processors.

import { EFER_SCE } from '#shared/x86/msr-index.js';
import { readArithmeticFlags, writeArithmeticFlags } from '#shared/translate/flag-builder.js';
import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { type CpuContext, type Helper, raise } from '../cpu-context.js';
import { VECTOR_GP } from './descriptor.js';
import {
  cplOf,
  is64BitCode,
  isCanonicalHigh,
  isLongMode,
  isRealMode,
  setSegment,
  setWords,
  writeRflags,
} from './state-access.js';

const UNDEFINED_OPCODE = 6;
const FLAT_LIMIT = 0xffff_ffff;
const CODE64 = 0xa9b;
const CODE32 = 0xc9b;
const DATA = 0xc93;
const DPL3 = 0x60;
/** What SYSRET takes from R11. */
const SYSRET_FLAGS = 0x3c7fd7 & ~F.RF & ~F.VM;
const R11 = 11 * 8;

function loadFlat(cpu: CpuContext, selector: number, stackSelector: number, long: boolean, cpl: 0 | 3): void {
  const dpl = cpl === 3 ? DPL3 : 0;
  setSegment(cpu, S.CS, (selector & 0xfffc) | cpl, 0, 0, FLAT_LIMIT, (long ? CODE64 : CODE32) | dpl);
  setSegment(cpu, S.SS, (stackSelector & 0xfffc) | cpl, 0, 0, FLAT_LIMIT, DATA | dpl);
  cpu.i32[S.CPL >> 2] = cpl;
}

function copyWords(cpu: CpuContext, to: number, from: number): void {
  setWords(cpu, to, cpu.i32[from >> 2]!, cpu.i32[(from >> 2) + 1]!);
}

function requireSyscall(cpu: CpuContext): void {
  if ((cpu.i32[S.EFER >> 2]! & EFER_SCE) === 0 || !is64BitCode(cpu)) raise(UNDEFINED_OPCODE);
}

export const syscall: Helper = (cpu) => {
  requireSyscall(cpu);
  const system = cpu.i32[S.RFLAGS_SYSTEM >> 2]! & ~F.RF;
  const arithmetic = readArithmeticFlags(cpu.i32, 0);
  copyWords(cpu, S.RCX, S.HELPER_ARG1);
  setWords(cpu, R11, system | arithmetic | F.RFLAGS_FIXED, 0);
  copyWords(cpu, S.RIP, S.LSTAR);
  const mask = cpu.i32[S.FMASK >> 2]!;
  cpu.i32[S.RFLAGS_SYSTEM >> 2] = system & ~mask;
  if ((arithmetic & mask) !== 0) writeArithmeticFlags(cpu.i32, 0, arithmetic & ~mask);
  const selector = cpu.i32[(S.STAR >> 2) + 1]! & 0xffff;
  loadFlat(cpu, selector, selector + 8, true, 0);
  cpu.stepTrap = 'after'; // FMASK keeps the kernel from being stepped
  cpu.modeChanged();
  return S.EXIT_BRANCH;
};

export const sysret: Helper = (cpu, bits) => {
  requireSyscall(cpu);
  if (cplOf(cpu) !== 0) raise(VECTOR_GP, 0);
  const long = bits === 64;
  if (long && !isCanonicalHigh(cpu.i32[(S.RCX >> 2) + 1]!)) raise(VECTOR_GP, 0);
  setWords(cpu, S.RIP, cpu.i32[S.RCX >> 2]!, long ? cpu.i32[(S.RCX >> 2) + 1]! : 0);
  const selector = cpu.i32[(S.STAR >> 2) + 1]! >>> 16;
  loadFlat(cpu, selector + (long ? 16 : 0), selector + 8, long, 3);
  writeRflags(cpu, cpu.i32[R11 >> 2]!, SYSRET_FLAGS | F.RF);
  cpu.i32[S.RFLAGS_SYSTEM >> 2] = cpu.i32[S.RFLAGS_SYSTEM >> 2]! & ~F.RF;
  cpu.stepTrap = 'after';
  cpu.modeChanged();
  return S.EXIT_BRANCH;
};

export const sysenter: Helper = (cpu) => {
  const selector = cpu.i32[S.SYSENTER_CS >> 2]! & 0xfffc;
  if (isRealMode(cpu) || selector === 0) raise(VECTOR_GP, 0);
  const long = isLongMode(cpu);
  setWords(cpu, S.RIP, cpu.i32[S.SYSENTER_EIP >> 2]!, long ? cpu.i32[(S.SYSENTER_EIP >> 2) + 1]! : 0);
  setWords(cpu, S.RSP, cpu.i32[S.SYSENTER_ESP >> 2]!, long ? cpu.i32[(S.SYSENTER_ESP >> 2) + 1]! : 0);
  loadFlat(cpu, selector, selector + 8, long, 0);
  writeRflags(cpu, 0, F.VM | F.IF | F.RF);
  cpu.modeChanged();
  return S.EXIT_BRANCH;
};

export const sysexit: Helper = (cpu, bits) => {
  const selector = cpu.i32[S.SYSENTER_CS >> 2]! & 0xfffc;
  if (isRealMode(cpu) || selector === 0 || cplOf(cpu) !== 0) raise(VECTOR_GP, 0);
  const long = bits === 64;
  const ipHigh = long ? cpu.i32[(S.RDX >> 2) + 1]! : 0;
  const stackHigh = long ? cpu.i32[(S.RCX >> 2) + 1]! : 0;
  if (!isCanonicalHigh(ipHigh) || !isCanonicalHigh(stackHigh)) raise(VECTOR_GP, 0);
  setWords(cpu, S.RIP, cpu.i32[S.RDX >> 2]!, ipHigh);
  setWords(cpu, S.RSP, cpu.i32[S.RCX >> 2]!, stackHigh);
  const base = selector + (long ? 32 : 16);
  loadFlat(cpu, base, base + 8, long, 3);
  cpu.modeChanged();
  return S.EXIT_BRANCH;
};
