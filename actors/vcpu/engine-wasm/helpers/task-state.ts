// A task's registers as its TSS holds them, 16 and 32 bits wide. Intel SDM vol. 3 §7.2.1, §7.6.

import * as S from '#shared/x86/cpu-state.js';
import type { CpuContext } from '../cpu-context.js';
import { selectorOf } from './state-access.js';

/** Offsets in a TSS. General registers and segment registers (ES CS SS DS, then FS GS) follow one another. */
interface TaskLayout {
  readonly bytes: 2 | 4;
  readonly ip: number;
  readonly flags: number;
  readonly registers: number;
  readonly segments: number;
  readonly segmentCount: 4 | 6;
  readonly localTable: number;
  /** Least limit of the segment. */
  readonly limit: number;
}

const LAYOUT_16: TaskLayout = {
  bytes: 2,
  ip: 0x0e,
  flags: 0x10,
  registers: 0x12,
  segments: 0x22,
  segmentCount: 4,
  localTable: 0x2a,
  limit: 0x2b,
};

const LAYOUT_32: TaskLayout = {
  bytes: 4,
  ip: 0x20,
  flags: 0x24,
  registers: 0x28,
  segments: 0x48,
  segmentCount: 6,
  localTable: 0x60,
  limit: 0x67,
};

export const TSS_CR3 = 0x1c;
export const TSS_LINK = 0;

export const layoutOf = (wide: boolean): TaskLayout => (wide ? LAYOUT_32 : LAYOUT_16);

/** What a switch loads. */
export interface TaskState {
  readonly ip: number;
  readonly flags: number;
  readonly registers: readonly number[];
  /** ES CS SS DS FS GS. */
  readonly selectors: readonly number[];
  readonly localTable: number;
  /** Undefined in a 16-bit TSS. */
  readonly cr3: number | undefined;
}

function readField(cpu: CpuContext, address: number, bytes: number): number {
  return bytes === 4 ? cpu.readU32(address, true) : cpu.readU16(address, true);
}

function writeField(cpu: CpuContext, address: number, bytes: number, value: number): void {
  if (bytes === 4) cpu.writeU32(address, value >>> 0, true);
  else cpu.writeU16(address, value & 0xffff, true);
}

/** Saves the running task. The caller has probed the segment for writes. */
export function saveTask(cpu: CpuContext, base: number, wide: boolean, ip: number, flags: number): void {
  const layout = layoutOf(wide);
  writeField(cpu, base + layout.ip, layout.bytes, ip);
  writeField(cpu, base + layout.flags, layout.bytes, flags);
  for (let i = 0; i < 8; i++)
    writeField(cpu, base + layout.registers + i * layout.bytes, layout.bytes, cpu.i32[i * 2]!);
  for (let s = S.ES; s < layout.segmentCount; s++) {
    cpu.writeU16(base + layout.segments + s * layout.bytes, selectorOf(cpu, s), true);
  }
}

export function readTask(cpu: CpuContext, base: number, wide: boolean): TaskState {
  const layout = layoutOf(wide);
  const field = (offset: number): number => readField(cpu, base + offset, layout.bytes);
  return {
    ip: field(layout.ip),
    flags: field(layout.flags),
    registers: Array.from({ length: 8 }, (_, i) => field(layout.registers + i * layout.bytes)),
    selectors: Array.from({ length: 6 }, (_, s) =>
      s < layout.segmentCount ? cpu.readU16(base + layout.segments + s * layout.bytes, true) : 0,
    ),
    localTable: cpu.readU16(base + layout.localTable, true),
    cr3: wide ? cpu.readU32(base + TSS_CR3, true) : undefined,
  };
}
