// The lock of the chipset page: for the registers that change several words at once (8259 programming, PIT, RTC, i8042).
// The word holds its owner, so that the kernel can take it away from a worker that died inside. A section is a few
// dozen instructions and never waits for anything, so a waiter spins, then sleeps in short slices.

import { CHIPSET_LOCK } from '#shared/chipset/page-layout.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';

const SPINS = 2000;
const SLICE_MS = 1;

/** The lock's owner value for a vCPU. */
export function vcpuLockOwner(vcpuIndex: number): number {
  return vcpuIndex + 1;
}

/** Acquire; pairs with {@link unlockChipset}. Not reentrant. */
export function lockChipset(fabric: InterruptFabric, owner: number): void {
  const index = fabric.chipset + (CHIPSET_LOCK >> 2);
  for (let spins = 0; ; spins++) {
    const was = Atomics.compareExchange(fabric.words, index, 0, owner);
    if (was === 0) return;
    if (spins >= SPINS) Atomics.wait(fabric.words, index, was, SLICE_MS);
  }
}

/** Release. */
export function unlockChipset(fabric: InterruptFabric): void {
  Atomics.store(fabric.words, fabric.chipset + (CHIPSET_LOCK >> 2), 0);
}

/** For the kernel, after a worker's death: frees the lock when that worker held it. True when it did. */
export function breakChipsetLock(fabric: InterruptFabric, owner: number): boolean {
  const index = fabric.chipset + (CHIPSET_LOCK >> 2);
  return Atomics.compareExchange(fabric.words, index, owner, 0) === owner;
}
