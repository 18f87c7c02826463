// Every SSE, MMX and x87 form against the host CPU, one instruction at a time: registers, flags, status, memory, faults. Seeded; a failure
// prints the case.
import { describe, expect, it } from 'vitest';
import { BareMachine } from '#actors/vcpu/bare-machine.js';
import { readRflags, writeRflags } from '#actors/vcpu/engine-wasm/helpers/state-access.js';
import { instructionForms } from '#shared/translate/instruction-form.js';
import type { InstructionForm } from '#shared/translate/instruction-form.js';
import * as S from '#shared/x86/cpu-state.js';
import { SSE_X87 } from '#shared/x86/semantics/sse-x87-table.js';
import { CaseRandom, encodeForm, randomState } from '../support/float-case.js';
import {
  HOST_CODE,
  HOST_MEMORY,
  MEMORY_BYTES,
  RECORD_GPRS,
  hostOracleProblem,
  runOnHost,
} from '../support/host-instruction.js';
import type { InstructionResult, InstructionState } from '../support/host-instruction.js';
import { hostVendor } from '../support/host-vendor.js';

const SEED = Number(process.env['SOFTFLOAT_SEED'] ?? 20240611);
const PER_FORM = Number(process.env['SOFTFLOAT_CASES'] ?? 20);
const ONLY = process.env['SOFTFLOAT_ONLY'];
/** 1 runs the compiled tier: every block becomes a region at once. */
const HEAT = Number(process.env['SOFTFLOAT_HEAT'] ?? 0);

/** Signals by the vector that Linux makes them of. */
const SIGNAL_OF_VECTOR: Readonly<Record<number, number>> = { 6: 4, 13: 11, 14: 11, 16: 8, 19: 8 };

const VENDOR = hostVendor();
/** Its place in a record: it points to the memory operand. */
const RDI = 5;

interface Case {
  readonly form: InstructionForm;
  readonly code: Uint8Array;
  readonly state: InstructionState;
}

function makeCases(random: CaseRandom): Case[] {
  const cases: Case[] = [];
  for (const form of instructionForms().values()) {
    if (
      SSE_X87[form.mnemonic] === undefined ||
      SSE_X87[form.mnemonic]!.notOnHost !== undefined ||
      !form.modes.includes(64)
    )
      continue;
    if (ONLY !== undefined && !new RegExp(ONLY).test(form.name)) continue;
    const x87 = form.mnemonic.startsWith('F');
    for (let i = 0; i < PER_FORM; i++) {
      const code = encodeForm(form, random);
      if (code === undefined) continue;
      const state = randomState(random, { masked: 80, x87 });
      // A whole state to restore, where the memory operand usually is.
      if (form.mnemonic.startsWith('Fxrstor')) {
        state.memory.set(randomState(random, { masked: 80, x87 }).fx, 16);
        if (random.chance(50)) new DataView(state.memory.buffer).setUint32(16, random.next(), true);
      }
      cases.push({ form, code, state });
    }
  }
  return cases;
}

/** Puts a state into the bare machine's vCPU, and reads it back as the host gives it. */
class EngineSide {
  readonly #machine = new BareMachine(8 << 20, HEAT);

  constructor() {
    this.#machine.prepare(64);
    this.#machine.map(BigInt(HOST_CODE), 1 << 20);
    this.#machine.map(BigInt(HOST_MEMORY), 8192);
  }

