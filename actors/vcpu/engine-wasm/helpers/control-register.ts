// MOV to and from CR0, CR2, CR3, CR4, CR8 and DR0–DR7, LMSW, CLTS. Intel SDM vol. 3 §2.5, §17.2. The value comes and
// goes in HELPER_ARG0. PCID and the like are not announced: their CR4 bits are reserved. PDPTEs are not checked at the load of CR3.

import {
  CR0_CD,
  CR0_ET,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR4_DE,
  CR4_MCE,
  CR4_OSFXSR,
  CR4_OSXMMEXCPT,
  CR4_PAE,
  CR4_PCE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  CR4_TSD,
} from '#shared/x86/control-bits.js';
import { EFER_LMA, EFER_LME } from '#shared/x86/msr-index.js';
import * as S from '#shared/x86/cpu-state.js';
import { PHYSICAL_ADDRESS_BITS } from '#shared/x86/cpuid.js';
import { type CpuContext, type Helper, raise } from '../cpu-context.js';
import { VECTOR_GP } from './descriptor.js';
import { raiseDebugAccess } from './exceptions.js';
import {
  attributesOf,
  ATTRIBUTE_L,
  continueAfter,
  is64BitCode,
  isLongMode,
  setWords,
} from './state-access.js';

const UNDEFINED_OPCODE = 6;

/** PE MP EM TS NE WP AM NW CD PG; ET reads as one, other bits cannot be set. */
const CR0_WRITABLE = 0xe005_002f | 0;

const CR4_WRITABLE =
  CR4_TSD |
  CR4_DE |
  CR4_PSE |
  CR4_PAE |
  CR4_MCE |
  CR4_PGE |
  CR4_PCE |
  CR4_OSFXSR |
  CR4_OSXMMEXCPT |
  CR4_SMEP |
  CR4_SMAP;
const CR4_TRANSLATION = CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP;

const DR6 = 6;
const DR7 = 7;
const DR6_FIXED = 0xffff_0ff0 | 0;
const DR6_WRITABLE = 0xe00f;
const DR7_FIXED = 0x400;
const DR7_WRITABLE = 0xffff_2fff | 0;
const DR7_GD = 1 << 13;

function requireHigh(condition: boolean): void {
  if (!condition) raise(VECTOR_GP, 0);
}

/** CR0.PG 0 → 1 with EFER.LME enters IA-32e mode, 1 → 0 leaves it. */
function switchPaging(cpu: CpuContext, enable: boolean): void {
  const efer = cpu.i32[S.EFER >> 2]!;
  if (enable) {
    if ((efer & EFER_LME) === 0) return;
    requireHigh((cpu.i32[S.CR4 >> 2]! & CR4_PAE) !== 0);
    requireHigh((attributesOf(cpu, S.CS) & ATTRIBUTE_L) === 0);
    cpu.i32[S.EFER >> 2] = efer | EFER_LMA;
  } else {
    requireHigh(!is64BitCode(cpu));
    cpu.i32[S.EFER >> 2] = efer & ~EFER_LMA;
  }
}

function writeCr0(cpu: CpuContext, lo: number, hi: number): void {
  requireHigh(hi === 0);
  requireHigh((lo & CR0_PG) === 0 || (lo & CR0_PE) !== 0);
  requireHigh((lo & CR0_NW) === 0 || (lo & CR0_CD) !== 0);
  const next = (lo & CR0_WRITABLE) | CR0_ET;
  const changed = next ^ cpu.i32[S.CR0 >> 2]!;
  if ((changed & CR0_PG) !== 0) switchPaging(cpu, (next & CR0_PG) !== 0);
  setWords(cpu, S.CR0, next, 0);
  if ((changed & (CR0_PG | CR0_PE | CR0_WP)) !== 0) cpu.flushTlb(true);
  cpu.modeChanged();
}

function writeCr3(cpu: CpuContext, lo: number, hi: number): void {
  if (isLongMode(cpu)) requireHigh(hi >>> (PHYSICAL_ADDRESS_BITS - 32) === 0);
  setWords(cpu, S.CR3, lo, isLongMode(cpu) ? hi : 0);
  cpu.flushTlb(false);
}

