// Runs one vector on a bare machine and says what differs from its expectations.

import * as S from '#shared/x86/cpu-state.js';
import { BareMachine } from '../bare-machine.js';
import { parseParts, readRegister, visibleBits, writeRegister } from './register-file.js';
import type { Vector } from './vector-file.js';
import { VectorError } from './vector-number.js';

const TIMEOUT_MS = 10_000;
const STACK_BYTES = 0x10000;
/** Where a stack goes when the vector names none. */
const STACKS = [0x7ff00000n, 0x6ff00000n, 0x5ff00000n];
const REAL_MODE_BYTES = 0x110000;
const SMALLEST_RAM_BYTES = 8 << 20;
const TABLES_BYTES = 4 << 20;
/** The GDT's page: out of the way of vectors. */
const TABLES = 0xfffff000n;
const CODE_64 = 0xaf9b000000ffffn;
const CODE_32 = 0xcf9b000000ffffn;
const DATA_32 = 0xcf93000000ffffn;
const POINTER_NAMES = ['RSP', 'ESP', 'SP'];
/** The shortest that a table can be to be the vector's own. */
const IDT_RESET_LIMIT = 0xffff;

let machine: BareMachine | undefined;
let machineBytes = 0;

/** A machine with room for the vector's regions; kept for the next one. */
function machineFor(vector: Vector): BareMachine {
  const pages = vector.regions.reduce((sum, [, bytes]) => sum + Math.ceil(bytes / 4096) + 1, 0);
  const wanted = TABLES_BYTES + (pages + Math.ceil(vector.code.length / 4096) + 64) * 4096;
  if (machine === undefined || wanted > machineBytes) {
    machineBytes = Math.max(SMALLEST_RAM_BYTES, 2 ** Math.ceil(Math.log2(wanted)));
    machine = new BareMachine(machineBytes);
  }
  return machine;
}

/** The machine that runs now, for a watchdog of another thread. */
export function currentMachine(): BareMachine | undefined {
  return machine;
}

function mapMemory(m: BareMachine, vector: Vector): void {
  if (vector.mode === 16) {
    for (const [address, bytes] of vector.regions)
      if (address + BigInt(bytes) > BigInt(REAL_MODE_BYTES))
        throw new VectorError('a region beyond real-mode memory');
  } else {
    for (const [address, bytes] of vector.regions) m.map(address, bytes);
    m.map(vector.load, Math.max(vector.code.length, 1));
    for (const [address, bytes] of vector.memory) m.map(address, bytes.length);
  }
  for (const [address, bytes] of vector.memory) m.write(address, bytes);
  m.write(vector.load, vector.code);
}

function overlaps(vector: Vector, start: bigint): boolean {
  const end = start + BigInt(STACK_BYTES);
  const ranges = [...vector.regions, [vector.load, vector.code.length] as const];
  return ranges.some(([address, bytes]) => address < end && start < address + BigInt(bytes));
}

function setStack(m: BareMachine, vector: Vector): void {
  if (POINTER_NAMES.some((name) => vector.registers.has(name))) return;
  if (vector.mode === 16) {
    // Below 64 KiB, away from the code.
    m.setState64(S.RSP, vector.load < 0x8000n ? 0xfff0 : 0x7000);
    return;
  }
  const start = STACKS.find((candidate) => !overlaps(vector, candidate)) ?? STACKS[0]!;
  m.map(start, STACK_BYTES);
  m.setState64(S.RSP, start + BigInt(STACK_BYTES - 16));
}

/** Descriptors behind the selectors that the machine starts with, so that code can load them again. */
function setTables(m: BareMachine, mode: 64 | 32): void {
  m.map(TABLES, 4096);
  const table = new DataView(new ArrayBuffer(32));
  table.setBigUint64(0x10, mode === 64 ? CODE_64 : CODE_32, true);
  table.setBigUint64(0x18, DATA_32, true);
  m.write(TABLES, new Uint8Array(table.buffer));
  m.setState64(S.GDTR_BASE, TABLES);
  m.view.setInt32(m.stateOffset + S.GDTR_LIMIT, 31, true);
}

