// Far JMP, CALL and RET, direct, indirect and through call gates, with change of privilege. Intel SDM vol. 2 and
// vol. 3 §5.8, and to another task (§7.3).
// The offset is in HELPER_ARG0, the address of the next instruction in HELPER_ARG1.

import * as S from '#shared/x86/cpu-state.js';
import { type CpuContext, type Helper, raise } from '../cpu-context.js';
import {
  checkCode,
  checkCodePresent,
  checkTarget,
  commitCode,
  commitRealCode,
  currentCode,
} from './code-segment.js';
import {
  type Descriptor,
  dplOf,
  errorCodeOf,
  isCodeOrData,
  isConforming,
  isLongCode,
  isNull,
  isPresent,
  loadCache,
  markAccessed,
  readDescriptor,
  readUpperWord,
  typeOf,
  VECTOR_GP,
  VECTOR_NP,
} from './descriptor.js';
import { isTask, switchTask, TASK_GATE } from './task-switch.js';
import { checkOuterStack, dropInnerData } from './outer-return.js';
import {
  commitPointer,
  currentStack,
  descriptorStack,
  flatStack,
  popValue,
  pushValue,
  readInnerStack,
  readInnerStackSegment,
  readLongStackPointer,
  skip,
  type Stack,
} from './stack-frame.js';
import { cplOf, hasParagraphSegments, isLongMode, selectorOf, setNullSegment } from './state-access.js';

const CALL_GATE_16 = 4;
const CALL_GATE = 12;

function maskOffset(lo: number, bits: number): number {
  return bits === 16 ? lo & 0xffff : lo;
}

function offsetLow(cpu: CpuContext, bits: number): number {
  return maskOffset(cpu.i32[S.HELPER_ARG0 >> 2]!, bits);
}

function offsetHigh(cpu: CpuContext, bits: number): number {
  return bits === 64 ? cpu.i32[(S.HELPER_ARG0 >> 2) + 1]! : 0;
}

/** A code segment may be entered directly at the current privilege only. */
function checkDirectPrivilege(cpu: CpuContext, selector: number, d: Descriptor): void {
  const cpl = cplOf(cpu);
  const good = isConforming(d) ? dplOf(d) <= cpl : (selector & 3) <= cpl && dplOf(d) === cpl;
  if (!good) raise(VECTOR_GP, errorCodeOf(selector));
}

interface Gate {
  readonly selector: number;
  readonly lo: number;
  readonly hi: number;
  /** Width of what a call pushes. */
  readonly bits: 16 | 32 | 64;
  readonly parameters: number;
}

function readCallGate(cpu: CpuContext, selector: number, d: Descriptor): Gate {
  const type = typeOf(d);
  const long = isLongMode(cpu);
  if (type !== CALL_GATE && (type !== CALL_GATE_16 || long)) raise(VECTOR_GP, errorCodeOf(selector));
  if (dplOf(d) < Math.max(cplOf(cpu), selector & 3)) raise(VECTOR_GP, errorCodeOf(selector));
  if (!isPresent(d)) raise(VECTOR_NP, errorCodeOf(selector));
  const wide = type === CALL_GATE;
  return {
    selector: d.lo >>> 16,
    lo: wide ? (d.hi & 0xffff_0000) | (d.lo & 0xffff) : d.lo & 0xffff,
    hi: long ? readUpperWord(cpu, d) : 0,
    bits: long ? 64 : wide ? 32 : 16,
    parameters: long ? 0 : d.hi & 31,
  };
}

/** The code segment that a call gate names. */
function readGateTarget(cpu: CpuContext, gate: Gate): Descriptor {
  if (isNull(gate.selector)) raise(VECTOR_GP, 0);
  const d = readDescriptor(cpu, gate.selector);
  checkCode(cpu, d);
  if (dplOf(d) > cplOf(cpu)) raise(VECTOR_GP, errorCodeOf(gate.selector));
  if (isLongMode(cpu) && !isLongCode(d)) raise(VECTOR_GP, errorCodeOf(gate.selector));
  checkCodePresent(d);
  return d;
}

