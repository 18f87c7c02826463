// IRET, IRETD, IRETQ. Intel SDM vol. 2: within real and virtual-8086 mode, to the same and an outer level, to
// virtual-8086 mode, to the task that called this one (NT).

import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { type CpuContext, type Helper, raise } from '../cpu-context.js';
import { checkTarget, commitCode, commitRealCode } from './code-segment.js';
import { isLongCode, loadCache, markAccessed, VECTOR_GP } from './descriptor.js';
import { readReturnCode } from './far-transfer.js';
import { checkOuterStack, dropInnerData } from './outer-return.js';
import { commitPointer, currentStack, popValue } from './stack-frame.js';
import { switchTask } from './task-switch.js';
import { enterVirtual8086 } from './virtual-8086.js';
import {
  attributesOf,
  ATTRIBUTE_DB,
  baseOf,
  cplOf,
  is64BitCode,
  isLongMode,
  isRealMode,
  isVirtual8086,
  setNullSegment,
  setWords,
  writeRflags,
} from './state-access.js';

const LOW_FLAGS = F.ARITHMETIC_FLAGS | F.TF | F.DF | F.NT;
const WIDE_FLAGS = F.RF | F.AC | F.ID;

/** The flags that IRET may change at a privilege level (that before the return). */
function returnableFlags(cpu: CpuContext, bits: number): number {
  const cpl = cplOf(cpu);
  const iopl = (cpu.i32[S.RFLAGS_SYSTEM >> 2]! & F.IOPL) >> F.IOPL_SHIFT;
  let mask = LOW_FLAGS | (bits === 16 ? 0 : WIDE_FLAGS);
  if (cpl === 0) mask |= F.IOPL | (bits === 16 ? 0 : F.VIF | F.VIP);
  if (cpl <= iopl) mask |= F.IF;
  return mask;
}

function returnReal(cpu: CpuContext, bits: number, more = F.IOPL | F.IF): number {
  const stack = currentStack(cpu);
  const ip = popValue(cpu, stack, bits);
  const selector = popValue(cpu, stack, bits) & 0xffff;
  const flags = popValue(cpu, stack, bits);
  commitRealCode(cpu, selector, ip);
  commitPointer(cpu, stack);
  writeRflags(cpu, flags, returnableFlags(cpu, bits) | more);
  cpu.modeChanged();
  return S.EXIT_BRANCH;
}

/** Only with IOPL 3, and IOPL stays. */
function returnVirtual8086(cpu: CpuContext, bits: number): number {
  if ((cpu.i32[S.RFLAGS_SYSTEM >> 2]! & F.IOPL) !== F.IOPL) raise(VECTOR_GP, 0);
  return returnReal(cpu, bits, 0);
}

/** The link field of the TSS names the task that was interrupted or called. */
function returnToTask(cpu: CpuContext): number {
  if (isLongMode(cpu)) raise(VECTOR_GP, 0);
  const link = cpu.readU16(baseOf(cpu, S.TR), true);
  switchTask(cpu, link, { kind: 'return', ip: cpu.i32[S.HELPER_ARG1 >> 2]!, errorCode: -1, ext: 0 });
  return S.EXIT_BRANCH;
}

export const interruptReturn: Helper = (cpu, bits) => {
  cpu.unblockNmi(); // even when it faults
  if (isRealMode(cpu)) return returnReal(cpu, bits);
  if (isVirtual8086(cpu)) return returnVirtual8086(cpu, bits);
  if ((cpu.i32[S.RFLAGS_SYSTEM >> 2]! & F.NT) !== 0) return returnToTask(cpu);
  const fromLongCode = is64BitCode(cpu);
  const stack = currentStack(cpu);
  const lo = popValue(cpu, stack, bits);
  const popHigh = cpu.hi;
  const selector = popValue(cpu, stack, bits) & 0xffff;
  const flags = popValue(cpu, stack, bits);
  if (bits === 32 && !isLongMode(cpu) && (flags & F.VM) !== 0 && cplOf(cpu) === 0) {
    enterVirtual8086(cpu, stack, lo, selector, flags);
    return S.EXIT_BRANCH;
  }
  const d = readReturnCode(cpu, selector);
  const hi = checkTarget(cpu, d, lo, popHigh);
  const rpl = selector & 3;
  const outer = rpl !== cplOf(cpu);
  const mask = returnableFlags(cpu, bits);
  if (!outer && !fromLongCode) {
    commitPointer(cpu, stack);
    commitCode(cpu, selector, d, rpl, lo, hi);
  } else {
    const pointerLow = popValue(cpu, stack, bits);
    const pointerHigh = cpu.hi;
    const stackSelector = popValue(cpu, stack, bits) & 0xffff;
    const segment = checkOuterStack(cpu, stackSelector, rpl, isLongMode(cpu) && isLongCode(d));
    commitCode(cpu, selector, d, rpl, lo, hi);
    if (segment === undefined) {
      setNullSegment(cpu, S.SS, stackSelector);
    } else {
      markAccessed(cpu, segment);
      loadCache(cpu, S.SS, stackSelector, segment);
    }
    // A 16-bit stack keeps what is above SP, whatever the operand size.
    const narrow = !is64BitCode(cpu) && (attributesOf(cpu, S.SS) & ATTRIBUTE_DB) === 0;
    if (narrow) cpu.u16[S.RSP >> 1] = pointerLow;
    else setWords(cpu, S.RSP, pointerLow, pointerHigh);
    if (outer) dropInnerData(cpu, rpl);
  }
  writeRflags(cpu, flags, mask);
  cpu.modeChanged();
  return S.EXIT_BRANCH;
};