/** As FNINIT leaves it: what code expects to find. */
function initializeX87(m: BareMachine): void {
  m.view.setInt32(m.stateOffset + S.X87_CONTROL, 0x37f, true);
  m.view.setInt32(m.stateOffset + S.X87_STATUS, 0, true);
  m.view.setInt32(m.stateOffset + S.X87_TOP, 0, true);
  m.view.setInt32(m.stateOffset + S.X87_TAGS, 0, true);
}

/** CS:IP of real mode: base zero as long as the code lies in the first 64 KiB. */
function setEntry(m: BareMachine, vector: Vector): void {
  let ip = vector.entry;
  if (vector.mode === 16 && (vector.load >= 0x10000n || vector.entry >= 0x10000n)) {
    const base = (vector.load >> 4n) << 4n;
    m.created.reset.setSegment(S.CS, Number(base >> 4n), Number(base), 0xffff, 0x9b);
    if (ip >= base) ip -= base;
    m.created.cpu.modeChanged();
  }
  m.setState64(S.RIP, ip);
}

/** Exceptions go to the vector's own handlers where it has some; else they end it. */
function interceptUnhandled(m: BareMachine, vector: Vector): void {
  m.intercepts = (exception) => {
    if (vector.mode === 16) return m.view.getUint32(m.arenaOffset(BigInt(exception * 4)), true) === 0;
    return m.view.getInt32(m.stateOffset + S.IDTR_LIMIT, true) === IDT_RESET_LIMIT;
  };
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

function compareRegister(m: BareMachine, vector: Vector, name: string, value: unknown): string | undefined {
  const expected = parseParts(name, value);
  const bits = visibleBits(name, vector.mode);
  const found = readRegister(m, name);
  const same = expected.every((part, i) => BigInt.asUintN(bits, part) === BigInt.asUintN(bits, found[i]!));
  if (same) return undefined;
  const shown = found.slice(0, expected.length);
  return `${name} is ${shown.map(hex).join(', ')}, expected ${expected.map(hex).join(', ')}`;
}

function compareMemory(m: BareMachine, address: bigint, expected: Uint8Array): string | undefined {
  for (let i = 0; i < expected.length; i++) {
    const at = m.arenaOffset(address + BigInt(i));
    const found = at < 0 ? 'not mapped' : m.u8[at]!.toString(16).padStart(2, '0');
    const wanted = expected[i]!.toString(16).padStart(2, '0');
    if (found !== wanted) return `memory at ${hex(address + BigInt(i))} is ${found}, expected ${wanted}`;
  }
  return undefined;
}

/**
 * What differs; empty when the vector passes. Throws VectorError when the vector makes no sense. `onMachine` is called
 * before the vector runs, with {@link currentMachine} made.
 */
export function runVector(vector: Vector, onMachine: () => void): string[] {
  const m = machineFor(vector);
  onMachine();
  m.prepare(vector.mode);
  mapMemory(m, vector);
  setStack(m, vector);
  setEntry(m, vector);
  if (vector.mode !== 16) setTables(m, vector.mode);
  initializeX87(m);
  for (const [name, value] of vector.registers) writeRegister(m, name, parseParts(name, value));
  m.created.cpu.modeChanged();
  interceptUnhandled(m, vector);
  const end = m.run(TIMEOUT_MS);
  const failures: string[] = [];
  if (end.kind === 'timeout') return ['it does not end'];
  if (end.kind === 'exception' && end.vector !== vector.expectedException) {
    const code = end.errorCode < 0 ? '' : `, error code ${hex(BigInt(end.errorCode))}`;
    const address = end.vector === 14 ? `, address ${hex(end.cr2)}` : '';
    failures.push(`exception ${end.vector}${code}${address} at RIP ${hex(readRegister(m, 'RIP')[0]!)}`);
  }
  if (end.kind === 'halted' && vector.expectedException !== undefined)
    failures.push(`halted, expected exception ${vector.expectedException}`);
  for (const [name, value] of vector.expectedRegisters)
    failures.push(...[compareRegister(m, vector, name, value) ?? []].flat());
  for (const [address, bytes] of vector.expectedMemory)
    failures.push(...[compareMemory(m, address, bytes) ?? []].flat());
  return failures;
}
