// The device's side of a split virtqueue in guest RAM. virtio-v1.2 §2.7. What it must not forget stands in the state
// page, in an order that allows the device to die between any two stores:
//   take:     in-flight entry, then NEXT_AVAIL. Dead between: the entry's position is not taken yet and is dropped.
//   complete: used element, COMMIT, COMPLETING, used idx (the guest sees it: the one point of no return), the device's
//             commit, entry freed, NEXT_USED, COMPLETING cleared. Dead before the point: executed again; after it: the used
//             index in guest RAM is one ahead of NEXT_USED, and recovery does the rest.
// Recovery never looks at the available index. A guest's errors are values. Leaves out packed rings.
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_ALIGN,
  VIRTQ_AVAIL_ALIGN,
  VIRTQ_USED_ALIGN,
  availRingBytes,
  descTableBytes,
  loadAvailFlags,
  loadAvailIdx,
  loadUsedEvent,
  loadUsedIdx,
  needsEvent,
  publishUsedIdx,
  readAvailEntry,
  storeAvailEvent,
  usedRingBytes,
  writeUsedElem,
  type Ring,
} from '#shared/ipc/vring.js';
import type { Failpoint } from '#shared/ipc/failpoint.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import type { ChainError, DescriptorChain } from '#shared/virtio/descriptor-chain.js';
import * as S from '#shared/virtio/queue-state.js';
import * as B from '#shared/virtio/routines/service-block.js';

export type QueueError = ChainError | 'queue-size' | 'queue-address' | 'avail-jump';

/** A request was taken (into the chain handed in), none is there, or the guest broke a rule. */
export type TakeResult =
  { readonly kind: 'taken' | 'empty' } | { readonly kind: 'error'; readonly error: QueueError };

const TAKEN: TakeResult = { kind: 'taken' };
const EMPTY: TakeResult = { kind: 'empty' };
const NO_RING: Ring = { desc: 0, avail: 0, used: 0, size: 0 };

export interface QueueEnvironment {
  readonly views: ArenaViews;
  readonly ram: GuestMemory;
  readonly failpoint: Failpoint;
  /** Called before the guest learns of bytes that the device wrote into RAM: arena offset and length. */
  readonly ramWritten?: ((offset: number, length: number) => void) | undefined;
  /** After each request that carried data or a command of the driver's; `depth` more wait. */
  readonly requestDone?: ((depth: number) => void) | undefined;
  /** With `--trace virtio`: a line for every request taken and given back. */
  readonly trace?: ((text: string) => void) | undefined;
}

export class DeviceQueue {
  readonly maxSize: number;
  /** Negotiated. */
  eventIdx = false;
  indirect = false;
  readonly #env: QueueEnvironment;
  readonly #u32: Uint32Array;
  /** Word index of the queue's block. */
  readonly #at: number;
  readonly #index: number;
  #ring: Ring = NO_RING;
  /** In-flight positions that an earlier generation left, oldest first. */
  #leftOver: number[] = [];
  /** Used index at the last interrupt; undefined: interrupt in any case. */
  #signalledUsed: number | undefined;

  /** `stateOffset`: the block's byte offset in the arena; {@link S.queueStateWords} words. `index`: its number, for the trace. */
  constructor(env: QueueEnvironment, stateOffset: number, maxSize: number, index = 0) {
    this.#index = index;
    this.#env = env;
    this.#u32 = env.views.u32;
    this.#at = stateOffset >>> 2;
    this.maxSize = maxSize;
  }

  /** A word of the block, S.QUEUE_*. */
  get(word: number): number {
    return this.#u32[this.#at + word]!;
  }

  set(word: number, value: number): void {
    this.#u32[this.#at + word] = value;
  }

  /** Usable: enabled, and its rings were found good. */
  get isOpen(): boolean {
    return this.#ring.size !== 0;
  }

  /** Forgets what this thread knows of the queue; the state page keeps its own. */
  close(): void {
    this.#ring = NO_RING;
    this.#leftOver = [];
    this.#signalledUsed = undefined;
  }

  /** Back to the state after reset: disabled, nothing in flight. */
  reset(noVector: number): void {
    this.close();
    this.#u32.fill(0, this.#at, this.#at + S.queueStateWords(this.maxSize));
    this.set(S.QUEUE_SIZE, this.maxSize);
    this.set(S.QUEUE_MSIX_VECTOR, noVector);
  }