/** A TSS or a task gate, named by a far JMP or CALL. */
function switchByTransfer(cpu: CpuContext, selector: number, d: Descriptor, kind: 'jump' | 'call'): number {
  if (dplOf(d) < Math.max(cplOf(cpu), selector & 3)) raise(VECTOR_GP, errorCodeOf(selector));
  if (typeOf(d) === TASK_GATE && !isPresent(d)) raise(VECTOR_NP, errorCodeOf(selector));
  const target = typeOf(d) === TASK_GATE ? d.lo >>> 16 : selector;
  switchTask(cpu, target, { kind, ip: cpu.i32[S.HELPER_ARG1 >> 2]!, errorCode: -1, ext: 0 });
  return S.EXIT_BRANCH;
}

export const farJump: Helper = (cpu, selector, bits) => {
  const lo = offsetLow(cpu, bits);
  if (hasParagraphSegments(cpu)) {
    commitRealCode(cpu, selector, lo >>> 0);
    cpu.modeChanged();
    return S.EXIT_BRANCH;
  }
  if (isNull(selector)) raise(VECTOR_GP, 0);
  const d = readDescriptor(cpu, selector);
  if (isCodeOrData(d)) {
    checkCode(cpu, d);
    checkDirectPrivilege(cpu, selector, d);
    checkCodePresent(d);
    const hi = checkTarget(cpu, d, lo, offsetHigh(cpu, bits));
    commitCode(cpu, selector, d, cplOf(cpu), lo, hi);
  } else if (isTask(d)) {
    return switchByTransfer(cpu, selector, d, 'jump');
  } else {
    const gate = readCallGate(cpu, selector, d);
    const code = readGateTarget(cpu, gate);
    if (!isConforming(code) && dplOf(code) !== cplOf(cpu)) raise(VECTOR_GP, errorCodeOf(gate.selector));
    const hi = checkTarget(cpu, code, gate.lo, gate.hi);
    commitCode(cpu, gate.selector, code, cplOf(cpu), gate.lo, hi);
  }
  cpu.modeChanged();
  return S.EXIT_BRANCH;
};

function pushReturn(cpu: CpuContext, stack: Stack, bits: number): void {
  pushValue(cpu, stack, bits, currentCode(cpu));
  pushValue(cpu, stack, bits, cpu.i32[S.HELPER_ARG1 >> 2]!, cpu.i32[(S.HELPER_ARG1 >> 2) + 1]!);
}

/** Through a gate to an inner level: the new stack comes from the TSS and takes SS:RSP, parameters and CS:RIP. */
function callInner(cpu: CpuContext, gate: Gate, code: Descriptor): void {
  const level = dplOf(code);
  const hi = checkTarget(cpu, code, gate.lo, gate.hi);
  const old = currentStack(cpu);
  const oldSelector = selectorOf(cpu, S.SS);
  if (gate.bits === 64) {
    const stack = flatStack(readLongStackPointer(cpu, level, 0), level < 3, 0);
    pushValue(cpu, stack, 64, oldSelector);
    pushValue(cpu, stack, 64, cpu.i32[S.RSP >> 2]!, cpu.i32[(S.RSP >> 2) + 1]!);
    pushReturn(cpu, stack, 64);
    commitCode(cpu, gate.selector, code, level, gate.lo, hi);
    setNullSegment(cpu, S.SS, level);
    commitPointer(cpu, stack);
    return;
  }
  const inner = readInnerStack(cpu, level, 0);
  const segment = readInnerStackSegment(cpu, inner.selector, level, 0);
  const stack = descriptorStack(inner.pointer, segment, level < 3, 0);
  pushValue(cpu, stack, gate.bits, oldSelector);
  pushValue(cpu, stack, gate.bits, cpu.i32[S.RSP >> 2]!);
  const parameters = [];
  for (let i = 0; i < gate.parameters; i++) parameters.push(popValue(cpu, old, gate.bits));
  while (parameters.length > 0) pushValue(cpu, stack, gate.bits, parameters.pop()!);
  pushReturn(cpu, stack, gate.bits);
  markAccessed(cpu, segment);
  commitCode(cpu, gate.selector, code, level, gate.lo, hi);
  loadCache(cpu, S.SS, inner.selector, segment);
  commitPointer(cpu, stack);
}

function callThroughGate(cpu: CpuContext, selector: number, d: Descriptor): void {
  const gate = readCallGate(cpu, selector, d);
  const code = readGateTarget(cpu, gate);
  if (!isConforming(code) && dplOf(code) < cplOf(cpu)) {
    callInner(cpu, gate, code);
    return;
  }
  const hi = checkTarget(cpu, code, gate.lo, gate.hi);
  const stack = currentStack(cpu);
  pushReturn(cpu, stack, gate.bits);
  commitPointer(cpu, stack);
  commitCode(cpu, gate.selector, code, cplOf(cpu), gate.lo, hi);
}

