// A lock in one word of the arena: 0 free, 1 held. For sections of a few instructions; not reentrant, and not broken
// when its holder dies.

/** The longest sleep before the word is looked at again. */
const SLICE_MS = 1;

/** Acquire; pairs with {@link releaseLock}. Blocks the thread. */
export function acquireLock(i32: Int32Array, lock: number): void {
  while (Atomics.compareExchange(i32, lock, 0, 1) !== 0) Atomics.wait(i32, lock, 1, SLICE_MS);
}

/** Release; pairs with {@link acquireLock}. */
export function releaseLock(i32: Int32Array, lock: number): void {
  Atomics.store(i32, lock, 0);
  Atomics.notify(i32, lock, 1);
}
