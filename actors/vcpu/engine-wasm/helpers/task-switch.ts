// Hardware task switches: far JMP and CALL to a TSS or task gate, task gates of the IDT, IRET with NT. Intel SDM vol. 3
// §7.3. Not in IA-32e mode. The debug trap by the T bit is left out. Faults before the commit belong to the old task,
// later ones (#TS, #NP, #SS by the new task's selectors) to the new one.

import { CR0_PG, CR0_TS } from '#shared/x86/control-bits.js';
import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { type CpuContext, raise } from '../cpu-context.js';
import {
  attributesOfDescriptor,
  baseOfDescriptor,
  type Descriptor,
  dplOf,
  errorCodeOf,
  findDescriptor,
  isCode,
  isCodeOrData,
  isConforming,
  isNull,
  isPresent,
  isReadable,
  isWritableData,
  limitOfDescriptor,
  loadCache,
  markAccessed,
  readDescriptor,
  typeOf,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_SS,
  VECTOR_TS,
} from './descriptor.js';
import { commitPointer, currentStack, pushValue } from './stack-frame.js';
import {
  attributesOf,
  baseOf,
  isLongMode,
  limitOf,
  readRflags,
  selectorOf,
  setNullSegment,
  setSegment,
  setWords,
  writeRflags,
} from './state-access.js';
import { layoutOf, readTask, saveTask, TSS_LINK, type TaskState } from './task-state.js';
import { isVirtual8086Image, loadVirtual8086Segment } from './virtual-8086.js';

export const TASK_GATE = 5;
const BUSY = 2;
const WIDE = 8;
const LDT = 2;
const DR7 = S.DR + 7 * 8;
/** L0–L3 and LE. */
const DR7_LOCAL = 0x155;

export interface TaskSwitch {
  readonly kind: 'jump' | 'call' | 'event' | 'return';
  /** Where the old task goes on. */
  readonly ip: number;
  /** −1: none. */
  readonly errorCode: number;
  /** EXT bit of error codes. */
  readonly ext: number;
  readonly setRf?: boolean;
}

/** A TSS or task gate that a far transfer may name. */
export function isTask(d: Descriptor): boolean {
  return typeOf(d) === TASK_GATE || (typeOf(d) & 5) === 1;
}

/** The TSS to go to, present and of the state (busy or not) that this kind of switch needs. */
function readTarget(cpu: CpuContext, selector: number, how: TaskSwitch): Descriptor {
  const vector = how.kind === 'return' ? VECTOR_TS : VECTOR_GP;
  const code = errorCodeOf(selector) | how.ext;
  if (isNull(selector) || (selector & 4) !== 0) raise(vector, code);
  const d = readDescriptor(cpu, selector, vector, how.ext);
  const isTss = !isCodeOrData(d) && (typeOf(d) & 5) === 1;
  const busy = (typeOf(d) & BUSY) !== 0;
  if (!isTss || isLongMode(cpu) || busy !== (how.kind === 'return')) raise(vector, code);
  if (!isPresent(d)) raise(VECTOR_NP, code);
  if (limitOfDescriptor(d) < layoutOf((typeOf(d) & WIDE) !== 0).limit) raise(VECTOR_TS, code);
  return d;
}

function setBusy(cpu: CpuContext, d: Descriptor, busy: boolean): void {
  const type = (d.hi >> 8) & 0xff;
  cpu.writeU8(d.address + 5, busy ? type | BUSY : type & ~BUSY, true);
}

/** Saves the old task; its flags lose NT when it returns. */
function leaveTask(cpu: CpuContext, how: TaskSwitch): void {
  const wide = (attributesOf(cpu, S.TR) & WIDE) !== 0;
  const base = baseOf(cpu, S.TR);
  cpu.probe(base, layoutOf(wide).limit + 1, true, true);
  let flags = readRflags(cpu) & ~F.RF;
  if (how.kind === 'return') flags &= ~F.NT;
  if (how.setRf === true) flags |= F.RF;
  saveTask(cpu, base, wide, how.ip, flags);
  if (how.kind === 'jump' || how.kind === 'return') {
    const old = findDescriptor(cpu, selectorOf(cpu, S.TR));
    if (old !== undefined) setBusy(cpu, old, false);
  }
}

/** Registers, flags and raw selectors; no check has been made of these yet. */
function loadRegisters(cpu: CpuContext, state: TaskState, how: TaskSwitch): void {
  if (state.cr3 !== undefined && (cpu.i32[S.CR0 >> 2]! & CR0_PG) !== 0) {
    setWords(cpu, S.CR3, state.cr3, 0);
    cpu.flushTlb(false);
  }
  cpu.i32[S.CR0 >> 2] = cpu.i32[S.CR0 >> 2]! | CR0_TS;
  state.registers.forEach((value, i) => setWords(cpu, i * 8, value, 0));
  setWords(cpu, S.RIP, state.ip, 0);
  const nested = how.kind === 'call' || how.kind === 'event' ? F.NT : 0;
  writeRflags(cpu, state.flags | nested, F.WRITABLE_FLAGS);
  cpu.i32[DR7 >> 2] = cpu.i32[DR7 >> 2]! & ~DR7_LOCAL;
  for (let s = S.ES; s <= S.GS; s++) setNullSegment(cpu, s, state.selectors[s]!);
  setNullSegment(cpu, S.LDTR, state.localTable);
}

