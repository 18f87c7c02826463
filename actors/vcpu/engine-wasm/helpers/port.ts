// IN OUT INS OUTS. Intel SDM vol. 1 §19.5, vol. 2. Above IOPL the TSS's I/O permission bitmap decides. A repetition
// moves a bounded number of elements and then comes back to the same instruction.

import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { type CpuContext, type Helper, raise } from '../cpu-context.js';
import { VECTOR_GP } from './descriptor.js';
import {
  attributesOf,
  baseOf,
  cplOf,
  getAddress,
  isRealMode,
  isVirtual8086,
  limitOf,
  linearAddress,
} from './state-access.js';

const IO_MAP_BASE = 102;
const ELEMENTS_AT_ONCE = 256;
const TWO_32 = 0x1_0000_0000;

function checkPermission(cpu: CpuContext, port: number, bytes: number): void {
  const iopl = (cpu.i32[S.RFLAGS_SYSTEM >> 2]! & F.IOPL) >> F.IOPL_SHIFT;
  // In virtual-8086 mode IOPL does not count.
  if ((cplOf(cpu) <= iopl && !isVirtual8086(cpu)) || isRealMode(cpu)) return;
  const limit = limitOf(cpu, S.TR);
  const isWideTss = (attributesOf(cpu, S.TR) & 13) === 9;
  if (!isWideTss || limit < IO_MAP_BASE + 1) raise(VECTOR_GP, 0);
  const at = cpu.readU16(baseOf(cpu, S.TR) + IO_MAP_BASE, true) + (port >> 3);
  if (at + 1 > limit) raise(VECTOR_GP, 0);
  const map = cpu.readU16(baseOf(cpu, S.TR) + at, true);
  if (((map >> (port & 7)) & ((1 << bytes) - 1)) !== 0) raise(VECTOR_GP, 0);
}

export const portIn: Helper = (cpu, port, bytes) => {
  checkPermission(cpu, port, bytes);
  cpu.i32[S.HELPER_ARG0 >> 2] = cpu.portRead(port, bytes);
  return S.EXIT_NONE;
};

export const portOut: Helper = (cpu, port, bytes, value) => {
  checkPermission(cpu, port, bytes);
  const kept = bytes === 4 ? value >>> 0 : value & ((1 << (bytes * 8)) - 1);
  cpu.portWrite(port, bytes, kept);
  return S.EXIT_NONE;
};

/** Low part of a general register at an address size, as an offset. */
export function readOffset(cpu: CpuContext, register: number, addressBits: number): number {
  if (addressBits === 64) return getAddress(cpu, register);
  return addressBits === 32 ? cpu.u32[register >> 2]! : cpu.u16[register >> 1]!;
}

/** Adds to the low part of a general register at an address size. */
export function addOffset(cpu: CpuContext, register: number, addressBits: number, by: number): void {
  if (addressBits === 16) {
    cpu.u16[register >> 1] = cpu.u16[register >> 1]! + by;
    return;
  }
  const low = cpu.u32[register >> 2]! + by;
  cpu.u32[register >> 2] = low;
  const high = cpu.i32[(register >> 2) + 1]!;
  cpu.i32[(register >> 2) + 1] = addressBits === 32 ? 0 : high + Math.floor(low / TWO_32);
}

type Transfer = (cpu: CpuContext, port: number, bytes: number, address: number) => void;

/** `shape`: bytes, address bits << 8, repeated << 16. */
function portString(
  cpu: CpuContext,
  shape: number,
  register: number,
  segment: number,
  move: Transfer,
): number {
  const bytes = shape & 0xff;
  const addressBits = (shape >> 8) & 0xff;
  const repeated = shape >> 16 !== 0;
  const port = cpu.u16[S.RDX >> 1]!;
  const step = (cpu.i32[S.RFLAGS_SYSTEM >> 2]! & F.DF) !== 0 ? -bytes : bytes;
  checkPermission(cpu, port, bytes);
  for (let done = 0; done < ELEMENTS_AT_ONCE; done++) {
    if (repeated && readOffset(cpu, S.RCX, addressBits) === 0) return S.EXIT_NONE;
    move(cpu, port, bytes, linearAddress(cpu, segment, readOffset(cpu, register, addressBits), bytes));
    addOffset(cpu, register, addressBits, step);
    if (!repeated) return S.EXIT_NONE;
    addOffset(cpu, S.RCX, addressBits, -1);
  }
  return readOffset(cpu, S.RCX, addressBits) === 0 ? S.EXIT_NONE : S.EXIT_REPEAT;
}

export const stringIn: Helper = (cpu, shape) =>
  portString(cpu, shape, S.RDI, S.ES, (c, port, bytes, address) => {
    // The port may lose what it gave: be sure that it can be stored.
    c.probe(address, bytes, true, false);
    const value = c.portRead(port, bytes);
    if (bytes === 1) c.writeU8(address, value, false);
    else if (bytes === 2) c.writeU16(address, value, false);
    else c.writeU32(address, value, false);
  });

export const stringOut: Helper = (cpu, shape, segment) =>
  portString(cpu, shape, S.RSI, segment, (c, port, bytes, address) => {
    const value =
      bytes === 1
        ? c.readU8(address, false)
        : bytes === 2
          ? c.readU16(address, false)
          : c.readU32(address, false);
    c.portWrite(port, bytes, value);
  });