export const farCall: Helper = (cpu, selector, bits) => {
  const lo = offsetLow(cpu, bits);
  if (hasParagraphSegments(cpu)) {
    const stack = currentStack(cpu);
    pushReturn(cpu, stack, bits);
    commitRealCode(cpu, selector, lo >>> 0);
    commitPointer(cpu, stack);
    cpu.modeChanged();
    return S.EXIT_BRANCH;
  }
  if (isNull(selector)) raise(VECTOR_GP, 0);
  const d = readDescriptor(cpu, selector);
  if (isCodeOrData(d)) {
    checkCode(cpu, d);
    checkDirectPrivilege(cpu, selector, d);
    checkCodePresent(d);
    const hi = checkTarget(cpu, d, lo, offsetHigh(cpu, bits));
    // The return address goes where the called code will look for it.
    const stack = currentStack(cpu, 0, isLongMode(cpu) && isLongCode(d));
    pushReturn(cpu, stack, bits);
    commitPointer(cpu, stack);
    commitCode(cpu, selector, d, cplOf(cpu), lo, hi);
  } else if (isTask(d)) {
    return switchByTransfer(cpu, selector, d, 'call');
  } else {
    callThroughGate(cpu, selector, d);
  }
  cpu.modeChanged();
  return S.EXIT_BRANCH;
};

/** The code segment that a far return or IRET goes back to. */
export function readReturnCode(cpu: CpuContext, selector: number): Descriptor {
  if (isNull(selector)) raise(VECTOR_GP, 0);
  const rpl = selector & 3;
  const d = readDescriptor(cpu, selector);
  checkCode(cpu, d);
  const dpl = dplOf(d);
  if (rpl < cplOf(cpu) || (isConforming(d) ? dpl > rpl : dpl !== rpl))
    raise(VECTOR_GP, errorCodeOf(selector));
  checkCodePresent(d);
  return d;
}

function returnReal(cpu: CpuContext, bits: number, release: number): number {
  const stack = currentStack(cpu);
  const ip = popValue(cpu, stack, bits);
  const selector = popValue(cpu, stack, bits) & 0xffff;
  commitRealCode(cpu, selector, ip);
  skip(stack, release);
  commitPointer(cpu, stack);
  cpu.modeChanged();
  return S.EXIT_BRANCH;
}

export const farReturn: Helper = (cpu, bits, release) => {
  if (hasParagraphSegments(cpu)) return returnReal(cpu, bits, release);
  const stack = currentStack(cpu);
  const lo = popValue(cpu, stack, bits);
  const popHigh = cpu.hi;
  const selector = popValue(cpu, stack, bits) & 0xffff;
  const d = readReturnCode(cpu, selector);
  const hi = checkTarget(cpu, d, lo, popHigh);
  skip(stack, release);
  const rpl = selector & 3;
  if (rpl === cplOf(cpu)) {
    commitPointer(cpu, stack);
    commitCode(cpu, selector, d, rpl, lo, hi);
    cpu.modeChanged();
    return S.EXIT_BRANCH;
  }
  const pointerLow = popValue(cpu, stack, bits);
  const pointerHigh = cpu.hi;
  const stackSelector = popValue(cpu, stack, bits) & 0xffff;
  const segment = checkOuterStack(cpu, stackSelector, rpl, isLongMode(cpu) && isLongCode(d));
  commitCode(cpu, selector, d, rpl, lo, hi);
  loadOuterStack(cpu, stackSelector, segment);
  setOuterPointer(cpu, pointerLow, pointerHigh, release);
  dropInnerData(cpu, rpl);
  cpu.modeChanged();
  return S.EXIT_BRANCH;
};

function loadOuterStack(cpu: CpuContext, selector: number, segment: Descriptor | undefined): void {
  if (segment === undefined) {
    setNullSegment(cpu, S.SS, selector);
    return;
  }
  markAccessed(cpu, segment);
  loadCache(cpu, S.SS, selector, segment);
}

/** RSP of the outer level, past the parameters that the return releases there too. */
function setOuterPointer(cpu: CpuContext, lo: number, hi: number, release: number): void {
  cpu.i32[S.RSP >> 2] = lo;
  cpu.i32[(S.RSP >> 2) + 1] = hi;
  const stack = currentStack(cpu);
  skip(stack, release);
  commitPointer(cpu, stack);
}