function loadLocalTable(cpu: CpuContext, selector: number, ext: number): void {
  if (isNull(selector)) return;
  const code = errorCodeOf(selector) | ext;
  if ((selector & 4) !== 0) raise(VECTOR_TS, code);
  const d = readDescriptor(cpu, selector, VECTOR_TS, ext);
  if (isCodeOrData(d) || typeOf(d) !== LDT || !isPresent(d)) raise(VECTOR_TS, code);
  setSegment(cpu, S.LDTR, selector, baseOfDescriptor(d), 0, limitOfDescriptor(d), attributesOfDescriptor(d));
}

function loadCode(cpu: CpuContext, selector: number, ext: number): void {
  const code = errorCodeOf(selector) | ext;
  if (isNull(selector)) raise(VECTOR_TS, code);
  const d = readDescriptor(cpu, selector, VECTOR_TS, ext);
  const rpl = selector & 3;
  if (!isCode(d) || (isConforming(d) ? dplOf(d) > rpl : dplOf(d) !== rpl)) raise(VECTOR_TS, code);
  if (!isPresent(d)) raise(VECTOR_NP, code);
  markAccessed(cpu, d);
  loadCache(cpu, S.CS, selector, d);
}

function loadStack(cpu: CpuContext, selector: number, cpl: number, ext: number): void {
  const code = errorCodeOf(selector) | ext;
  if (isNull(selector)) raise(VECTOR_TS, code);
  const d = readDescriptor(cpu, selector, VECTOR_TS, ext);
  if ((selector & 3) !== cpl || dplOf(d) !== cpl || !isWritableData(d)) raise(VECTOR_TS, code);
  if (!isPresent(d)) raise(VECTOR_SS, code);
  markAccessed(cpu, d);
  loadCache(cpu, S.SS, selector, d);
}

function loadData(cpu: CpuContext, register: number, selector: number, cpl: number, ext: number): void {
  if (isNull(selector)) return;
  const code = errorCodeOf(selector) | ext;
  const d = readDescriptor(cpu, selector, VECTOR_TS, ext);
  const inner = !(isCode(d) && isConforming(d)) && Math.max(cpl, selector & 3) > dplOf(d);
  if (!isReadable(d) || inner) raise(VECTOR_TS, code);
  if (!isPresent(d)) raise(VECTOR_NP, code);
  markAccessed(cpu, d);
  loadCache(cpu, register, selector, d);
}

function loadSegments(cpu: CpuContext, state: TaskState, ext: number): void {
  if (isVirtual8086Image(state.flags)) {
    for (let s = S.ES; s <= S.GS; s++) loadVirtual8086Segment(cpu, s, state.selectors[s]!);
    cpu.i32[S.CPL >> 2] = 3;
    return;
  }
  const cpl = state.selectors[S.CS]! & 3;
  cpu.i32[S.CPL >> 2] = cpl;
  loadLocalTable(cpu, state.localTable, ext);
  loadCode(cpu, state.selectors[S.CS]!, ext);
  loadStack(cpu, state.selectors[S.SS]!, cpl, ext);
  for (const s of [S.DS, S.ES, S.FS, S.GS]) loadData(cpu, s, state.selectors[s]!, cpl, ext);
}

/** Switches to the task of a TSS selector. */
export function switchTask(cpu: CpuContext, selector: number, how: TaskSwitch): void {
  const d = readTarget(cpu, selector, how);
  const wide = (typeOf(d) & WIDE) !== 0;
  const base = baseOfDescriptor(d);
  const link = selectorOf(cpu, S.TR);
  cpu.probe(base, layoutOf(wide).limit + 1, how.kind !== 'jump', true);
  leaveTask(cpu, how);
  if (how.kind === 'call' || how.kind === 'event') cpu.writeU16(base + TSS_LINK, link, true);
  if (how.kind !== 'return') setBusy(cpu, d, true);
  const state = readTask(cpu, base, wide);
  setSegment(cpu, S.TR, selector, base, 0, limitOfDescriptor(d), attributesOfDescriptor(d) | BUSY);
  loadRegisters(cpu, state, how);
  try {
    loadSegments(cpu, state, how.ext);
    if (how.errorCode !== -1) {
      const stack = currentStack(cpu, how.ext);
      pushValue(cpu, stack, wide ? 32 : 16, how.errorCode);
      commitPointer(cpu, stack);
    }
    if (state.ip >>> 0 > limitOf(cpu, S.CS)) raise(VECTOR_GP, how.ext);
  } finally {
    cpu.modeChanged();
  }
}
