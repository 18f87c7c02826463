// A machine without threads: an arena with state, LAPIC and chipset pages, a clock moved by hand, and the interrupt
// parts of each vCPU. For tests of what interrupts whom.

import { ManualClock } from '#shared/base/clock.js';
import { viewChipsetPage, type ChipsetPage } from '#shared/chipset/chipset-page.js';
import { CHIPSET_PAGE_BYTES } from '#shared/chipset/page-layout.js';
import { GuestMemory } from '#shared/memory/guest-memory.js';
import { resetChipset } from '#shared/x86/chipset-power-on.js';
import { createInterruptFabric, type InterruptFabric } from '#shared/x86/interrupt-delivery.js';
import { Lapic } from '#shared/x86/lapic.js';
import { MsrFile } from '#shared/x86/msr.js';

export interface InterruptMachine {
  readonly fabric: InterruptFabric;
  readonly clock: ManualClock;
  readonly page: ChipsetPage;
  readonly lapics: Lapic[];
  readonly msrs: MsrFile[];
  readonly ram: GuestMemory;
  /** How often a vCPU rang the ticker. */
  rings: number;
  wallNs: number;
  /** PENDING of a vCPU, cleared by this look. */
  takePending(vcpu: number): number;
}

const PAGE = 4096;
export const START_NS = 5e9;

export function buildInterruptMachine(vcpus: number): InterruptMachine {
  const pages = 2 * vcpus + 1;
  const ramOffset = pages * PAGE;
  const ramBytes = 16 * PAGE;
  const buffer = new SharedArrayBuffer(ramOffset + ramBytes);
  const layout = {
    vcpus: Array.from({ length: vcpus }, (_, i) => ({
      state: { offset: 2 * i * PAGE, bytes: PAGE },
      lapic: { offset: (2 * i + 1) * PAGE, bytes: PAGE },
    })),
    shared: { chipset: { offset: 2 * vcpus * PAGE, bytes: PAGE } },
  };
  const fabric = createInterruptFabric({ buffer }, layout);
  const clock = new ManualClock(START_NS);
  const ram = new GuestMemory(buffer, { ramOffset, lowBytes: ramBytes, highBytes: 0 });
  const lapics: Lapic[] = [];
  const msrs: MsrFile[] = [];
  const machine: InterruptMachine = {
    fabric,
    clock,
    page: viewChipsetPage(buffer, layout.shared.chipset.offset, CHIPSET_PAGE_BYTES),
    lapics,
    msrs,
    ram,
    rings: 0,
    wallNs: Date.UTC(2024, 1, 29, 12, 34, 56) * 1e6,
    takePending: (vcpu) => Atomics.exchange(fabric.words, fabric.pending[vcpu]!, 0),
  };
  resetChipset(fabric, clock.nowNs(), machine.wallNs);
  const hooks = {
    nowNs: () => clock.nowNs(),
    wallNs: () => machine.wallNs + clock.nowNs() - START_NS,
    ringTicker: () => void machine.rings++,
  };
  for (let vcpu = 0; vcpu < vcpus; vcpu++) {
    const lapic = new Lapic(fabric, vcpu, hooks);
    lapic.reset();
    lapics.push(lapic);
    const msr = new MsrFile(fabric, vcpu, lapic, ram, hooks);
    msr.reset();
    msrs.push(msr);
  }
  return machine;
}

/** Software-enables every LAPIC, as a kernel does first. */
export function enableLapics(machine: InterruptMachine): void {
  for (const lapic of machine.lapics) lapic.mmioWrite(0xf0, 0x1ff);
}
