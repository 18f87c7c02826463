// REP MOVS and REP STOS with DF = 0, a run of plain memory at a time: as much as lies in one page of source and
// destination. What a run cannot do (MMIO, watched pages, elements across pages, segment limits, close overlaps) is
// left to the inline loop, which does a stride and comes back. Registers are architectural after each run.

import * as S from '#shared/x86/cpu-state.js';
import type { CpuContext, Helper } from '../cpu-context.js';
import { addOffset, readOffset } from './port.js';
import { baseOf, getAddress, is64BitCode } from './state-access.js';

const PAGE_BYTES = 4096;
const TWO_32 = 0x1_0000_0000;

/** Bytes from `address` to the end of its page. */
function pageRest(address: number): number {
  return PAGE_BYTES - (((address % PAGE_BYTES) + PAGE_BYTES) % PAGE_BYTES);
}

/** Linear address of an offset, and in `cpu.lo` how many bytes of segment and address space follow it; −1: none. */
function runAddress(cpu: CpuContext, segment: number, offset: number, addressBits: number): number {
  const space = addressBits === 16 ? 0x1_0000 - offset : addressBits === 32 ? TWO_32 - offset : PAGE_BYTES;
  if (is64BitCode(cpu)) {
    cpu.lo = space;
    return segment < S.FS ? offset : baseOf(cpu, segment) + offset;
  }
  const at = S.SEGMENT + segment * S.SEGMENT_BYTES;
  const high = getAddress(cpu, at + S.SEGMENT_HIGH);
  if (offset < getAddress(cpu, at + S.SEGMENT_LOW) || offset > high) {
    cpu.lo = 0;
    return 0;
  }
  cpu.lo = Math.min(space, high - offset + 1);
  return (baseOf(cpu, segment) + offset) % TWO_32;
}

/** Copies forward as single elements would: an overlap behind the source repeats what was written. False: too close. */
function copyForward(
  memory: Uint8Array,
  to: number,
  from: number,
  length: number,
  elementBytes: number,
): boolean {
  const distance = to - from;
  if (distance <= 0 || distance >= length) {
    memory.copyWithin(to, from, from + length);
    return true;
  }
  if (distance < elementBytes) return false;
  for (let done = 0; done < length; done += distance) {
    const part = Math.min(distance, length - done);
    memory.copyWithin(to + done, from + done, from + done + part);
  }
  return true;
}

export const repMovs: Helper = (cpu, shape, segment) => {
  const bytes = shape & 0xff;
  const addressBits = shape >> 8;
  for (;;) {
    const count = readOffset(cpu, S.RCX, addressBits);
    if (count === 0) return S.EXIT_NONE;
    const source = runAddress(cpu, segment, readOffset(cpu, S.RSI, addressBits), addressBits);
    const sourceRoom = Math.min(cpu.lo, pageRest(source));
    const destination = runAddress(cpu, S.ES, readOffset(cpu, S.RDI, addressBits), addressBits);
    const room = Math.min(sourceRoom, cpu.lo, pageRest(destination));
    const elements = Math.floor(Math.min(room, wanted(count, bytes)) / bytes);
    if (elements === 0) return S.EXIT_NONE;
    const from = cpu.translateRun(source, false);
    if (from < 0) return S.EXIT_NONE;
    const to = cpu.translateRun(destination, true);
    if (to < 0) return S.EXIT_NONE;
    const length = elements * bytes;
    if (!copyForward(cpu.arena, to, from, length, bytes)) return S.EXIT_NONE;
    addOffset(cpu, S.RSI, addressBits, length);
    addOffset(cpu, S.RDI, addressBits, length);
    addOffset(cpu, S.RCX, addressBits, -elements);
    if (elements !== count && cpu.i32[S.PENDING >> 2] !== 0) return S.EXIT_REPEAT;
  }
};

/** A count's bytes; a count that reads as negative is a huge one. */
function wanted(count: number, bytes: number): number {
  return count < 0 ? PAGE_BYTES : count * bytes;
}

/** RAX's low `bytes`, repeated to eight. */
function pattern(cpu: CpuContext, bytes: number): bigint {
  const low = cpu.u32[S.RAX >> 2]!;
  if (bytes === 8) return cpu.i64[S.RAX >> 3]!;
  const word = bytes === 4 ? low : bytes === 2 ? (low & 0xffff) * 0x1_0001 : (low & 0xff) * 0x0101_0101;
  return word === 0 ? 0n : BigInt.asIntN(64, BigInt(word) * 0x1_0000_0001n);
}

/** Fills with RAX's low bytes. V8 fills shared memory an element at a time: so by eight bytes, or by doubling. */
function fill(cpu: CpuContext, to: number, length: number, bytes: number): void {
  if (((to | length) & 7) === 0) {
    cpu.arena64.fill(pattern(cpu, bytes), to / 8, (to + length) / 8);
    return;
  }
  const { arena } = cpu;
  arena.set(cpu.u8.subarray(S.RAX, S.RAX + bytes), to);
  for (let done = bytes; done < length; done *= 2) {
    arena.copyWithin(to + done, to, to + Math.min(done, length - done));
  }
}

export const repStos: Helper = (cpu, shape) => {
  const bytes = shape & 0xff;
  const addressBits = shape >> 8;
  for (;;) {
    const count = readOffset(cpu, S.RCX, addressBits);
    if (count === 0) return S.EXIT_NONE;
    const destination = runAddress(cpu, S.ES, readOffset(cpu, S.RDI, addressBits), addressBits);
    const room = Math.min(cpu.lo, pageRest(destination), wanted(count, bytes));
    const elements = Math.floor(room / bytes);
    if (elements === 0) return S.EXIT_NONE;
    const to = cpu.translateRun(destination, true);
    if (to < 0) return S.EXIT_NONE;
    fill(cpu, to, elements * bytes, bytes);
    addOffset(cpu, S.RDI, addressBits, elements * bytes);
    addOffset(cpu, S.RCX, addressBits, -elements);
    if (elements !== count && cpu.i32[S.PENDING >> 2] !== 0) return S.EXIT_REPEAT;
  }
};

/** A stride of an inline repetition is done: back to the instruction, past the poll of pending work. */
export const repeatString: Helper = () => S.EXIT_REPEAT;
