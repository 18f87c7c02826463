// Runs a differential case on the interpreter tier, in a bare machine at CPL 3 with the host runner's pages, segments
// and selectors, and gives the outcome in the host's terms.

import { BareMachine } from '#actors/vcpu/bare-machine.js';
import { readRflags, selectorOf, writeRflags } from '#actors/vcpu/engine-wasm/helpers/state-access.js';
import * as S from '#shared/x86/cpu-state.js';
import { ARITHMETIC_FLAGS, DF, ID, IF, NT } from '#shared/x86/rflags.js';
import {
  type Case,
  type CaseMode,
  CODE,
  CODE_BYTES,
  DATA,
  DATA_BYTES,
  DATA_WRITABLE,
  FS_BASE,
  FX_BYTES,
  GS_BASE,
  type Outcome,
} from './case-record.js';

const HLT = 0xf4;
const PAGE = 4096;
const WHOLE_RFLAGS = ARITHMETIC_FLAGS | DF | IF | ID | NT;
const DATA_ATTRIBUTES = 0xcf3;
/** One case in so many starts with an empty TLB. */
const FLUSH_PERIOD = 16;

/** Linux' user selectors, and those of the runner's own 16-bit segments. */
const CODE_SELECTOR: Readonly<Record<CaseMode, number>> = { 64: 0x33, 32: 0x23, 16: 0x07 };
const CODE_ATTRIBUTES: Readonly<Record<CaseMode, number>> = { 64: 0xafb, 32: 0xcfb, 16: 0x0fb };

const TABLES = 0x50000000n;
const TABLE_BYTES = 128;
/** Linux' GDT: kernel code, code, data; user compatibility code, data, 64-bit code; no TLS segments; the CPU number's. */
const GLOBAL_DESCRIPTORS = [
  0n, 0xcf9b000000ffffn, 0xaf9b000000ffffn, 0xcf93000000ffffn, 0xcffb000000ffffn, 0xcff3000000ffffn, 0xaffb000000ffffn, 0n,
  0n, 0n, 0n, 0n, 0n, 0n, 0n, 0x40f50000000000n,
]; // prettier-ignore
/** The runner's 16-bit code and data segments. */
const LOCAL_DESCRIPTORS = [0x1000fb0000001fffn, 0x2000f30000003fffn];

export class EngineOracle {
  readonly machine: BareMachine;
  readonly #mode: CaseMode;
  readonly #background: Uint8Array;
  /** What memory held before the case ran. */
  readonly #before: Uint8Array;
  readonly #data: Uint8Array;
  readonly #code: Uint8Array;
  readonly #codeOffset: number;
  readonly #x87: Uint8Array;
  readonly #xmm: Uint8Array;
  readonly #gpr: Uint8Array;
  #count = 0;

  /** `heat`: executions after which a block is compiled; 0 for the interpreter alone. */
  constructor(mode: CaseMode, background: Uint8Array, heat = 0, counts = false) {
    const machine = new BareMachine(undefined, heat, { counts });
    this.machine = machine;
    this.#mode = mode;
    this.#background = background;
    this.#before = Uint8Array.from(background);
    machine.prepare(mode === 64 ? 64 : 32, 3);
    machine.map(BigInt(CODE), CODE_BYTES);
    machine.map(BigInt(DATA), DATA_BYTES);
    for (let at = 0; at < DATA_BYTES; at += PAGE)
      machine.protect(BigInt(DATA + at), { write: at < DATA_WRITABLE, execute: false });
    this.#makeTables();
    this.#setSegments();
    const { memory, stateOffset } = machine;
    this.#codeOffset = machine.arenaOffset(BigInt(CODE));
    this.#code = new Uint8Array(memory.buffer, this.#codeOffset, CODE_BYTES);
    this.#data = new Uint8Array(memory.buffer, machine.arenaOffset(BigInt(DATA)), DATA_BYTES);
    this.#x87 = new Uint8Array(memory.buffer, stateOffset + S.X87, 128);
    this.#xmm = new Uint8Array(memory.buffer, stateOffset + S.XMM, 256);
    this.#gpr = new Uint8Array(memory.buffer, stateOffset, 128);
    this.#code.fill(HLT);
    this.#data.set(background);
  }

