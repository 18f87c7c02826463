// What far RET and IRET share when they go to an outer privilege level: the stack segment to load, and the data
// segments that the outer level may not keep. Intel SDM vol. 3 §5.8.6, vol. 2 "RET", "IRET".

import * as S from '#shared/x86/cpu-state.js';
import { type CpuContext, raise } from '../cpu-context.js';
import {
  type Descriptor,
  dplOf,
  errorCodeOf,
  isNull,
  isPresent,
  isWritableData,
  readDescriptor,
  VECTOR_GP,
  VECTOR_SS,
} from './descriptor.js';
import { attributesOf, ATTRIBUTE_P, setSegment } from './state-access.js';

const TYPE_CODE_CONFORMING = 0x0c;

/** The stack segment for privilege `rpl`; undefined for the null selector that 64-bit code may have below CPL 3. */
export function checkOuterStack(
  cpu: CpuContext,
  selector: number,
  rpl: number,
  toLongCode: boolean,
): Descriptor | undefined {
  if (isNull(selector)) {
    if (!toLongCode || rpl === 3 || (selector & 3) !== rpl) raise(VECTOR_GP, 0);
    return undefined;
  }
  const d = readDescriptor(cpu, selector);
  if ((selector & 3) !== rpl || dplOf(d) !== rpl || !isWritableData(d))
    raise(VECTOR_GP, errorCodeOf(selector));
  if (!isPresent(d)) raise(VECTOR_SS, errorCodeOf(selector));
  return d;
}

/** Nulls data segments of an inner level after CPL went outward. */
export function dropInnerData(cpu: CpuContext, cpl: number): void {
  for (const register of [S.ES, S.DS, S.FS, S.GS]) {
    const attributes = attributesOf(cpu, register);
    if ((attributes & ATTRIBUTE_P) === 0) continue;
    const conformingCode = (attributes & TYPE_CODE_CONFORMING) === TYPE_CODE_CONFORMING;
    if (!conformingCode && ((attributes >> 5) & 3) < cpl) nullDataSegment(cpu, register);
  }
}

/** The selector goes, the hidden base stays: 64-bit code may still count on what an MSR set for FS and GS. */
function nullDataSegment(cpu: CpuContext, register: number): void {
  const at = (S.SEGMENT + register * S.SEGMENT_BYTES + S.SEGMENT_BASE) >> 2;
  setSegment(cpu, register, 0, cpu.i32[at]!, cpu.i32[at + 1]!, 0, 0);
}
