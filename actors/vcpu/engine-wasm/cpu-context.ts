// What the TypeScript half of the wasm engine (helpers/*) sees of its vCPU: the state page, guest memory through the
// MMU, and the machine around it. The engine implements it; tests may with flat memory.
//
// A linear address is a JS number: the 64-bit address as a signed integer (−2^47 … 2^47−1 when canonical), so that
// no BigInt is made on the way. An address that is not canonical may be inexact, but never looks canonical: the
// memory verbs raise #GP(0) for it (#SS(0) is the caller's affair).

import type { CpuidResult } from '#shared/x86/cpuid.js';
import type { Lapic } from '#shared/x86/lapic.js';
import type { MsrFile } from '#shared/x86/msr.js';

/** See {@link CpuContext.stepTrap}. */
export type StepTrap = 'before' | 'after' | 'never';

export interface CpuContext {
  /** Views of the state page: index = offset / element size. */
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly i64: BigInt64Array;
  /** The whole arena, for {@link translateRun}. */
  readonly arena: Uint8Array;
  readonly arena64: BigInt64Array;

  /** Results of {@link readU64}, as u32. */
  lo: number;
  hi: number;

  // Guest memory by linear address; may cross pages, may be MMIO. `supervisor` accesses as CPL 0 whatever CPL is
  // (descriptor tables, TSS, stacks of an inner level); otherwise by CPL. A fault throws GuestFault; #PF sets CR2.
  readU8(address: number, supervisor: boolean): number;
  readU16(address: number, supervisor: boolean): number;
  /** u32. */
  readU32(address: number, supervisor: boolean): number;
  readU64(address: number, supervisor: boolean): void;
  writeU8(address: number, value: number, supervisor: boolean): void;
  writeU16(address: number, value: number, supervisor: boolean): void;
  writeU32(address: number, value: number, supervisor: boolean): void;
  writeU64(address: number, lo: number, hi: number, supervisor: boolean): void;
  /** Throws what a write (or read) of these bytes would, without doing it. */
  probe(address: number, bytes: number, write: boolean, supervisor: boolean): void;
  /**
   * Arena offset of a linear address at the current privilege, good to the end of its 4 KiB page; −1 when the page is not plain memory
   * (MMIO, or writes to it are watched): the caller then takes the slow way. Faults throw. Sets A and D bits and the dirty bitmap.
   */
  translateRun(address: number, write: boolean): number;

  /**
   * Recomputes CODE_MODE, TLB_BASE, JUMP_CACHE_BASE, SIMD_TRAP, X87_TRAP from CR0, CR4, EFER, DR7, CPL, RFLAGS_SYSTEM (TF, AC) and the segments.
   * Cheap when nothing changed.
   */
  modeChanged(): void;
  flushTlb(includingGlobal: boolean): void;
  invalidatePage(address: number): void;

  /** u32. */
  portRead(port: number, bytes: number): number;
  portWrite(port: number, bytes: number, value: number): void;

  /** Whether a step of this instruction traps: by TF before it (until a helper says otherwise), by TF after it, not at all. */
  stepTrap: StepTrap;
  /** DR6 bits of the data breakpoints that a load of SS held back. */
  takeBreakpointHits(): number;
  /** IRET lets NMIs in again. */
  unblockNmi(): void;
  readonly msrs: MsrFile;
  readonly lapic: Lapic;
  cpuid(leaf: number, subleaf: number): CpuidResult;
  /** ORs PENDING_INTERRUPT back into PENDING and clears IRQ_PARKED. */
  unparkInterrupt(): void;
  /** The exclusive section of LOCKed accesses that WebAssembly has no atomic for. */
  lockMemory(): void;
  unlockMemory(): void;
}

/** A fault of the guest's on its way out of a helper: the engine's boundary turns it into EXIT_EXCEPTION. */
export class GuestFault {
  readonly vector: number;
  /** −1: none. */
  readonly errorCode: number;

  constructor(vector: number, errorCode: number) {
    this.vector = vector;
    this.errorCode = errorCode;
  }
}

/** Raises a fault at the instruction that runs. */
export function raise(vector: number, errorCode = -1): never {
  throw new GuestFault(vector, errorCode);
}

/** `a0`–`a2` are i32; the result is an EXIT_ value. RIP is that of the instruction; HELPER_ARG1 often holds the next one's. */
export type Helper = (cpu: CpuContext, a0: number, a1: number, a2: number) => number;
