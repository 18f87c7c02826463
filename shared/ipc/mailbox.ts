// A mailbox: a split virtqueue from one sender to one receiver in the arena, single producer, single consumer, lock-free.
// Descriptor i always points at slot i, and the receiver answers in order (as with VIRTIO_F_IN_ORDER), so the available and the
// used index say all: a message stays in the ring until it is answered, and a restarted receiver goes on from the used
// index. Delivery is at least once: a receiver that dies between acting and answering sees the message again, with the
// same sequence number. A restarted sender waits until its predecessor's messages are answered, and forgets the answers.
import { assert } from '#shared/base/error.js';
import type { Region } from '#shared/base/region.js';
import { BELL_MAILBOX, doorbellIndex, ringDoorbell } from '#shared/ipc/doorbell.js';
import { CACHE_LINE_BYTES, type ArenaViews } from '#shared/memory/arena.js';
import {
  VIRTQ_DESC_F_WRITE,
  availRingBytes,
  descTableBytes,
  loadAvailEvent,
  loadAvailIdx,
  loadUsedEvent,
  loadUsedIdx,
  needsEvent,
  publishAvailIdx,
  publishUsedIdx,
  readAvailEntry,
  readDescAddr,
  storeAvailEvent,
  storeUsedEvent,
  usedRingBytes,
  usedWordIndex,
  writeAvailEntry,
  writeDesc,
  writeUsedElem,
  type Ring,
} from '#shared/ipc/vring.js';

// Header of the region, in 32-bit words.
const HEADER_ENTRIES = 0;
const HEADER_PAYLOAD_BYTES = 1;
const HEADER_SEQUENCE = 2;
const HEADER_BYTES = 64;

// Header of a slot, in 32-bit words; the payload follows.
const SLOT_SEQUENCE = 0;
const SLOT_GENERATION = 1;
const SLOT_KIND = 2;
const SLOT_LENGTH = 3;
/** From a slot's payload back to its header, in bytes. */
export const SLOT_HEADER_BYTES = 16;

/** How often a waiting sender looks before it sleeps: a few microseconds, longer than a receiver that is awake needs. */
const SPIN_TURNS = 2000;
/** A sleeping sender wakes this often to show that it lives. */
const WAIT_SLICE_MS = 50;

const alignUp = (n: number, align: number): number => Math.ceil(n / align) * align;

interface MailboxParts extends Ring {
  readonly slots: number;
  readonly slotBytes: number;
  readonly end: number;
}

function placeMailbox(offset: number, entries: number, payloadBytes: number): MailboxParts {
  const desc = offset + HEADER_BYTES;
  const avail = alignUp(desc + descTableBytes(entries), CACHE_LINE_BYTES);
  const used = alignUp(avail + availRingBytes(entries), CACHE_LINE_BYTES);
  const slots = alignUp(used + usedRingBytes(entries), CACHE_LINE_BYTES);
  const slotBytes = alignUp(SLOT_HEADER_BYTES + payloadBytes, 16);
  return { desc, avail, used, size: entries, slots, slotBytes, end: slots + entries * slotBytes };
}

/** Bytes of arena for a mailbox; `entries` a power of two, `payloadBytes` the longest message. */
export function mailboxBytes(entries: number, payloadBytes: number): number {
  return placeMailbox(0, entries, payloadBytes).end;
}

/** Makes a mailbox of a zeroed, line-aligned region; once, by the kernel, before its two actors live. */
export function formatMailbox(v: ArenaViews, region: Region, entries: number, payloadBytes: number): void {
  const parts = placeMailbox(region.offset, entries, payloadBytes);
  assert(parts.end <= region.offset + region.bytes, 'mailbox fits into its region');
  const header = region.offset >>> 2;
  v.u32[header + HEADER_ENTRIES] = entries;
  v.u32[header + HEADER_PAYLOAD_BYTES] = payloadBytes;
  for (let i = 0; i < entries; i++) {
    const payload = parts.slots + i * parts.slotBytes + SLOT_HEADER_BYTES;
    writeDesc(v, parts, i, payload, 0, payloadBytes, VIRTQ_DESC_F_WRITE, 0);
  }
}

