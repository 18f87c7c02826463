// The KVM paravirtual clock: the two structures that a guest asks for by MSR_KVM_SYSTEM_TIME_NEW and MSR_KVM_WALL_CLOCK_NEW.
// Linux Documentation/virt/kvm/x86/msr.rst; <asm/pvclock-abi.h>. The guest's TSC runs at exactly 1 GHz on every vCPU, so
// the structure is written once when the guest asks (and again when a TSC is moved or a machine resumed), and
// TSC_STABLE holds. Leaves out PVCLOCK_GUEST_STOPPED.

import type { GuestMemory } from '#shared/memory/guest-memory.js';

const PVCLOCK_BYTES = 32;
const WALL_CLOCK_BYTES = 12;
const PVCLOCK_TSC_STABLE_BIT = 1;
/** ns = ((ticks << shift) * mul) >> 32: exactly one ns a tick. */
const TSC_TO_SYSTEM_MUL = 0x8000_0000;
const TSC_SHIFT = 1;
const TWO_32 = 0x1_0000_0000;

/**
 * Writes struct pvclock_vcpu_time_info at `gpa`. `tsc` (as two u32) and `systemTimeNs` are of the same instant. False
 * when it does not lie in RAM: then the guest gets no clock, as it asked.
 */
export function writePvclock(
  ram: GuestMemory,
  gpa: number,
  tscLo: number,
  tscHi: number,
  systemTimeNs: number,
): boolean {
  const at = ram.arenaOffset(gpa, PVCLOCK_BYTES);
  if (at < 0 || (at & 3) !== 0) return false;
  const version = beginUpdate(ram, at);
  const { view } = ram;
  view.setUint32(at + 4, 0, true);
  view.setUint32(at + 8, tscLo, true);
  view.setUint32(at + 12, tscHi, true);
  view.setUint32(at + 16, systemTimeNs % TWO_32, true);
  view.setUint32(at + 20, Math.floor(systemTimeNs / TWO_32), true);
  view.setUint32(at + 24, TSC_TO_SYSTEM_MUL, true);
  view.setInt8(at + 28, TSC_SHIFT);
  view.setUint8(at + 29, PVCLOCK_TSC_STABLE_BIT);
  view.setUint16(at + 30, 0, true);
  endUpdate(ram, at, version);
  return true;
}

/** Writes struct pvclock_wall_clock: the UTC time at which system time was 0. False when it does not lie in RAM. */
export function writeWallClock(ram: GuestMemory, gpa: number, bootWallNs: number): boolean {
  const at = ram.arenaOffset(gpa, WALL_CLOCK_BYTES);
  if (at < 0 || (at & 3) !== 0) return false;
  const version = beginUpdate(ram, at);
  ram.view.setUint32(at + 4, Math.floor(bootWallNs / 1e9), true);
  ram.view.setUint32(at + 8, bootWallNs % 1e9, true);
  endUpdate(ram, at, version);
  return true;
}

/** Makes the version odd: a reader that sees it, or another version after than before, reads again. */
function beginUpdate(ram: GuestMemory, at: number): number {
  const words = new Int32Array(ram.view.buffer, at, 1);
  const version = (Atomics.load(words, 0) | 1) + 2;
  Atomics.store(words, 0, version);
  return version;
}

function endUpdate(ram: GuestMemory, at: number, version: number): void {
  Atomics.store(new Int32Array(ram.view.buffer, at, 1), 0, version + 1);
}
