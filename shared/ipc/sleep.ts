// A pause of an actor's thread that nothing ends early; for a worker only, and for milliseconds.

const never = new Int32Array(new SharedArrayBuffer(4));

/** Blocks the thread. */
export function blockThread(delayMs: number): void {
  Atomics.wait(never, 0, 0, delayMs);
}