function openMailbox(v: ArenaViews, region: Region): { parts: MailboxParts; payloadBytes: number } {
  const header = region.offset >>> 2;
  const entries = v.u32[header + HEADER_ENTRIES]!;
  const payloadBytes = v.u32[header + HEADER_PAYLOAD_BYTES]!;
  assert(entries > 0, 'mailbox is formatted');
  return { parts: placeMailbox(region.offset, entries, payloadBytes), payloadBytes };
}

/** For who looks on: messages sent so far (modulo 2^32), and those not answered. */
export function loadMailboxCounts(v: ArenaViews, region: Region): { sent: number; depth: number } {
  const { parts } = openMailbox(v, region);
  const sent = v.u32[(region.offset >>> 2) + HEADER_SEQUENCE]!;
  return { sent, depth: (loadAvailIdx(v, parts) - loadUsedIdx(v, parts)) & 0xffff };
}

export interface SenderOptions {
  /** Of the sending actor. */
  readonly generation?: number;
  /** The sender posts and never calls: it goes on beside its predecessor's messages instead of waiting for their answers. */
  readonly postsOnly?: boolean;
  /** Called now and then while the sender waits: stamps a heartbeat. */
  readonly onWait?: () => void;
}

/** Has a 16-bit index that wraps come to `target`? The two are never more than a ring apart. */
function hasReached(idx: number, target: number): boolean {
  return ((idx - target) & 0xffff) < 0x8000;
}

/** The sending end. One thread; one message under construction at a time. */
export class MailboxSender {
  readonly payloadBytes: number;
  readonly #v: ArenaViews;
  readonly #ring: MailboxParts;
  readonly #bell: number;
  readonly #sequenceWord: number;
  readonly #generation: number;
  readonly #onWait: () => void;
  #availIdx: number;