  /** Checks what the driver programmed and makes the queue usable. */
  open(): QueueError | undefined {
    this.close();
    const size = this.get(S.QUEUE_SIZE);
    if (size === 0 || size > this.maxSize || (size & (size - 1)) !== 0) return 'queue-size';
    const desc = this.#locate(S.QUEUE_DESC, descTableBytes(size), VIRTQ_DESC_ALIGN);
    const avail = this.#locate(S.QUEUE_DRIVER, availRingBytes(size), VIRTQ_AVAIL_ALIGN);
    const used = this.#locate(S.QUEUE_DEVICE, usedRingBytes(size), VIRTQ_USED_ALIGN);
    if (desc < 0 || avail < 0 || used < 0) return 'queue-address';
    this.#ring = { desc, avail, used, size };
    return undefined;
  }

  /**
   * After a restart, on an open queue: settles a completion that was cut short and finds what is in flight.
   * `commit` is called with the device's word when the guest has already seen the completion.
   */
  recover(commit: (word: number) => void): void {
    const completing = this.get(S.QUEUE_COMPLETING);
    const nextUsed = this.get(S.QUEUE_NEXT_USED);
    if (completing !== 0) {
      if (loadUsedIdx(this.#env.views, this.#ring) === ((nextUsed + 1) & 0xffff)) {
        commit(this.get(S.QUEUE_COMMIT));
        this.#settle(completing - 1, nextUsed);
      } else {
        this.set(S.QUEUE_COMPLETING, 0);
      }
    }
    this.#leftOver = [];
    const { size } = this.#ring;
    const nextAvail = this.get(S.QUEUE_NEXT_AVAIL);
    for (let back = size; back > 0; back--) {
      const position = (nextAvail - back) & 0xffff;
      const entry = this.#entry(position);
      if (this.#u32[entry + S.ENTRY_VALID] === 0) continue;
      if (this.#u32[entry + S.ENTRY_REQUEST]! >>> 16 === position) this.#leftOver.push(position);
      else this.#u32[entry + S.ENTRY_VALID] = 0; // its position was never taken
    }
  }

  /** The next request: first what is left over from an earlier generation, in order, then the available ring. */
  take(chain: DescriptorChain, mark = 0): TakeResult {
    const leftOver = this.#leftOver.shift();
    if (leftOver !== undefined) return this.#resume(chain, leftOver);
    const v = this.#env.views;
    const ring = this.#ring;
    const position = this.get(S.QUEUE_NEXT_AVAIL);
    const waiting = (loadAvailIdx(v, ring) - position) & 0xffff;
    if (waiting === 0) return EMPTY;
    if (waiting > ring.size) return { kind: 'error', error: 'avail-jump' };
    const entry = this.#entry(position);
    if (this.#u32[entry + S.ENTRY_VALID] !== 0) return { kind: 'error', error: 'avail-jump' };
    const head = readAvailEntry(v, ring, position);
    const error = chain.walk(ring, head, this.indirect);
    if (error !== undefined) return { kind: 'error', error };
    chain.position = position;
    chain.mark = mark;
    chain.resumed = false;
    this.#u32[entry + S.ENTRY_MARK] = mark;
    this.#u32[entry + S.ENTRY_REQUEST] = ((position << 16) | head) >>> 0;
    this.#u32[entry + S.ENTRY_VALID] = 1;
    this.#env.failpoint('inflight.set');
    this.set(S.QUEUE_NEXT_AVAIL, (position + 1) & 0xffff);
    this.#env.failpoint('request.received');
    this.#traceTaken(chain);
    return TAKEN;
  }

  #resume(chain: DescriptorChain, position: number): TakeResult {
    const entry = this.#entry(position);
    const head = this.#u32[entry + S.ENTRY_REQUEST]! & 0xffff;
    const error = chain.walk(this.#ring, head, this.indirect);
    if (error !== undefined) return { kind: 'error', error };
    chain.position = position;
    chain.mark = this.#u32[entry + S.ENTRY_MARK]!;
    chain.resumed = true;
    this.#traceTaken(chain);
    return TAKEN;
  }

  #traceTaken(chain: DescriptorChain): void {
    const { trace } = this.#env;
    if (trace === undefined) return;
    const { head, readableBytes, writableBytes, resumed } = chain;
    const again = resumed ? ' again' : '';
    trace(
      `queue ${this.#index} take${again} head ${head} readable ${readableBytes} writable ${writableBytes}`,
    );
  }

  /** Requests that the driver has made available and that are not completed. */
  get depth(): number {
    return (loadAvailIdx(this.#env.views, this.#ring) - this.get(S.QUEUE_NEXT_USED)) & 0xffff;
  }

  /** Is there a request that {@link take} would find? */
  get hasRequest(): boolean {
    if (this.#leftOver.length > 0) return true;
    return loadAvailIdx(this.#env.views, this.#ring) !== this.get(S.QUEUE_NEXT_AVAIL);
  }

  /**
   * Gives the request back to the driver with `length` bytes written. `commit` becomes effective with the publication, by
   * `onCommit` here or by {@link recover} in the next generation.
   */
  complete(chain: DescriptorChain, length: number, commit = 0, onCommit?: (word: number) => void): void {
    const { views, failpoint } = this.#env;
    const ring = this.#ring;
    const nextUsed = this.get(S.QUEUE_NEXT_USED);
    this.#announceWrites(chain, length, nextUsed);
    writeUsedElem(views, ring, nextUsed, chain.head, length);
    this.set(S.QUEUE_COMMIT, commit);
    this.set(S.QUEUE_COMPLETING, chain.position + 1);
    failpoint('used.writing');
    publishUsedIdx(views, ring, (nextUsed + 1) & 0xffff);
    failpoint('used.written');
    onCommit?.(commit);
    this.#settle(chain.position, nextUsed);
    if (chain.readableBytes > 0) this.#env.requestDone?.(this.depth);
    failpoint('request.completed');
    this.#env.trace?.(`queue ${this.#index} used head ${chain.head} length ${length}`);
  }

  #settle(position: number, nextUsed: number): void {
    this.#u32[this.#entry(position) + S.ENTRY_VALID] = 0;
    this.#env.failpoint('inflight.clearing');
    this.set(S.QUEUE_NEXT_USED, (nextUsed + 1) & 0xffff);
    this.set(S.QUEUE_COMPLETING, 0);
  }

  /** True once per batch of completions that the driver wants an interrupt for; after a restart, always. */
  takeSignal(): boolean {
    const v = this.#env.views;
    const used = this.get(S.QUEUE_NEXT_USED);
    const last = this.#signalledUsed;
    if (last === used) return false;
    this.#signalledUsed = used;
    if (last === undefined) return true;
    if (this.eventIdx) return needsEvent(loadUsedEvent(v, this.#ring), used, last);
    return (loadAvailFlags(v, this.#ring) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
  }

  /** Before the device turns to other things: asks to be notified of the next request. True when one is there already. */
  arm(): boolean {
    const v = this.#env.views;
    // Stored before the available index is read again (both sequentially consistent): a driver that publishes after
    // that read sees the event and notifies.
    if (this.eventIdx) storeAvailEvent(v, this.#ring, this.get(S.QUEUE_NEXT_AVAIL));
    return this.hasRequest;
  }

  /**
   * Lends the queue to the routines of generated code: writes what they must know into their block (its word index). False when only this
   * class can go on with it. Until {@link takeBack} nobody else calls anything here.
   */
  lend(block: number): boolean {
    const signalled = this.#signalledUsed;
    if (!this.isOpen || this.#leftOver.length > 0 || signalled === undefined) return false;
    const { desc, avail, used, size } = this.#ring;
    B.fillServiceBlock(this.#u32, block, [
      [B.QUEUE, this.#at << 2],
      [B.RING_DESC, desc],
      [B.RING_AVAIL, avail],
      [B.RING_USED, used],
      [B.RING_SIZE, size],
      [B.EVENT_IDX, this.eventIdx ? 1 : 0],
      [B.INDIRECT, this.indirect ? 1 : 0],
      [B.SIGNALLED_USED, signalled],
    ]);
    return true;
  }

  takeBack(block: number): void {
    this.#signalledUsed = this.#u32[block + (B.SIGNALLED_USED >>> 2)]!;
  }

  #announceWrites(chain: DescriptorChain, length: number, nextUsed: number): void {
    const written = this.#env.ramWritten;
    if (written === undefined) return;
    // All of the writable part: a device may have written its end (a status byte) and little else.
    for (let i = chain.readableCount; i < chain.count && length > 0; i++) {
      written(chain.offsets[i]!, chain.lengths[i]!);
    }
    written(this.#ring.used, 4);
    written(this.#ring.used + 4 + 8 * (nextUsed & (this.#ring.size - 1)), 8);
  }

  /** Word index of the in-flight entry of a position. */
  #entry(position: number): number {
    return this.#at + S.QUEUE_HEADER_WORDS + (position & (this.#ring.size - 1)) * S.ENTRY_WORDS;
  }

  #locate(word: number, bytes: number, align: number): number {
    const gpa = this.get(word + 1) * 0x1_0000_0000 + this.get(word);
    return gpa % align === 0 ? this.#env.ram.arenaOffset(gpa, bytes) : -1;
  }
}
