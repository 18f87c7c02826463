// The atomic words of a vCPU's state page: PENDING (reasons to leave the run loop), INSIDE_ENGINE (guest code may run) and TLB_FLUSH_ACK
// (how often the vCPU has dropped its TLB on request). Verbs take an Int32Array and the index of the word in it. To set PENDING bits of
// another vCPU and wake it: signalVcpu in interrupt-fabric.ts, signalWord in doorbell.ts.

/** Acquire; pairs with signalVcpu and signalWord: what was published before the bits is visible after this. */
export function loadPending(i32: Int32Array, pending: number): number {
  return Atomics.load(i32, pending);
}

/** Sets bits of one's own PENDING: nobody sleeps on it, so nobody is woken. */
export function setOwnPending(i32: Int32Array, pending: number, bits: number): void {
  Atomics.or(i32, pending, bits);
}

/** Clears bits before what they ask for is done, so that a request that comes meanwhile is kept. Returns the word as it was. */
export function clearPending(i32: Int32Array, pending: number, bits: number): number {
  return Atomics.and(i32, pending, ~bits);
}

/** HLT: sleeps while nothing is pending, at most `timeoutMs`. Blocks the thread. */
export function waitPending(i32: Int32Array, pending: number, timeoutMs: number): void {
  Atomics.wait(i32, pending, 0, timeoutMs);
}

/** Clears immediate_exit of a kvm_run page before PENDING is looked at; pairs with a kick, which sets PENDING first. */
export function clearRunFlag(u8: Uint8Array, at: number): void {
  Atomics.store(u8, at, 0);
}

/**
 * Says that guest code may run and the state page is not exact. Sequentially consistent: the vCPU looks at PENDING after this, and
 * who asks it for something sets PENDING before {@link isInsideEngine}, so one of the two sees the other.
 */
export function enterEngine(i32: Int32Array, inside: number): void {
  Atomics.store(i32, inside, 1);
}

/** Release: the state page is exact, and no guest code runs before the next {@link enterEngine}. */
export function leaveEngine(i32: Int32Array, inside: number): void {
  Atomics.store(i32, inside, 0);
}

/** Pairs with {@link enterEngine} and {@link leaveEngine}. */
export function isInsideEngine(i32: Int32Array, inside: number): boolean {
  return Atomics.load(i32, inside) !== 0;
}

/** Acquire; pairs with {@link countFlush}. */
export function loadFlushCount(i32: Int32Array, ack: number): number {
  return Atomics.load(i32, ack);
}

/** Release: says that the TLB is empty, wakes who waits for that. */
export function countFlush(i32: Int32Array, ack: number): void {
  Atomics.add(i32, ack, 1);
  Atomics.notify(i32, ack);
}

/** Sleeps while the count is still `seen`, at most `timeoutMs`. Pairs with {@link countFlush}. */
export function waitFlushCount(i32: Int32Array, ack: number, seen: number, timeoutMs: number): void {
  Atomics.wait(i32, ack, seen, timeoutMs);
}