  /** `doorbell`: the receiver's. Waits until messages of an earlier generation of this sender are answered, unless it `postsOnly`. */
  constructor(v: ArenaViews, region: Region, doorbell: Region, options: SenderOptions = {}) {
    const { parts, payloadBytes } = openMailbox(v, region);
    this.payloadBytes = payloadBytes;
    this.#v = v;
    this.#ring = parts;
    this.#bell = doorbellIndex(doorbell);
    this.#sequenceWord = (region.offset >>> 2) + HEADER_SEQUENCE;
    this.#generation = options.generation ?? 1;
    this.#onWait = options.onWait ?? (() => {});
    this.#availIdx = loadAvailIdx(v, parts);
    if (this.inFlight > 0) {
      ringDoorbell(v.i32, this.#bell, BELL_MAILBOX);
      if (options.postsOnly !== true) this.#waitUsed(this.#availIdx);
    }
  }

  /** Messages posted so far, modulo 2^16: moves with a message's publication, so that it tells whether one was. */
  get position(): number {
    return this.#availIdx;
  }

  /** Messages that are not answered yet. */
  get inFlight(): number {
    return (this.#availIdx - loadUsedIdx(this.#v, this.#ring)) & 0xffff;
  }

  get hasRoom(): boolean {
    return this.inFlight < this.#ring.size;
  }

  /** The next free slot's payload, as a byte offset in the arena; waits for one when the ring is full. */
  reserve(): number {
    const ring = this.#ring;
    if (!this.hasRoom) this.#waitUsed((this.#availIdx - ring.size + 1) & 0xffff);
    return ring.slots + (this.#availIdx & (ring.size - 1)) * ring.slotBytes + SLOT_HEADER_BYTES;
  }

  /** Sends the reserved slot one way; returns when it stands in the ring. */
  post(payload: number, kind: number, length: number): void {
    const v = this.#v;
    const ring = this.#ring;
    const header = (payload - SLOT_HEADER_BYTES) >>> 2;
    const sequence = (v.u32[this.#sequenceWord]! + 1) >>> 0;
    v.u32[this.#sequenceWord] = sequence;
    v.u32[header + SLOT_SEQUENCE] = sequence;
    v.u32[header + SLOT_GENERATION] = this.#generation;
    v.u32[header + SLOT_KIND] = kind;
    v.u32[header + SLOT_LENGTH] = length;
    const oldIdx = this.#availIdx;
    const newIdx = (oldIdx + 1) & 0xffff;
    writeAvailEntry(v, ring, oldIdx, oldIdx & (ring.size - 1));
    this.#availIdx = newIdx;
    publishAvailIdx(v, ring, newIdx);
    if (needsEvent(loadAvailEvent(v, ring), newIdx, oldIdx)) ringDoorbell(v.i32, this.#bell, BELL_MAILBOX);
  }

  /** Sends the reserved slot and waits for the answer, which then stands in the slot's payload. */
  call(payload: number, kind: number, length: number): void {
    this.post(payload, kind, length);
    this.#waitUsed(this.#availIdx);
  }

  /** Copies `bytes` into a message and posts it; false when the ring is full. Never waits. */
  tryCast(kind: number, bytes: Uint8Array): boolean {
    assert(bytes.length <= this.payloadBytes, 'message fits into a slot');
    if (!this.hasRoom) return false;
    const payload = this.reserve();
    this.#v.u8.set(bytes, payload);
    this.post(payload, kind, bytes.length);
    return true;
  }

  /** Waits until the used index has reached `target`: spins, then sleeps on the used word. */
  #waitUsed(target: number): void {
    const v = this.#v;
    const ring = this.#ring;
    for (let turn = 0; turn < SPIN_TURNS; turn++) if (hasReached(loadUsedIdx(v, ring), target)) return;
    const word = usedWordIndex(ring);
    for (;;) {
      // The event is stored before the word is read: a receiver that publishes after the read sees the event and notifies.
      storeUsedEvent(v, ring, (target - 1) & 0xffff);
      const seen = Atomics.load(v.i32, word);
      if (hasReached(loadUsedIdx(v, ring), target)) return;
      Atomics.wait(v.i32, word, seen, WAIT_SLICE_MS);
      this.#onWait();
    }
  }
}

/** The receiving end. One thread; one message in hand at a time. */
export class MailboxReceiver {
  /** Of the message that {@link peek} found. */
  kind = 0;
  length = 0;
  sequence = 0;
  generation = 0;
  readonly #v: ArenaViews;
  readonly #ring: MailboxParts;
  #usedIdx: number;

  constructor(v: ArenaViews, region: Region) {
    const { parts } = openMailbox(v, region);
    this.#v = v;
    this.#ring = parts;
    this.#usedIdx = loadUsedIdx(v, parts);
    storeAvailEvent(v, parts, this.#usedIdx);
  }

  /** The oldest unanswered message's payload as a byte offset in the arena, or −1. It stays until {@link complete}. */
  peek(): number {
    const v = this.#v;
    const ring = this.#ring;
    if (loadAvailIdx(v, ring) === this.#usedIdx) return -1;
    const payload = readDescAddr(v, ring, readAvailEntry(v, ring, this.#usedIdx) & (ring.size - 1));
    const header = (payload - SLOT_HEADER_BYTES) >>> 2;
    this.sequence = v.u32[header + SLOT_SEQUENCE]!;
    this.generation = v.u32[header + SLOT_GENERATION]!;
    this.kind = v.u32[header + SLOT_KIND]!;
    this.length = v.u32[header + SLOT_LENGTH]!;
    return payload;
  }

  /** Answers the message in hand: what was written to its payload becomes visible to the sender. */
  complete(lengthBytes = 0): void {
    const v = this.#v;
    const ring = this.#ring;
    const oldIdx = this.#usedIdx;
    const newIdx = (oldIdx + 1) & 0xffff;
    writeUsedElem(v, ring, oldIdx, oldIdx & (ring.size - 1), lengthBytes);
    this.#usedIdx = newIdx;
    publishUsedIdx(v, ring, newIdx);
    if (needsEvent(loadUsedEvent(v, ring), newIdx, oldIdx)) Atomics.notify(v.i32, usedWordIndex(ring));
  }

  /**
   * Before sleep: asks the sender to ring for its next message. True when one arrived meanwhile, so that the receiver
   * must not sleep.
   */
  arm(): boolean {
    storeAvailEvent(this.#v, this.#ring, this.#usedIdx);
    return loadAvailIdx(this.#v, this.#ring) !== this.#usedIdx;
  }
}
