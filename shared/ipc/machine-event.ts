// What a guest asks of its machine as a whole: power off, reset, exit with a code, or a triple fault. One word, set once:
// the first event wins, until the kernel has taken it. Any actor raises, the kernel alone takes.
import type { MachineLayout } from '#shared/memory/machine-layout.js';
import type { Region } from '#shared/base/region.js';

/** ACPI S5 or an equivalent. */
export const POWEROFF = 1;
/** Port CF9, i8042, or the FADT's reset register. */
export const RESET = 2;
/** isa-debug-exit; the value is what the guest wrote. */
export const DEBUG_EXIT = 3;
/** A triple fault; the value is the vCPU's index. */
export const SHUTDOWN = 4;
export type MachineEventKind = typeof POWEROFF | typeof RESET | typeof DEBUG_EXIT | typeof SHUTDOWN;

export interface MachineEvent {
  readonly kind: MachineEventKind;
  /** 24 bits. */
  readonly value: number;
}

export const MACHINE_EVENT_BYTES = 64;

/** Publishes the event and wakes the kernel; false when another one was first. */
export function raiseMachineEvent(
  layout: MachineLayout,
  i32: Int32Array,
  kind: MachineEventKind,
  value = 0,
): boolean {
  const index = layout.shared.machineEvent.offset >>> 2;
  const first = Atomics.compareExchange(i32, index, 0, kind | (value << 8)) === 0;
  Atomics.notify(i32, index);
  return first;
}

/** Takes the event, if there is one. */
export function takeMachineEvent(i32: Int32Array, region: Region): MachineEvent | undefined {
  const word = Atomics.exchange(i32, region.offset >>> 2, 0);
  if (word === 0) return undefined;
  return { kind: (word & 0xff) as MachineEventKind, value: word >>> 8 };
}

/** Resolves when an event stands in the word or `timeoutMs` pass. */
export async function waitMachineEvent(i32: Int32Array, region: Region, timeoutMs: number): Promise<void> {
  const wait = Atomics.waitAsync(i32, region.offset >>> 2, 0, timeoutMs);
  if (wait.async) await wait.value;
}
