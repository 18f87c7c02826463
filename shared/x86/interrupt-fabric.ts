// The wires between interrupt sources and vCPUs: where each vCPU's PENDING word and LAPIC page are in the arena, and
// the few atomic verbs on them. Any thread may hold one; nothing here blocks or allocates. SDM vol. 3 §11.8.4
// (interrupt acceptance): a vector is accepted by a bit in IRR; PENDING tells the vCPU to look.

import type { Region } from '#shared/base/region.js';
import type { InterruptWire } from '#shared/x86/host-interrupts.js';
import * as L from '#shared/x86/lapic-layout.js';
import { PENDING, PENDING_INTERRUPT } from '#shared/x86/cpu-state.js';

/** The part of the machine's layout that interrupts need. */
export interface InterruptLayout {
  readonly vcpus: readonly { readonly state: Region; readonly lapic: Region }[];
  readonly shared: { readonly chipset: Region };
}

/** Word (not byte) indices into `words`, one per vCPU, and of the chipset page. */
export interface InterruptFabric {
  readonly words: Int32Array;
  readonly vcpuCount: number;
  /** Of the state page; its PENDING word is `pending[i]`. */
  readonly state: readonly number[];
  readonly pending: readonly number[];
  readonly lapic: readonly number[];
  readonly chipset: number;
  /** Where messages go when the LAPICs are the host kernel's; the LAPIC pages sleep then. */
  readonly wire?: InterruptWire | undefined;
}

export function createInterruptFabric(
  memory: { readonly buffer: ArrayBufferLike },
  layout: InterruptLayout,
  wire?: InterruptWire,
): InterruptFabric {
  const state = layout.vcpus.map((vcpu) => vcpu.state.offset >> 2);
  return {
    words: new Int32Array(memory.buffer),
    vcpuCount: layout.vcpus.length,
    state,
    pending: state.map((word) => word + (PENDING >> 2)),
    lapic: layout.vcpus.map((vcpu) => vcpu.lapic.offset >> 2),
    chipset: layout.shared.chipset.offset >> 2,
    wire,
  };
}

/** Sets PENDING bits of a vCPU and wakes it from HLT (or kicks it out of KVM_RUN); the word as it was. Release: pairs with the run loop's clearing exchange. */
export function signalVcpu(fabric: InterruptFabric, vcpu: number, pendingBits: number): number {
  const index = fabric.pending[vcpu]!;
  const was = Atomics.or(fabric.words, index, pendingBits);
  Atomics.notify(fabric.words, index);
  fabric.wire?.kick(vcpu);
  return was;
}

/** Acquire load of a word of a vCPU's LAPIC page, `offset` in bytes. */
export function loadLapic(fabric: InterruptFabric, vcpu: number, offset: number): number {
  return Atomics.load(fabric.words, fabric.lapic[vcpu]! + (offset >> 2));
}

/**
 * Accepts a fixed vector: TMR first, then IRR, then PENDING, so that whoever sees the vector in IRR knows its
 * trigger mode. A vector that is already in IRR collapses into it, as on hardware.
 */
export function acceptVector(fabric: InterruptFabric, vcpu: number, vector: number, level: boolean): void {
  const page = fabric.lapic[vcpu]!;
  const bit = 1 << (vector & 31);
  const tmr = page + (L.LAPIC_TMR >> 2) + (vector >> 5);
  if (level) Atomics.or(fabric.words, tmr, bit);
  else Atomics.and(fabric.words, tmr, ~bit);
  Atomics.or(fabric.words, page + (L.LAPIC_IRR >> 2) + (vector >> 5), bit);
  signalVcpu(fabric, vcpu, PENDING_INTERRUPT);
}

/** Loads a word of the chipset page, `offset` in bytes; so do the verbs below. */
export function loadChipset(fabric: InterruptFabric, offset: number): number {
  return Atomics.load(fabric.words, fabric.chipset + (offset >> 2));
}

export function storeChipset(fabric: InterruptFabric, offset: number, value: number): void {
  Atomics.store(fabric.words, fabric.chipset + (offset >> 2), value | 0);
}

/** Returns the word as it was. */
export function orChipset(fabric: InterruptFabric, offset: number, bits: number): number {
  return Atomics.or(fabric.words, fabric.chipset + (offset >> 2), bits);
}

/** Returns the word as it was. */
export function andChipset(fabric: InterruptFabric, offset: number, bits: number): number {
  return Atomics.and(fabric.words, fabric.chipset + (offset >> 2), bits);
}

/** True when the word was `expected` and is now `value`. */
export function exchangeChipset(
  fabric: InterruptFabric,
  offset: number,
  expected: number,
  value: number,
): boolean {
  return (
    Atomics.compareExchange(fabric.words, fabric.chipset + (offset >> 2), expected | 0, value | 0) ===
    (expected | 0)
  );
}
