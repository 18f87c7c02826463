// The engine's CpuContext: one vCPU's state page, memory and surroundings for the TypeScript half of the engine.

import { CR0_EM, CR0_TS, CR4_OSFXSR } from '#shared/x86/control-bits.js';
import { EFER_LMA } from '#shared/x86/msr-index.js';
import { setOwnPending } from '#shared/x86/vcpu-words.js';
import type { Region } from '#shared/base/region.js';
import type { CodeMap } from '#shared/memory/code-map.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { type CpuidResult, cpuidLeaf } from '#shared/x86/cpuid.js';
import * as S from '#shared/x86/cpu-state.js';
import type { Lapic } from '#shared/x86/lapic.js';
import type { MsrFile } from '#shared/x86/msr.js';
import type { BlockCache } from './block-cache.js';
import type { CodeFetch } from './code-fetch.js';
import type { CpuContext, StepTrap } from './cpu-context.js';
import { DebugRegisters } from './debug-registers.js';
import type { Mmu } from './mmu.js';
import { ACCESS_WRITE } from './page-walk.js';
import { SET_SUPERVISOR, SET_SUPERVISOR_SMAP_OFF, SET_USER, type Tlb } from './tlb.js';

/** Port I/O of one vCPU. Values are u32. */
export interface PortBus {
  portRead(port: number, bytes: number): number;
  portWrite(port: number, bytes: number, value: number): void;
}

export interface CpuParts {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly state: Region;
  readonly ram: GuestMemory;
  readonly mmu: Mmu;
  readonly tlb: Tlb;
  readonly blocks: BlockCache;
  readonly code: CodeFetch;
  readonly codeMap: CodeMap;
  readonly ports: PortBus;
  readonly lapic: Lapic;
  readonly msrs: MsrFile;
  readonly vcpu: number;
  readonly vcpuCount: number;
}

const RFLAGS_TF = 1 << 8;
const RFLAGS_AC = 1 << 18;
const ATTRIBUTE_LONG = 1 << 9;
const ATTRIBUTE_BIG = 1 << 10;
const APIC_BASE_ENABLE = 1 << 11;
const TWO_32 = 0x1_0000_0000;
/** Bounce buffer of the memory verbs in the state page. */
const BOUNCE = S.VECTOR_SCRATCH + 16;

const slot = (segment: number, field: number): number => S.SEGMENT + segment * S.SEGMENT_BYTES + field;

export class Cpu implements CpuContext {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly i64: BigInt64Array;
  readonly arena: Uint8Array;
  readonly arena64: BigInt64Array;
  lo = 0;
  hi = 0;
  stepTrap: StepTrap = 'before';
  readonly debug: DebugRegisters;
  readonly msrs: MsrFile;
  readonly lapic: Lapic;
  readonly #p: CpuParts;
  readonly #base: number;

  constructor(parts: CpuParts) {
    const { buffer } = parts.u8;
    const { offset, bytes } = parts.state;
    this.#p = parts;
    this.#base = offset;
    this.u8 = new Uint8Array(buffer, offset, bytes);
    this.u16 = new Uint16Array(buffer, offset, bytes / 2);
    this.i32 = new Int32Array(buffer, offset, bytes / 4);
    this.u32 = new Uint32Array(buffer, offset, bytes / 4);
    this.i64 = new BigInt64Array(buffer, offset, bytes / 8);
    this.arena = parts.u8;
    this.arena64 = new BigInt64Array(buffer);
    this.debug = new DebugRegisters(this.i32);
    parts.mmu.debug = this.debug;
    this.msrs = parts.msrs;
    this.lapic = parts.lapic;
  }

