// IA-32e mode events: 16-byte interrupt and trap gates, IST, the 64-bit frame. Intel SDM vol. 3 §6.14.

import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { type CpuContext, raise } from '../cpu-context.js';
import { commitCode } from './code-segment.js';
import {
  type Descriptor,
  dplOf,
  errorCodeOf,
  isCode,
  isConforming,
  isLongCode,
  isNull,
  isPresent,
  readDescriptor,
  VECTOR_GP,
  VECTOR_NP,
} from './descriptor.js';
import { EVENT_CLEARS, extOf, type GateEvent, idtErrorCode, pushedFlags } from './gate-event.js';
import { commitPointer, flatStack, pushValue, readLongStackPointer, type Stack } from './stack-frame.js';
import {
  cplOf,
  getAddress,
  isCanonicalHigh,
  selectorOf,
  setNullSegment,
  writeRflags,
} from './state-access.js';

const INTERRUPT_GATE = 14;
const TRAP_GATE = 15;
const FIRST_IST_SLOT = 3;

function readCode(cpu: CpuContext, selector: number, ext: number): Descriptor {
  if (isNull(selector)) raise(VECTOR_GP, ext);
  const d = readDescriptor(cpu, selector, VECTOR_GP, ext);
  if (!isCode(d) || !isLongCode(d) || dplOf(d) > cplOf(cpu)) raise(VECTOR_GP, errorCodeOf(selector) | ext);
  if (!isPresent(d)) raise(VECTOR_NP, errorCodeOf(selector) | ext);
  return d;
}

function chooseStack(cpu: CpuContext, level: number, ist: number, ext: number): Stack {
  const supervisor = level < 3;
  let pointer: number;
  if (ist !== 0) pointer = readLongStackPointer(cpu, FIRST_IST_SLOT + ist, ext);
  else if (level < cplOf(cpu)) pointer = readLongStackPointer(cpu, level, ext);
  else pointer = getAddress(cpu, S.RSP);
  return flatStack(pointer - (((pointer % 16) + 16) % 16), supervisor, ext);
}

function pushFrame(cpu: CpuContext, stack: Stack, event: GateEvent): void {
  pushValue(cpu, stack, 64, selectorOf(cpu, S.SS));
  pushValue(cpu, stack, 64, cpu.i32[S.RSP >> 2]!, cpu.i32[(S.RSP >> 2) + 1]!);
  pushValue(cpu, stack, 64, pushedFlags(cpu, event));
  pushValue(cpu, stack, 64, selectorOf(cpu, S.CS));
  pushValue(cpu, stack, 64, event.lo, event.hi);
  if (event.errorCode !== -1) pushValue(cpu, stack, 64, event.errorCode);
}

export function deliverLong(cpu: CpuContext, event: GateEvent): void {
  const ext = extOf(event);
  const at = event.vector * 16;
  if (at + 15 > cpu.i32[S.IDTR_LIMIT >> 2]!) raise(VECTOR_GP, idtErrorCode(event));
  const address = getAddress(cpu, S.IDTR_BASE) + at;
  const lo = cpu.readU32(address, true);
  const hi = cpu.readU32(address + 4, true);
  const type = (hi >> 8) & 31;
  if (type !== INTERRUPT_GATE && type !== TRAP_GATE) raise(VECTOR_GP, idtErrorCode(event));
  if (event.software && ((hi >> 13) & 3) < cplOf(cpu)) raise(VECTOR_GP, idtErrorCode(event));
  if ((hi & 0x8000) === 0) raise(VECTOR_NP, idtErrorCode(event));
  const targetHigh = cpu.readU32(address + 8, true) | 0;
  const selector = lo >>> 16;
  const code = readCode(cpu, selector, ext);
  const level = isConforming(code) ? cplOf(cpu) : dplOf(code);
  if (!isCanonicalHigh(targetHigh)) raise(VECTOR_GP, ext);
  const stack = chooseStack(cpu, level, hi & 7, ext);
  pushFrame(cpu, stack, event);
  const inner = level < cplOf(cpu);
  commitCode(cpu, selector, code, level, (hi & 0xffff_0000) | (lo & 0xffff), targetHigh);
  if (inner) setNullSegment(cpu, S.SS, level);
  commitPointer(cpu, stack);
  writeRflags(cpu, 0, EVENT_CLEARS | (type === INTERRUPT_GATE ? F.IF : 0));
}
