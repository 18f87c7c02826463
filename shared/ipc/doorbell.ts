// A doorbell: one 32-bit word per actor, each bit a reason to wake. Senders set bits and notify; the actor takes all
// bits at once and waits once for all of its queues. Word 1 says whether the actor sleeps, so that a ring at an awake
// actor costs no system call.
import type { Region } from '#shared/base/region.js';

/** A control call waits in the event loop. */
export const BELL_CONTROL = 1;
/** A mailbox holds a message. */
export const BELL_MAILBOX = 2;
/** A guest virtqueue was notified; which one stands in the register page. */
export const BELL_QUEUE = 4;
/** The guest changed PCI config space. */
export const BELL_CONFIG = 8;
/** A deadline moved: compute the earliest again. */
export const BELL_TIMER = 16;
/** The kernel asks for a sign of life. */
export const BELL_PING = 32;
/** The kernel ends the thread here, where the actor's state is whole. */
export const BELL_END = 64;

export const DOORBELL_BYTES = 64;
const BITS = 0;
const SLEEPING = 1;
/** For generated code: byte offset in a doorbell. */
export const DOORBELL_SLEEPING = SLEEPING * 4;
const SPIN_TURNS = 1000;

/** The index of a doorbell's word in an Int32Array over the arena; what the verbs below take. */
export function doorbellIndex(doorbell: Region): number {
  return doorbell.offset >>> 2;
}

/**
 * Sets `reasons` and wakes the actor. Sequentially consistent: whatever was published before is visible to the actor
 * when it sees the bits. Pairs with {@link takeDoorbell} and {@link waitDoorbell}: the bits are set before SLEEPING is
 * read, the sleeper sets SLEEPING before it compares the bits, so one of the two sees the other.
 */
export function ringDoorbell(i32: Int32Array, index: number, reasons: number): void {
  Atomics.or(i32, index + BITS, reasons);
  if (Atomics.load(i32, index + SLEEPING) !== 0) Atomics.notify(i32, index + BITS);
}

/** Takes and clears all reasons. Queues must be looked at after this, or a ring between would be lost. */
export function takeDoorbell(i32: Int32Array, index: number): number {
  if (Atomics.load(i32, index + BITS) === 0) return 0;
  return Atomics.exchange(i32, index + BITS, 0);
}

/** Clears reasons that were meant for a thread that is gone. */
export function clearDoorbell(i32: Int32Array, index: number, reasons: number): void {
  Atomics.and(i32, index + BITS, ~reasons);
}

export function peekDoorbell(i32: Int32Array, index: number): number {
  return Atomics.load(i32, index + BITS);
}

/** Sleeps until the doorbell rings or `timeoutMs` pass; returns at once when bits are set. Blocks the thread. */
export function waitDoorbell(i32: Int32Array, index: number, timeoutMs: number): void {
  Atomics.store(i32, index + SLEEPING, 1);
  Atomics.wait(i32, index + BITS, 0, timeoutMs);
  Atomics.store(i32, index + SLEEPING, 0);
}

/** Looks at the doorbell for about ten microseconds, then waits. */
export function spinOnDoorbell(i32: Int32Array, index: number, timeoutMs: number): void {
  let turns = SPIN_TURNS;
  while (turns-- > 0 && peekDoorbell(i32, index) === 0);
  if (turns < 0) waitDoorbell(i32, index, timeoutMs);
}

/** As {@link waitDoorbell}, but the event loop goes on meanwhile. */
export async function waitDoorbellAsync(i32: Int32Array, index: number, timeoutMs: number): Promise<void> {
  Atomics.store(i32, index + SLEEPING, 1);
  const wait = Atomics.waitAsync(i32, index + BITS, 0, timeoutMs);
  if (wait.async) await wait.value;
  Atomics.store(i32, index + SLEEPING, 0);
}

/** Sets `bits` in a plain pending word (a vCPU's PENDING) and wakes who waits on it. */
export function signalWord(i32: Int32Array, index: number, bits: number): void {
  Atomics.or(i32, index, bits);
  Atomics.notify(i32, index);
}