  /** A GDT and an LDT as a Linux user process and the runner see them. */
  #makeTables(): void {
    const { machine } = this;
    machine.map(TABLES, PAGE);
    const bytes = new Uint8Array(2 * TABLE_BYTES);
    const view = new DataView(bytes.buffer);
    GLOBAL_DESCRIPTORS.forEach((descriptor, i) => view.setBigUint64(i * 8, descriptor, true));
    LOCAL_DESCRIPTORS.forEach((descriptor, i) => view.setBigUint64(TABLE_BYTES + i * 8, descriptor, true));
    machine.write(TABLES, bytes);
    machine.setState64(S.GDTR_BASE, TABLES);
    machine.view.setInt32(machine.stateOffset + S.GDTR_LIMIT, TABLE_BYTES - 1, true);
    machine.created.reset.setSegment(
      S.LDTR,
      0x50,
      Number(TABLES) + TABLE_BYTES,
      LOCAL_DESCRIPTORS.length * 8 - 1,
      0x82,
    );
  }

  #setSegments(): void {
    const { created } = this.machine;
    const mode = this.#mode;
    const based = mode === 16;
    const data = based ? 0x0f : mode === 32 ? 0x2b : 0;
    for (const s of [S.DS, S.ES, S.SS]) {
      const selector = s === S.SS && mode === 64 ? 0x2b : data;
      if (based) created.reset.setSegment(s, selector, DATA, 0x3fff, 0x0f3);
      else created.reset.setSegment(s, selector, 0, 0xffffffff, DATA_ATTRIBUTES);
    }
    created.reset.setSegment(
      S.CS,
      CODE_SELECTOR[mode],
      based ? CODE : 0,
      based ? CODE_BYTES - 1 : 0xffffffff,
      CODE_ATTRIBUTES[mode],
    );
    created.reset.setSegment(S.FS, 0, FS_BASE, 0xffffffff, DATA_ATTRIBUTES);
    created.reset.setSegment(S.GS, 0, GS_BASE, 0xffffffff, DATA_ATTRIBUTES);
    created.cpu.modeChanged();
    created.cpu.flushTlb(true);
  }

  /** Runs `c`; `changed` of the outcome is left to {@link memoryDiffers}. */
  run(c: Case): Outcome {
    const { machine } = this;
    this.#load(c);
    const end = machine.run();
    const outcome = this.#outcome();
    if (end.kind === 'exception') {
      outcome.trap = end.vector;
      outcome.error = Math.max(end.errorCode, 0);
      outcome.cr2 = end.cr2;
    }
    if (c.segments) this.#setSegments();
    this.#unload(c);
    return outcome;
  }

  #load(c: Case): void {
    const { machine } = this;
    const { cpu } = machine.created;
    if (this.#count++ % FLUSH_PERIOD === 0) cpu.flushTlb(true);
    for (const patch of c.patches) {
      this.#data.set(patch.bytes, patch.at);
      this.#before.set(patch.bytes, patch.at);
    }
    const place = c.mode === 16 ? c.rip : c.rip - CODE;
    this.#code.set(c.code, place);
    this.#gpr.set(new Uint8Array(c.gpr.buffer, c.gpr.byteOffset, 128));
    cpu.i32[S.RIP / 4] = c.rip;
    cpu.i32[S.RIP / 4 + 1] = 0;
    cpu.i32[S.RFLAGS_SYSTEM / 4] = IF;
    writeRflags(cpu, c.rflags, WHOLE_RFLAGS);
    cpu.i32[S.INTERRUPT_SHADOW / 4] = 0;
    this.#loadFloat(c.fx);
  }

  #loadFloat(fx: Uint8Array): void {
    const { cpu } = this.machine.created;
    const view = new DataView(fx.buffer, fx.byteOffset, FX_BYTES);
    const status = view.getUint16(2, true);
    const top = (status >> 11) & 7;
    cpu.i32[S.X87_CONTROL / 4] = view.getUint16(0, true);
    cpu.i32[S.X87_STATUS / 4] = status & ~0x3800;
    cpu.i32[S.X87_TOP / 4] = top;
    cpu.i32[S.X87_TAGS / 4] = fx[4]!;
    cpu.i32[S.X87_OPCODE / 4] = 0;
    cpu.i64[S.X87_IP / 8] = 0n;
    cpu.i64[S.X87_DP / 8] = 0n;
    cpu.i32[S.X87_CS / 4] = 0;
    cpu.i32[S.MXCSR / 4] = view.getUint32(24, true);
    const split = (8 - top) * 16;
    this.#x87.set(fx.subarray(32, 32 + split), top * 16);
    this.#x87.set(fx.subarray(32 + split, 160), 0);
    this.#xmm.set(fx.subarray(160, FX_BYTES));
  }

  #outcome(): Outcome {
    const { cpu } = this.machine.created;
    const gpr = new BigUint64Array(16);
    new Uint8Array(gpr.buffer).set(this.#gpr);
    return {
      trap: -1,
      error: 0,
      cr2: 0n,
      gpr,
      rip: BigInt.asUintN(64, cpu.i64[S.RIP / 8]!),
      rflags: readRflags(cpu),
      fx: this.#floatImage(),
      selectors: [S.ES, S.CS, S.SS, S.DS, S.FS, S.GS].map((segment) => selectorOf(cpu, segment)),
      changedAt: 0,
      changed: new Uint8Array(0),
    };
  }

  #floatImage(): Uint8Array {
    const { cpu } = this.machine.created;
    const fx = new Uint8Array(FX_BYTES);
    const view = new DataView(fx.buffer);
    const top = cpu.i32[S.X87_TOP / 4]!;
    view.setUint16(0, cpu.i32[S.X87_CONTROL / 4]!, true);
    view.setUint16(2, cpu.i32[S.X87_STATUS / 4]! | (top << 11), true);
    fx[4] = cpu.i32[S.X87_TAGS / 4]!;
    view.setUint32(24, cpu.i32[S.MXCSR / 4]!, true);
    const split = (8 - top) * 16;
    fx.set(this.#x87.subarray(top * 16), 32);
    fx.set(this.#x87.subarray(0, top * 16), 32 + split);
    fx.set(this.#xmm, 160);
    return fx;
  }

  /** Whether memory differs from the host's after the last case, apart from `open` (offsets and bytes). */
  memoryDiffers(host: Outcome, open: readonly (readonly [number, number])[] = []): boolean {
    this.#before.set(host.changed, host.changedAt);
    for (const [at, bytes] of open) {
      const [start, end] = [Math.max(0, at), Math.min(DATA_BYTES, at + bytes)];
      if (start < end) this.#before.set(this.#data.subarray(start, end), start);
    }
    return Buffer.compare(this.#data, this.#before) !== 0;
  }

  /** Memory bytes of the last case: the engine's and the host's. */
  memory(): { engine: Uint8Array; host: Uint8Array } {
    return { engine: this.#data, host: this.#before };
  }

  /** Makes memory what every case starts with. */
  restore(): void {
    this.#data.set(this.#background);
    this.#before.set(this.#background);
  }

  #unload(c: Case): void {
    const { blocks } = this.machine.created;
    const place = c.mode === 16 ? c.rip : c.rip - CODE;
    this.#code.fill(HLT, place, place + c.code.length);
    for (let page = 0; page < CODE_BYTES; page += PAGE) blocks.dropPage(this.#codeOffset + page);
  }
}
