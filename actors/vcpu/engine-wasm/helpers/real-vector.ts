// Real-mode events: the interrupt vector table. Intel SDM vol. 3 §20.1.4.

import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { type CpuContext, raise } from '../cpu-context.js';
import { commitRealCode, currentCode } from './code-segment.js';
import { VECTOR_GP } from './descriptor.js';
import { commitPointer, currentStack, pushValue } from './stack-frame.js';
import { getAddress, readRflags, writeRflags } from './state-access.js';

export function deliverReal(cpu: CpuContext, vector: number, ip: number): void {
  if (vector * 4 + 3 > cpu.i32[S.IDTR_LIMIT >> 2]!) raise(VECTOR_GP);
  const address = getAddress(cpu, S.IDTR_BASE) + vector * 4;
  const targetIp = cpu.readU16(address, true);
  const selector = cpu.readU16(address + 2, true);
  const stack = currentStack(cpu);
  pushValue(cpu, stack, 16, readRflags(cpu));
  pushValue(cpu, stack, 16, currentCode(cpu));
  pushValue(cpu, stack, 16, ip);
  commitRealCode(cpu, selector, targetIp);
  commitPointer(cpu, stack);
  writeRflags(cpu, 0, F.IF | F.TF | F.AC | F.RF);
}