  run(code: Uint8Array, state: InstructionState, index: number): InstructionResult {
    const machine = this.#machine;
    const at = BigInt(HOST_CODE + (index % 30000) * 32);
    if (index % 30000 === 0) machine.created.blocks.dropAll();
    machine.write(at, Uint8Array.of(...code, 0xf4));
    machine.write(BigInt(HOST_MEMORY), state.memory);
    this.#load(state);
    machine.setState64(S.RIP, at);
    const end = machine.run(1000);
    if (end.kind === 'timeout') throw new Error('the engine does not end');
    const signal = end.kind === 'halted' ? 0 : SIGNAL_OF_VECTOR[end.vector];
    if (signal === undefined) throw new Error('unexpected exception');
    return { ...this.#store(), signal };
  }

  #load(state: InstructionState): void {
    const { view, stateOffset } = this.#machine;
    const fx = new DataView(state.fx.buffer);
    const set = (offset: number, value: number): void => view.setInt32(stateOffset + offset, value, true);
    const status = fx.getUint16(2, true);
    const top = (status >> 11) & 7;
    set(S.X87_CONTROL, fx.getUint16(0, true));
    set(S.X87_STATUS, status & ~0x3800);
    set(S.X87_TOP, top);
    set(S.X87_TAGS, fx.getUint8(4));
    set(S.MXCSR, fx.getUint32(24, true));
    set(S.X87_OPCODE, 0);
    this.#machine.setState64(S.X87_IP, 0);
    this.#machine.setState64(S.X87_DP, 0);
    const u8 = this.#machine.u8;
    for (let i = 0; i < 8; i++)
      u8.set(state.fx.subarray(32 + 16 * i, 48 + 16 * i), stateOffset + S.X87 + ((top + i) & 7) * 16);
    u8.set(state.fx.subarray(160, 416), stateOffset + S.XMM);
    RECORD_GPRS.forEach((register, i) => this.#machine.setState64(8 * register, state.gpr[i]!));
    writeRflags(this.#machine.created.cpu, Number(state.rflags), 0x8d5);
  }

  #store(): InstructionState {
    const { view, stateOffset, u8 } = this.#machine;
    const fx = new Uint8Array(512);
    const out = new DataView(fx.buffer);
    const get = (offset: number): number => view.getInt32(stateOffset + offset, true);
    const top = get(S.X87_TOP);
    out.setUint16(0, get(S.X87_CONTROL), true);
    out.setUint16(2, get(S.X87_STATUS) | (top << 11), true);
    out.setUint8(4, get(S.X87_TAGS));
    out.setUint32(24, get(S.MXCSR), true);
    for (let i = 0; i < 8; i++) {
      const from = stateOffset + S.X87 + ((top + i) & 7) * 16;
      fx.set(u8.subarray(from, from + 10), 32 + 16 * i);
    }
    fx.set(u8.subarray(stateOffset + S.XMM, stateOffset + S.XMM + 256), 160);
    const gpr = new BigUint64Array(RECORD_GPRS.map((register) => this.#machine.getState64(8 * register)));
    return {
      fx,
      gpr,
      rflags: BigInt(readRflags(this.#machine.created.cpu)),
      memory: this.#machine.read(BigInt(HOST_MEMORY), MEMORY_BYTES),
    };
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const C1 = 0x200;
const UE = 0x10;
const ARITHMETIC_FLAGS = 0x8d5n;

/** A pattern as a number that counts representable values; the extended format's stored leading bit is dropped. */
function ordinal(pattern: string): bigint {
  const value = BigInt(`0x${pattern}`);
  return pattern.length === 20 ? ((value >> 64n) << 63n) | (value & ((1n << 63n) - 1n)) : value;
}

/** Whether two patterns of the same sign are within `ulps` units in the last place. */
function isNear(a: string, b: string, ulps: number): boolean {
  if (a === b) return true;
  const distance = ordinal(a) - ordinal(b);
  return distance <= BigInt(ulps) && -distance <= BigInt(ulps);
}

/** APM vol. 1, MXCSR: bit 17 (MM) exists on AMD's processors, so MXCSR_MASK in an FXSAVE image has it there. */
function openMemoryByte(c: Case): number | undefined {
  return VENDOR === 'amd' && c.form.mnemonic.startsWith('Fxsave')
    ? Number(c.state.gpr[RDI]!) - HOST_MEMORY + 30
    : undefined;
}

/** SDM vol. 2, DPPS and DPPD: which of several NaNs goes through the sum is implementation-dependent. */
function hasOpenNans(c: Case): boolean {
  return VENDOR === 'amd' && /^Dpp[ds]$/.test(c.form.mnemonic);
}

/** Whether elements of so many hex digits differ only where both are NaNs. */
function sameButForNans(a: string, b: string, digits: 8 | 16): boolean {
  const isNan = (element: string): boolean => {
    const bytes = new DataView(Uint8Array.from(Buffer.from(element, 'hex')).buffer);
    return Number.isNaN(digits === 8 ? bytes.getFloat32(0) : bytes.getFloat64(0));
  };
  const elements = Array.from({ length: a.length / digits }, (_, i) => i * digits);
  return elements.every((at) => {
    const [x, y] = [a.slice(at, at + digits), b.slice(at, at + digits)];
    return x === y || (isNan(x) && isNan(y));
  });
}

/** The differences between what the engine and the host made of a case, as text. */
function differences(c: Case, mine: InstructionResult, host: InstructionResult): string[] {
  const list: string[] = [];
  const note = (name: string, a: string, b: string): void => {
    if (a !== b) list.push(`${name}: engine ${a}, host ${b}`);
  };
  note('signal', String(mine.signal), String(host.signal));
  const word = (fx: Uint8Array, at: number, bytes: number): string =>
    hex(
      fx
        .subarray(at, at + bytes)
        .slice()
        .reverse(),
    );
  note('FCW', word(mine.fx, 0, 2), word(host.fx, 0, 2));
  const tolerance = SSE_X87[c.form.mnemonic]!.tolerance ?? 0;
  // Where the last place may differ, so may the direction that it was rounded in, and whether that made it tiny.
  const status = (fx: Uint8Array): string =>
    (new DataView(fx.buffer).getUint16(2, true) & (tolerance === 0 ? 0xffff : ~(C1 | UE))).toString(16);
  note('FSW', status(mine.fx), status(host.fx));
  note('FTW', word(mine.fx, 4, 1), word(host.fx, 4, 1));
  note('MXCSR', word(mine.fx, 24, 4), word(host.fx, 24, 4));
  for (let i = 0; i < 8; i++) {
    const [a, b] = [word(mine.fx, 32 + 16 * i, 10), word(host.fx, 32 + 16 * i, 10)];
    if (!isNear(a, b, tolerance)) note(`ST${i}`, a, b);
  }
  for (let i = 0; i < 4; i++) {
    const [a, b] = [word(mine.fx, 160 + 16 * i, 16), word(host.fx, 160 + 16 * i, 16)];
    const lanes = [0, 8, 16, 24].every((at) => isNear(a.slice(at, at + 8), b.slice(at, at + 8), tolerance));
    if (!lanes && !(hasOpenNans(c) && sameButForNans(a, b, c.form.mnemonic === 'Dppd' ? 16 : 8)))
      note(`XMM${i}`, a, b);
  }
  host.gpr.forEach((value, i) => note(`GPR${i}`, mine.gpr[i]!.toString(16), value.toString(16)));
  const flags = ARITHMETIC_FLAGS & ~BigInt(SSE_X87[c.form.mnemonic]!.undefinedFlags ?? 0);
  note('RFLAGS', (mine.rflags & flags).toString(16), (host.rflags & flags).toString(16));
  const open = openMemoryByte(c);
  const at = host.memory.findIndex((byte, i) => byte !== mine.memory[i] && i !== open);
  if (at >= 0)
    note(`memory+${at}`, hex(mine.memory.subarray(at, at + 32)), hex(host.memory.subarray(at, at + 32)));
  return list;
}

function describeCase(c: Case): string {
  const fx = new DataView(c.state.fx.buffer);
  const status = `FCW=${fx.getUint16(0, true).toString(16)} FSW=${fx.getUint16(2, true).toString(16)} FTW=${fx.getUint8(4).toString(16)} MXCSR=${fx.getUint32(24, true).toString(16)}`;
  const row = (at: number, bytes: number): string => hex(c.state.fx.slice(at, at + bytes).reverse());
  const st = [0, 1, 2].map((i) => row(32 + 16 * i, 10)).join(' ');
  const xmm = [0, 1, 2, 3].map((i) => row(160 + 16 * i, 16)).join(' ');
  return `${c.form.name} ${hex(c.code)} ${status}\n    ST ${st}\n    XMM ${xmm}\n    mem ${hex(c.state.memory.slice(16, 32).reverse())} rdi=${c.state.gpr[5]!.toString(16)} rax=${c.state.gpr[0]!.toString(16)}`;
}

const problem = hostOracleProblem();

describe.skipIf(problem !== undefined)(
  `SSE, MMX and x87 against the host CPU${problem === undefined ? '' : ` (skipped: ${problem})`}`,
  () => {
    it(`gives the host's results (seed ${SEED})`, () => {
      const cases = makeCases(new CaseRandom(SEED));
      const host = runOnHost(cases);
      const engine = new EngineSide();
      const failures = new Map<string, { count: number; first: string }>();
      cases.forEach((c, i) => {
        let list: string[];
        try {
          list = differences(c, engine.run(c.code, c.state, i), host[i]!);
        } catch (error) {
          list = [String(error)];
        }
        if (list.length === 0) return;
        const known = failures.get(c.form.name);
        if (known !== undefined) known.count++;
        else failures.set(c.form.name, { count: 1, first: `${describeCase(c)}\n    ${list.join('\n    ')}` });
      });
      const report = [...failures.values()].map(({ count, first }) => `${count}× ${first}`);
      expect(
        report.length === 0 ? '' : `${cases.length} cases, ${failures.size} forms fail\n${report.join('\n')}`,
      ).toBe('');
    });
  },
);
