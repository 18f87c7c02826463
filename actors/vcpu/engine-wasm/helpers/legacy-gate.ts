// Protected-mode events outside IA-32e mode: 16 and 32-bit interrupt and trap gates. Intel SDM vol. 3 §6.12.
// A task gate switches tasks; from virtual-8086 mode the data segments are pushed too (§20.3).

import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { type CpuContext, raise } from '../cpu-context.js';
import { checkTarget, commitCode } from './code-segment.js';
import {
  type Descriptor,
  dplOf,
  errorCodeOf,
  isCode,
  isConforming,
  isNull,
  isPresent,
  loadCache,
  markAccessed,
  readDescriptor,
  VECTOR_GP,
  VECTOR_NP,
} from './descriptor.js';
import { EVENT_CLEARS, extOf, type GateEvent, idtErrorCode, pushedFlags } from './gate-event.js';
import {
  commitPointer,
  currentStack,
  descriptorStack,
  pushValue,
  readInnerStack,
  readInnerStackSegment,
  type Stack,
} from './stack-frame.js';
import { cplOf, getAddress, isVirtual8086, selectorOf, setNullSegment, writeRflags } from './state-access.js';
import { switchTask, TASK_GATE } from './task-switch.js';
import { pushDataSegments } from './virtual-8086.js';

const INTERRUPT_GATE_16 = 6;
const TRAP_GATE_16 = 7;
const INTERRUPT_GATE = 14;
const TRAP_GATE = 15;

interface TaskGate {
  readonly task: number;
}

interface LegacyGate {
  readonly selector: number;
  readonly offset: number;
  readonly bits: 16 | 32;
  readonly clearsIf: boolean;
}

function readGate(cpu: CpuContext, event: GateEvent): LegacyGate | TaskGate {
  const at = event.vector * 8;
  if (at + 7 > cpu.i32[S.IDTR_LIMIT >> 2]!) raise(VECTOR_GP, idtErrorCode(event));
  const address = getAddress(cpu, S.IDTR_BASE) + at;
  const lo = cpu.readU32(address, true);
  const hi = cpu.readU32(address + 4, true);
  const type = (hi >> 8) & 31;
  const wide = type === INTERRUPT_GATE || type === TRAP_GATE;
  const task = type === TASK_GATE;
  if (!wide && !task && type !== INTERRUPT_GATE_16 && type !== TRAP_GATE_16)
    raise(VECTOR_GP, idtErrorCode(event));
  if (event.software && ((hi >> 13) & 3) < cplOf(cpu)) raise(VECTOR_GP, idtErrorCode(event));
  if ((hi & 0x8000) === 0) raise(VECTOR_NP, idtErrorCode(event));
  if (task) return { task: lo >>> 16 };
  return {
    selector: lo >>> 16,
    offset: wide ? (hi & 0xffff_0000) | (lo & 0xffff) : lo & 0xffff,
    bits: wide ? 32 : 16,
    clearsIf: type === INTERRUPT_GATE || type === INTERRUPT_GATE_16,
  };
}

function readCode(cpu: CpuContext, selector: number, ext: number): Descriptor {
  if (isNull(selector)) raise(VECTOR_GP, ext);
  const d = readDescriptor(cpu, selector, VECTOR_GP, ext);
  if (!isCode(d) || dplOf(d) > cplOf(cpu)) raise(VECTOR_GP, errorCodeOf(selector) | ext);
  if (!isPresent(d)) raise(VECTOR_NP, errorCodeOf(selector) | ext);
  return d;
}

function pushReturn(cpu: CpuContext, stack: Stack, gate: LegacyGate, event: GateEvent): void {
  pushValue(cpu, stack, gate.bits, pushedFlags(cpu, event));
  pushValue(cpu, stack, gate.bits, selectorOf(cpu, S.CS));
  pushValue(cpu, stack, gate.bits, event.lo);
  if (event.errorCode !== -1) pushValue(cpu, stack, gate.bits, event.errorCode);
}

/** To an inner level: SS:ESP from the TSS. */
function enterInner(cpu: CpuContext, gate: LegacyGate, code: Descriptor, event: GateEvent): void {
  const ext = extOf(event);
  const level = dplOf(code);
  const inner = readInnerStack(cpu, level, ext);
  const segment = readInnerStackSegment(cpu, inner.selector, level, ext);
  const stack = descriptorStack(inner.pointer, segment, level < 3, ext);
  checkTarget(cpu, code, gate.offset, 0, ext);
  const fromVirtual8086 = isVirtual8086(cpu);
  if (fromVirtual8086) pushDataSegments(cpu, stack, gate.bits);
  pushValue(cpu, stack, gate.bits, selectorOf(cpu, S.SS));
  pushValue(cpu, stack, gate.bits, cpu.i32[S.RSP >> 2]!);
  pushReturn(cpu, stack, gate, event);
  markAccessed(cpu, segment);
  commitCode(cpu, gate.selector, code, level, gate.offset, 0);
  loadCache(cpu, S.SS, inner.selector, segment);
  commitPointer(cpu, stack);
  if (fromVirtual8086) for (const register of [S.DS, S.ES, S.FS, S.GS]) setNullSegment(cpu, register, 0);
}

export function deliverLegacy(cpu: CpuContext, event: GateEvent): void {
  const gate = readGate(cpu, event);
  const ext = extOf(event);
  if ('task' in gate) {
    switchTask(cpu, gate.task, {
      kind: 'event',
      ip: event.lo,
      errorCode: event.errorCode,
      ext,
      setRf: event.setRf,
    });
    return;
  }
  const code = readCode(cpu, gate.selector, ext);
  const inner = !isConforming(code) && dplOf(code) < cplOf(cpu);
  if (isVirtual8086(cpu) && (!inner || dplOf(code) !== 0)) raise(VECTOR_GP, errorCodeOf(gate.selector) | ext);
  if (inner) {
    enterInner(cpu, gate, code, event);
  } else {
    const stack = currentStack(cpu, ext);
    checkTarget(cpu, code, gate.offset, 0, ext);
    pushReturn(cpu, stack, gate, event);
    commitCode(cpu, gate.selector, code, cplOf(cpu), gate.offset, 0);
    commitPointer(cpu, stack);
  }
  writeRflags(cpu, 0, EVENT_CLEARS | (gate.clearsIf ? F.IF : 0));
}
