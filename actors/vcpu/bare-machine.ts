// One vCPU and some memory, nothing else: runs a piece of code in a given mode and shows what it did. The vector
// runner and the differential tests use it; addresses are linear, and only the regions that were asked for are mapped.

import { createInterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { CODE_MAP_ENTRY_BYTES } from '#shared/memory/code-map.js';
import type { Region } from '#shared/base/region.js';
import { monotonicNs } from '#shared/base/clock.js';
import { JUMP_CACHE_BYTES, TLB_BYTES } from '#shared/translate/op-record.js';
import * as S from '#shared/x86/cpu-state.js';
import { Lapic } from '#shared/x86/lapic.js';
import {
  createEngine,
  type CreatedEngine,
  type EngineLayout,
  type EngineOptions,
  loadInterpreterImage,
} from './engine-wasm/create-engine.js';

export type BareMode = 16 | 32 | 64;

/** How a piece of code ended. */
export type BareEnd =
  | { readonly kind: 'halted' }
  | { readonly kind: 'exception'; readonly vector: number; readonly errorCode: number; readonly cr2: bigint }
  | { readonly kind: 'timeout' };

const PAGE = 4096;
const CODE_CACHE_BYTES = 4 << 20;
const P_RW_US = 7;
const P_RW = 2n;
const P_NX = 1n << 63n;
const TABLES_PAGES = 512;
const REAL_MODE_BYTES = 0x110000;

/** A machine of `ramBytes`; make one and use it for many runs. */
export class BareMachine {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly view: DataView;
  readonly layout: EngineLayout;
  readonly created: CreatedEngine;
  readonly stateOffset: number;
  readonly #ramOffset: number;
  readonly #ramBytes: number;
  /** Whether an exception ends the run; else it is delivered to the code that runs. */
  intercepts: (vector: number) => boolean = () => true;
  #end: BareEnd | undefined;
  #nextPage = 0;
  #nextTable = 0;
  #mode: BareMode = 64;

  /** `heat`, `options`: see EngineOptions. */
  constructor(
    ramBytes = 8 << 20,
    heat = 0,
    options: Pick<EngineOptions, 'maxRegions' | 'regionService' | 'counts'> = {},
  ) {
    let next = PAGE;
    const take = (bytes: number): Region => {
      const region = { offset: next, bytes };
      next += Math.ceil(bytes / PAGE) * PAGE;
      return region;
    };
    const vcpu = {
      state: take(S.CPU_STATE_BYTES),
      lapic: take(PAGE),
      tlb: take(TLB_BYTES),
      jumpCache: take(2 * JUMP_CACHE_BYTES),
      log: take(PAGE),
      codeCache: take(CODE_CACHE_BYTES),
    };
    const shared = {
      codeMap: take((ramBytes / PAGE) * CODE_MAP_ENTRY_BYTES + 64),
      dirtyBitmap: take(PAGE),
      chipset: take(PAGE),
      machineEvent: take(PAGE),
    };
    const pages = Math.ceil((next + ramBytes) / 65536);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.u8 = new Uint8Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
    this.layout = { ram: { ramOffset: next, lowBytes: ramBytes, highBytes: 0 }, vcpus: [vcpu], shared };
    this.stateOffset = vcpu.state.offset;
    this.#ramOffset = next;
    this.#ramBytes = ramBytes;
    const fabric = createInterruptFabric(this.memory, this.layout);
    const lapic = new Lapic(fabric, 0, { nowNs: monotonicNs, ringTicker: () => undefined });
    this.created = createEngine({
      memory: this.memory,
      layout: this.layout,
      vcpu: 0,
      fabric,
      lapic,
      bus: { low: 0xffffffff, high: 0xffffffff, read: () => undefined, write: () => undefined },
      ports: { portRead: () => 0xffffffff, portWrite: () => undefined },
      image: loadInterpreterImage(),
      heat,
      ...options,
      interceptException: (vector, errorCode) => {
        if (!this.intercepts(vector)) return false;
        const cr2 = this.view.getBigUint64(this.stateOffset + S.CR2, true);
        this.#end = { kind: 'exception', vector, errorCode, cr2 };
        return true;
      },
    });
  }

  /** Power-on, then `mode` with flat segments at privilege `cpl`, SSE on and nothing mapped. */
  prepare(mode: BareMode, cpl: 0 | 3 = 0): void {
    const { reset, cpu } = this.created;
    reset.powerOn(0);
    cpu.lapic.reset();
    cpu.msrs.reset();
    this.#mode = mode;
    this.#nextTable = 1;
    this.#nextPage = mode === 16 ? 0 : TABLES_PAGES;
    this.u8.fill(0, this.#ramOffset, this.#ramOffset + 5 * PAGE);
    if (mode !== 16) this.#enterPaging(mode, cpl);
    else this.u8.fill(0, this.#ramOffset, this.#ramOffset + Math.min(this.#ramBytes, REAL_MODE_BYTES));
    if (mode === 16)
      for (const s of [S.ES, S.CS, S.SS, S.DS, S.FS, S.GS])
        reset.setSegment(s, 0, 0, 0xffff, s === S.CS ? 0x9b : 0x93);
    this.setState64(S.CR4, (mode === 16 ? 0 : 1 << 5) | (3 << 9));
    cpu.flushTlb(true);
    cpu.modeChanged();
    this.created.blocks.dropAll();
  }

  #enterPaging(mode: 32 | 64, cpl: 0 | 3): void {
    const { reset } = this.created;
    const dpl = cpl << 5;
    for (const s of [S.ES, S.CS, S.SS, S.DS, S.FS, S.GS]) {
      const code = s === S.CS;
      reset.setSegment(
        s,
        (code ? 0x10 : 0x18) | cpl,
        0,
        0xffffffff,
        (code ? 0x9b : 0x93) | dpl | (code && mode === 64 ? 0xa00 : 0xc00),
      );
    }
    this.view.setInt32(this.stateOffset + S.CPL, cpl, true);
    this.setState64(S.CR0, 0x80010033);
    this.setState64(S.EFER, mode === 64 ? 0xd01 : 0x800);
    this.setState64(S.CR3, 0);
    if (mode === 32) {
      for (let i = 0; i < 4; i++) this.#writeEntry(0, i, this.#newTable() * PAGE + 1);
    }
  }

  #newTable(): number {
    const table = this.#nextTable++;
    if (table >= TABLES_PAGES) throw new Error('too many page tables');
    this.u8.fill(0, this.#ramOffset + table * PAGE, this.#ramOffset + (table + 1) * PAGE);
    return table;
  }

  #writeEntry(table: number, index: number, value: number): void {
    this.view.setBigUint64(this.#ramOffset + table * PAGE + index * 8, BigInt(value), true);
  }

  #tableAt(table: number, index: number): number {
    const entry = Number(this.view.getBigUint64(this.#ramOffset + table * PAGE + index * 8, true));
    if (entry !== 0) return Math.floor(entry / PAGE);
    const made = this.#newTable();
    this.#writeEntry(table, index, made * PAGE + P_RW_US);
    return made;
  }

  /** Maps the pages of [address, +bytes), zeroed, for reading, writing and execution; pages already mapped stay. */
  map(address: bigint, bytes: number): void {
    if (this.#mode === 16) {
      if (address + BigInt(bytes) > BigInt(this.#ramBytes))
        throw new Error('region outside real-mode memory');
      return;
    }
    const first = address & ~0xfffn;
    for (let page = first; page < address + BigInt(Math.max(bytes, 1)); page += 4096n)
      this.#mapPage(BigInt.asUintN(64, page));
  }

  /** Arena offset of a page's leaf entry. */
  #leafOf(page: bigint): number {
    const index = (shift: bigint, mask: bigint): number => Number((page >> shift) & mask);
    let table = 0;
    if (this.#mode === 64) {
      table = this.#tableAt(table, index(39n, 511n));
      table = this.#tableAt(table, index(30n, 511n));
    } else {
      table = Math.floor(Number(this.view.getBigUint64(this.#ramOffset + index(30n, 3n) * 8, true)) / PAGE);
    }
    table = this.#tableAt(table, index(21n, 511n));
    return this.#ramOffset + table * PAGE + index(12n, 511n) * 8;
  }

  #mapPage(page: bigint): void {
    const leaf = this.#leafOf(page);
    if (this.view.getBigUint64(leaf, true) !== 0n) return;
    const physical = this.#nextPage++;
    if ((physical + 1) * PAGE > this.#ramBytes) throw new Error('out of memory for regions');
    this.u8.fill(0, this.#ramOffset + physical * PAGE, this.#ramOffset + (physical + 1) * PAGE);
    this.view.setBigUint64(leaf, BigInt(physical * PAGE + P_RW_US), true);
  }

  /** Maps a page to where another one is mapped. Not in mode 16; flush what knows the old place. */
  remap(page: bigint, target: bigint): void {
    const entry = this.view.getBigUint64(this.#leafOf(target), true);
    this.view.setBigUint64(this.#leafOf(page), entry, true);
  }

  /** Takes rights from a mapped page. Not in mode 16. */
  protect(address: bigint, allowed: { readonly write: boolean; readonly execute: boolean }): void {
    const leaf = this.#leafOf(address & ~0xfffn);
    const entry = this.view.getBigUint64(leaf, true) & ~(P_RW | P_NX);
    this.view.setBigUint64(leaf, entry | (allowed.write ? P_RW : 0n) | (allowed.execute ? 0n : P_NX), true);
    this.created.cpu.flushTlb(true);
  }

  /** Arena offset of a mapped linear address; −1 when it is not mapped. */
  arenaOffset(address: bigint): number {
    if (this.#mode === 16) return this.#ramOffset + Number(address);
    const gpa = this.created.mmu.walk.translate(
      Number(BigInt.asIntN(32, address)),
      Number(BigInt.asIntN(32, address >> 32n)),
      0,
    );
    return gpa < 0 ? -1 : this.#ramOffset + gpa;
  }

  write(address: bigint, bytes: Uint8Array): void {
    bytes.forEach((byte, i) => {
      const at = this.arenaOffset(address + BigInt(i));
      if (at < 0) throw new Error(`address 0x${address.toString(16)} is not mapped`);
      this.u8[at] = byte;
    });
  }

  read(address: bigint, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const at = this.arenaOffset(address + BigInt(i));
      if (at < 0) throw new Error(`address 0x${(address + BigInt(i)).toString(16)} is not mapped`);
      bytes[i] = this.u8[at]!;
    }
    return bytes;
  }

  setState64(offset: number, value: number | bigint): void {
    this.view.setBigUint64(this.stateOffset + offset, BigInt.asUintN(64, BigInt(value)), true);
  }

  getState64(offset: number): bigint {
    return this.view.getBigUint64(this.stateOffset + offset, true);
  }

  /** Index of the word by which another thread ends a run: PENDING_KICK there makes run() look at its time. */
  get pendingIndex(): number {
    return (this.stateOffset + S.PENDING) >>> 2;
  }

  /** Runs from RIP until HLT, an exception, or `timeoutMs` of host time (looked at after exits only). */
  run(timeoutMs = 10_000): BareEnd {
    const { engine } = this.created;
    const deadline = monotonicNs() + timeoutMs * 1e6;
    this.view.setInt32(this.stateOffset + S.ACTIVITY, S.ACTIVITY_RUNNING, true);
    this.#end = undefined;
    for (;;) {
      const result = engine.run();
      if (result === 'halted') return { kind: 'halted' };
      if (result === 'intercepted' && this.#end !== undefined) return this.#end;
      if (result === 'shutdown') return { kind: 'exception', vector: 8, errorCode: 0, cr2: 0n };
      if (monotonicNs() > deadline) return { kind: 'timeout' };
    }
  }
}