  #access(supervisor: boolean): number {
    return supervisor ? 0 : this.#p.mmu.dataAccess();
  }

  #read(address: number, bytes: number, supervisor: boolean): void {
    const high = Math.floor(address / TWO_32);
    this.#p.mmu.readInto(address | 0, high | 0, bytes, this.#access(supervisor), this.#base + BOUNCE);
  }

  #write(address: number, bytes: number, supervisor: boolean): void {
    const high = Math.floor(address / TWO_32);
    this.#p.mmu.writeFrom(address | 0, high | 0, bytes, this.#access(supervisor), this.#base + BOUNCE);
  }

  readU8(address: number, supervisor: boolean): number {
    this.#read(address, 1, supervisor);
    return this.u8[BOUNCE]!;
  }

  readU16(address: number, supervisor: boolean): number {
    this.#read(address, 2, supervisor);
    return this.u16[BOUNCE / 2]!;
  }

  readU32(address: number, supervisor: boolean): number {
    this.#read(address, 4, supervisor);
    return this.u32[BOUNCE / 4]!;
  }

  readU64(address: number, supervisor: boolean): void {
    this.#read(address, 8, supervisor);
    this.lo = this.u32[BOUNCE / 4]!;
    this.hi = this.u32[BOUNCE / 4 + 1]!;
  }

  writeU8(address: number, value: number, supervisor: boolean): void {
    this.u8[BOUNCE] = value;
    this.#write(address, 1, supervisor);
  }

  writeU16(address: number, value: number, supervisor: boolean): void {
    this.u16[BOUNCE / 2] = value;
    this.#write(address, 2, supervisor);
  }

  writeU32(address: number, value: number, supervisor: boolean): void {
    this.u32[BOUNCE / 4] = value;
    this.#write(address, 4, supervisor);
  }

  writeU64(address: number, lo: number, hi: number, supervisor: boolean): void {
    this.u32[BOUNCE / 4] = lo;
    this.u32[BOUNCE / 4 + 1] = hi;
    this.#write(address, 8, supervisor);
  }

  probe(address: number, bytes: number, write: boolean, supervisor: boolean): void {
    const access = this.#access(supervisor) | (write ? ACCESS_WRITE : 0);
    const last = address + bytes - 1;
    this.#p.mmu.probe(address | 0, Math.floor(address / TWO_32) | 0, access);
    if (Math.floor(last / 4096) !== Math.floor(address / 4096))
      this.#p.mmu.probe(last | 0, Math.floor(last / TWO_32) | 0, access);
  }

  translateRun(address: number, write: boolean): number {
    const access = this.#access(false) | (write ? ACCESS_WRITE : 0);
    return this.#p.mmu.directAddress(address | 0, Math.floor(address / TWO_32) | 0, access);
  }

  modeChanged(): void {
    const { i32 } = this;
    const cr0 = i32[S.CR0 / 4]!;
    const simdDisabled = (cr0 & CR0_EM) !== 0 || (i32[S.CR4 / 4]! & CR4_OSFXSR) === 0;
    const lazy = (cr0 & CR0_TS) !== 0 ? 7 : 0;
    i32[S.SIMD_TRAP / 4] = simdDisabled ? 6 : lazy;
    i32[S.X87_TRAP / 4] = (cr0 & CR0_EM) !== 0 ? 6 : lazy;
    if (this.debug.refresh() && this.debug.armed) this.#p.tlb.flush();
    // Generated code goes on to its block's end, the run loop then by steps.
    if (this.debug.armed || (i32[S.RFLAGS_SYSTEM / 4]! & RFLAGS_TF) !== 0)
      setOwnPending(i32, S.PENDING / 4, S.PENDING_STEP);
    const user = i32[S.CPL / 4] === 3 ? 1 : 0;
    const smapOff = (i32[S.RFLAGS_SYSTEM / 4]! & RFLAGS_AC) !== 0;
    const set = user !== 0 ? SET_USER : smapOff ? SET_SUPERVISOR_SMAP_OFF : SET_SUPERVISOR;
    i32[S.TLB_BASE / 4] = this.#p.tlb.setOffset(set);
    const mode = this.#codeMode();
    i32[S.CODE_MODE / 4] = mode;
    i32[S.WALKED_TLB / 4] = mode === S.MODE_64 && !this.debug.armed ? this.#p.tlb.offset : 0;
    const modeWord = (user !== 0 ? S.USER_JUMP_CACHE_MODE : S.SUPERVISOR_JUMP_CACHE_MODE) / 4;
    if (i32[modeWord] !== mode + 1) {
      i32[modeWord] = mode + 1;
      this.#p.blocks.flushJumpCache(user);
    }
    i32[S.JUMP_CACHE_BASE / 4] = this.#p.blocks.jumpCacheOffset(user);
  }

  #codeMode(): number {
    const cs = this.u16[slot(S.CS, S.SEGMENT_ATTRIBUTES) / 2]!;
    if ((this.i32[S.EFER / 4]! & EFER_LMA) !== 0 && (cs & ATTRIBUTE_LONG) !== 0) return S.MODE_64;
    const stack =
      (this.u16[slot(S.SS, S.SEGMENT_ATTRIBUTES) / 2]! & ATTRIBUTE_BIG) !== 0 ? S.MODE_STACK32 : 0;
    return ((cs & ATTRIBUTE_BIG) !== 0 ? S.MODE_32 : S.MODE_16) | stack;
  }

  flushTlb(includingGlobal: boolean): void {
    const { tlb, code } = this.#p;
    if (includingGlobal) {
      tlb.flush();
      code.flush();
    } else {
      tlb.flushLocal();
      code.flushLocal();
    }
  }

  invalidatePage(address: number): void {
    const high = Math.floor(address / TWO_32) | 0;
    this.#p.tlb.drop(address | 0, high);
    this.#p.code.drop(address | 0, high);
  }

  portRead(port: number, bytes: number): number {
    return this.#p.ports.portRead(port, bytes);
  }

  portWrite(port: number, bytes: number, value: number): void {
    this.#p.ports.portWrite(port, bytes, value);
  }

  cpuid(leaf: number, subleaf: number): CpuidResult {
    return cpuidLeaf(leaf, subleaf, {
      apicId: this.#p.vcpu,
      vcpuCount: this.#p.vcpuCount,
      apicEnabled: (this.i32[S.APIC_BASE / 4]! & APIC_BASE_ENABLE) !== 0,
    });
  }

  unparkInterrupt(): void {
    if (this.i32[S.IRQ_PARKED / 4] === 0) return;
    this.i32[S.IRQ_PARKED / 4] = 0;
    setOwnPending(this.i32, S.PENDING / 4, S.PENDING_INTERRUPT);
  }

  takeBreakpointHits(): number {
    return this.debug.takeHits();
  }

  unblockNmi(): void {
    const state = this.i32[S.NMI_STATE / 4]!;
    if (state === 0) return;
    this.i32[S.NMI_STATE / 4] = 0;
    if ((state & S.NMI_KEPT) !== 0) setOwnPending(this.i32, S.PENDING / 4, S.PENDING_NMI);
  }

  lockMemory(): void {
    this.#p.mmu.acquire();
  }

  unlockMemory(): void {
    this.#p.mmu.release();
  }
}
