// What other threads and devices ask of a vCPU through its PENDING word, served between two entries into generated code.
import { clearPending, loadPending, setOwnPending } from '#shared/x86/vcpu-words.js';
import * as S from '#shared/x86/cpu-state.js';
import type { EngineParts } from './engine.js';
import type { RegionTier } from './region-tier.js';

const IF = 1 << 9;
const NMI_VECTOR = 2;
const NMIS = S.PENDING_NMI | S.PENDING_NMI_AGAIN;

export interface PendingParts extends Pick<
  EngineParts,
  'cpu' | 'lapic' | 'blocks' | 'flushRequests' | 'reset' | 'report' | 'nowNs'
> {
  readonly regions: RegionTier;
  deliver(vector: number, kind: 'external' | 'nmi'): void;
}

/** An event ends HLT. */
export function wakeHalted(i32: Int32Array): void {
  if (i32[S.ACTIVITY / 4] === S.ACTIVITY_HALTED) i32[S.ACTIVITY / 4] = S.ACTIVITY_RUNNING;
}

export class PendingService {
  readonly #p: PendingParts;
  readonly #i32: Int32Array;
  /** Statistics: external interrupts delivered. */
  interrupts = 0;

  constructor(parts: PendingParts) {
    this.#p = parts;
    this.#i32 = parts.cpu.i32;
  }

  /** Serves what is pending; true when the kernel wants the thread. */
  serve(): boolean {
    const { lapic, blocks, flushRequests } = this.#p;
    const i32 = this.#i32;
    const pending = loadPending(i32, S.PENDING / 4);
    this.#p.report?.();
    if ((pending & S.PENDING_STEP) !== 0) this.#clear(S.PENDING_STEP);
    if ((pending & S.PENDING_TLB_FLUSH) !== 0) flushRequests.serve();
    if ((pending & S.PENDING_CODE_WRITE) !== 0) {
      this.#clear(S.PENDING_CODE_WRITE);
      blocks.dropStalePages();
    }
    if ((pending & S.PENDING_REGION) !== 0) {
      this.#clear(S.PENDING_REGION);
      this.#p.regions.collect();
    }
    if ((pending & S.PENDING_TIMER) !== 0) {
      this.#clear(S.PENDING_TIMER);
      lapic.timerExpired(this.#p.nowNs());
    }
    if ((pending & (S.PENDING_INIT | S.PENDING_SIPI)) !== 0) this.#serveStartup(pending);
    if ((pending & NMIS) !== 0 && i32[S.INTERRUPT_SHADOW / 4] === S.SHADOW_NONE) this.#serveNmi();
    if ((loadPending(i32, S.PENDING / 4) & S.PENDING_INTERRUPT) !== 0) this.#serveInterrupt();
    if ((pending & S.PENDING_KICK) !== 0) {
      this.#clear(S.PENDING_KICK);
      return true;
    }
    return false;
  }

  /** One is served, one more is kept; those that reach a processor that waits for SIPI are lost. */
  #serveNmi(): void {
    const i32 = this.#i32;
    const both = (clearPending(i32, S.PENDING / 4, NMIS) & NMIS) === NMIS;
    if (i32[S.ACTIVITY / 4]! > S.ACTIVITY_HALTED) return;
    if ((i32[S.NMI_STATE / 4]! & S.NMI_BLOCKED) !== 0) {
      i32[S.NMI_STATE / 4]! |= S.NMI_KEPT;
      return;
    }
    i32[S.NMI_STATE / 4] = S.NMI_BLOCKED | (both ? S.NMI_KEPT : 0);
    wakeHalted(i32);
    this.#p.deliver(NMI_VECTOR, 'nmi');
  }

  #clear(bits: number): void {
    clearPending(this.#i32, S.PENDING / 4, bits);
  }

  #serveInterrupt(): void {
    const { lapic } = this.#p;
    const i32 = this.#i32;
    this.#clear(S.PENDING_INTERRUPT);
    if (i32[S.ACTIVITY / 4]! > S.ACTIVITY_HALTED || !lapic.hasInterrupt()) return;
    if ((i32[S.RFLAGS_SYSTEM / 4]! & IF) === 0) {
      i32[S.IRQ_PARKED / 4] = 1;
      return;
    }
    if (i32[S.INTERRUPT_SHADOW / 4] !== 0) {
      // One instruction first: run() steps it and looks again.
      setOwnPending(i32, S.PENDING / 4, S.PENDING_INTERRUPT);
      return;
    }
    wakeHalted(i32);
    const vector = lapic.acknowledgeInterrupt();
    if (vector >= 0) {
      this.interrupts++;
      this.#p.deliver(vector, 'external');
    }
    if (lapic.hasInterrupt()) setOwnPending(i32, S.PENDING / 4, S.PENDING_INTERRUPT);
  }

  #serveStartup(pending: number): void {
    const { cpu, reset, lapic } = this.#p;
    const i32 = this.#i32;
    if ((pending & S.PENDING_INIT) !== 0) {
      this.#clear(S.PENDING_INIT);
      reset.init();
      lapic.resetForInit();
      cpu.flushTlb(true);
      cpu.modeChanged();
      const bootProcessor = (i32[S.APIC_BASE / 4]! & 0x100) !== 0;
      i32[S.ACTIVITY / 4] = bootProcessor ? S.ACTIVITY_RUNNING : S.ACTIVITY_WAIT_FOR_SIPI;
    }
    if ((pending & S.PENDING_SIPI) !== 0) {
      this.#clear(S.PENDING_SIPI);
      if (i32[S.ACTIVITY / 4] !== S.ACTIVITY_WAIT_FOR_SIPI) return;
      reset.sipi(i32[S.SIPI_VECTOR / 4]! & 0xff);
      cpu.modeChanged();
      i32[S.ACTIVITY / 4] = S.ACTIVITY_RUNNING;
    }
  }
}
