// A ring of bytes from an actor to the kernel's thread, which writes them where they are to go. Two free-running positions in the
// arena: HEAD is the actor's, TAIL the reader's, and neither side writes the other's. So nothing is lost when the actor dies, and
// nothing comes twice: what stands before HEAD was handed over, whoever comes next.

export interface OutputRing {
  /** Over the arena; `head` and `tail` are indices in it. */
  readonly words: Int32Array;
  readonly head: number;
  readonly tail: number;
  /** The ring, a power of two long. */
  readonly bytes: Uint8Array;
}

/** Release: the bytes before `position` stand. Pairs with {@link waitingOutput}. */
export function publishHead(words: Int32Array, head: number, position: number): void {
  Atomics.store(words, head, position);
}

/** Wakes the reader. */
export function announceOutput(ring: OutputRing): void {
  Atomics.notify(ring.words, ring.head);
}

/** Bytes that the reader has not taken. */
export function waitingOutput(ring: OutputRing): number {
  return (Atomics.load(ring.words, ring.head) - Atomics.load(ring.words, ring.tail)) >>> 0;
}

/** Blocks the actor until the reader has taken something, `timeoutMs` at most. */
export function waitForRoom(ring: OutputRing, timeoutMs: number): void {
  const tail = Atomics.load(ring.words, ring.tail);
  if (waitingOutput(ring) >= ring.bytes.length) Atomics.wait(ring.words, ring.tail, tail, timeoutMs);
}

/** What stands in one piece; empty when nothing waits. */
export function peekOutput(ring: OutputRing): Uint8Array {
  const at = Atomics.load(ring.words, ring.tail) & (ring.bytes.length - 1);
  return ring.bytes.subarray(at, Math.min(at + waitingOutput(ring), ring.bytes.length));
}

/** The reader is done with so many bytes. */
export function takeOutput(ring: OutputRing, count: number): void {
  Atomics.add(ring.words, ring.tail, count);
  Atomics.notify(ring.words, ring.tail);
}

/** Resolves when there is something to take, or `timeoutMs` have passed. Blocks no thread. */
export async function waitForOutput(ring: OutputRing, timeoutMs: number): Promise<void> {
  const head = Atomics.load(ring.words, ring.head);
  if (waitingOutput(ring) > 0) return;
  const wait = Atomics.waitAsync(ring.words, ring.head, head, timeoutMs);
  if (wait.async) await wait.value;
}
