// Virtual-8086 mode: 16-bit code at CPL 3 whose selectors are paragraphs. Intel SDM vol. 3 ch. 20. The extensions of
// CR4.VME are not announced.

import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import type { CpuContext } from '../cpu-context.js';
import { popValue, pushValue, type Stack } from './stack-frame.js';
import { selectorOf, setSegment, setWords, writeRflags } from './state-access.js';

/** Present, DPL 3, writable data, accessed; 16-bit. CS too. */
const ATTRIBUTES = 0xf3;
const LIMIT = 0xffff;

export function loadVirtual8086Segment(cpu: CpuContext, register: number, selector: number): void {
  setSegment(cpu, register, selector, selector << 4, 0, LIMIT, ATTRIBUTES);
}

/** IRET at CPL 0 with VM in the image: CS:EIP and EFLAGS are popped already; ESP, SS, ES, DS, FS, GS follow. */
export function enterVirtual8086(
  cpu: CpuContext,
  stack: Stack,
  ip: number,
  code: number,
  flags: number,
): void {
  const pointer = popValue(cpu, stack, 32);
  const selectors = [S.SS, S.ES, S.DS, S.FS, S.GS].map((register) => ({
    register,
    selector: popValue(cpu, stack, 32) & 0xffff,
  }));
  writeRflags(cpu, flags, F.WRITABLE_FLAGS);
  for (const { register, selector } of selectors) loadVirtual8086Segment(cpu, register, selector);
  loadVirtual8086Segment(cpu, S.CS, code);
  setWords(cpu, S.RSP, pointer, 0);
  setWords(cpu, S.RIP, ip & 0xffff, 0);
  cpu.i32[S.CPL >> 2] = 3;
  cpu.modeChanged();
}

/** An event pushes the data segments before SS:ESP. */
export function pushDataSegments(cpu: CpuContext, stack: Stack, bits: number): void {
  for (const register of [S.GS, S.FS, S.DS, S.ES]) pushValue(cpu, stack, bits, selectorOf(cpu, register));
}

/** The flags of a task that runs in virtual-8086 mode. */
export const isVirtual8086Image = (flags: number): boolean => (flags & F.VM) !== 0;