function writeCr4(cpu: CpuContext, lo: number, hi: number): void {
  requireHigh(hi === 0 && (lo & ~CR4_WRITABLE) === 0);
  requireHigh(!isLongMode(cpu) || (lo & CR4_PAE) !== 0);
  const changed = lo ^ cpu.i32[S.CR4 >> 2]!;
  setWords(cpu, S.CR4, lo, 0);
  if ((changed & CR4_TRANSLATION) !== 0) cpu.flushTlb(true);
  cpu.modeChanged();
}

export const writeControlRegister: Helper = (cpu, register) => {
  const lo = cpu.i32[S.HELPER_ARG0 >> 2]!;
  const hi = cpu.i32[(S.HELPER_ARG0 >> 2) + 1]!;
  switch (register) {
    case 0:
      writeCr0(cpu, lo, hi);
      break;
    case 2:
      setWords(cpu, S.CR2, lo, hi);
      break;
    case 3:
      writeCr3(cpu, lo, hi);
      break;
    case 4:
      writeCr4(cpu, lo, hi);
      break;
    case 8:
      requireHigh(hi === 0 && (lo & ~15) === 0);
      cpu.lapic.cr8 = lo;
      break;
    default:
      raise(UNDEFINED_OPCODE);
  }
  return continueAfter(cpu);
};

export const readControlRegister: Helper = (cpu, register) => {
  const slot = [S.CR0, -1, S.CR2, S.CR3, S.CR4][register] ?? -1;
  if (register === 8) setWords(cpu, S.HELPER_ARG0, cpu.lapic.cr8, 0);
  else if (slot < 0) raise(UNDEFINED_OPCODE);
  else setWords(cpu, S.HELPER_ARG0, cpu.i32[slot >> 2]!, cpu.i32[(slot >> 2) + 1]!);
  return S.EXIT_NONE;
};

export const loadMachineStatusWord: Helper = (cpu, value) => {
  const old = cpu.i32[S.CR0 >> 2]!;
  // PE, MP, EM, TS; PE cannot be cleared.
  writeCr0(cpu, (old & ~14) | (value & 15) | (old & CR0_PE), 0);
  return continueAfter(cpu);
};

export const clearTaskSwitched: Helper = (cpu) => {
  cpu.i32[S.CR0 >> 2] = cpu.i32[S.CR0 >> 2]! & ~CR0_TS;
  cpu.modeChanged();
  return S.EXIT_NONE;
};

/** DR4 and DR5 stand for DR6 and DR7, or are undefined under CR4.DE. */
function debugRegister(cpu: CpuContext, register: number): number {
  if (register > 7) raise(UNDEFINED_OPCODE);
  const alias = register === 4 || register === 5;
  if (alias && (cpu.i32[S.CR4 >> 2]! & CR4_DE) !== 0) raise(UNDEFINED_OPCODE);
  if ((cpu.i32[(S.DR + DR7 * 8) >> 2]! & DR7_GD) !== 0) raiseDebugAccess(cpu);
  return alias ? register + 2 : register;
}

export const writeDebugRegister: Helper = (cpu, register) => {
  const number = debugRegister(cpu, register);
  let lo = cpu.i32[S.HELPER_ARG0 >> 2]!;
  const hi = cpu.i32[(S.HELPER_ARG0 >> 2) + 1]!;
  if (number >= DR6) {
    requireHigh(hi === 0);
    lo = number === DR6 ? (lo & DR6_WRITABLE) | DR6_FIXED : (lo & DR7_WRITABLE) | DR7_FIXED;
  }
  setWords(cpu, S.DR + number * 8, lo, hi);
  if (number === DR7) cpu.modeChanged();
  return continueAfter(cpu);
};

export const readDebugRegister: Helper = (cpu, register) => {
  const slot = (S.DR + debugRegister(cpu, register) * 8) >> 2;
  setWords(cpu, S.HELPER_ARG0, cpu.i32[slot]!, cpu.i32[slot + 1]!);
  return S.EXIT_NONE;
};
