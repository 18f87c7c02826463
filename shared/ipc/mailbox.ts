// A mailbox: a split virtqueue from one sender to one receiver in the arena, single producer, single consumer, lock-free.
// Descriptor i always points at slot i, and the receiver answers in order (as with VIRTIO_F_IN_ORDER), so the available and the
// used index say all: a message stays in the ring until it is answered, and a restarted receiver goes on from the used
// index. A receiver that dies before it has counted a message as served sees it again, with the same sequence number; one that
// dies after that only answers it. A restarted sender waits until its predecessor's messages are answered, and forgets the answers.
//
// A message that is lost on its way (its slot or its publication), comes twice or is damaged is found by sequence number and check and
// made good, here or by the kernel's audit; one of which both copies are damaged ends the receiver (MailboxDamage), for its
// supervisor to decide. An end of the mailbox that was replaced can do nothing more.
import { assert } from '#shared/base/error.js';
import type { Region } from '#shared/base/region.js';
import { BELL_MAILBOX, doorbellIndex, ringDoorbell } from '#shared/ipc/doorbell.js';
import type { FaultSwitch, FaultVerdict } from '#shared/ipc/failpoint.js';
import * as L from '#shared/ipc/mailbox-layout.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import {
  loadAvailEvent,
  loadAvailIdx,
  loadUsedEvent,
  loadUsedIdx,
  needsEvent,
  publishAvailIdx,
  publishUsedIdx,
  storeAvailEvent,
  storeUsedEvent,
  usedWordIndex,
  writeUsedElem,
} from '#shared/ipc/vring.js';

/** How often a waiting sender looks before it sleeps: a few microseconds, longer than a receiver that is awake needs. */
const SPIN_TURNS = 2000;
/** A sleeping sender wakes this often to show that it lives, and to see whether its message was lost. */
const WAIT_SLICE_MS = 50;
/** No end's number. */
const NOBODY = -1;
const NO_FAULTS: FaultSwitch = { pass: () => 'none', whenArmed: () => {} };

/** Both copies of a message are damaged. */
export class MailboxDamage extends Error {
  constructor(what: string) {
    super(`mailbox: ${what}`);
    this.name = 'MailboxDamage';
  }
}

export interface SenderOptions {
  /** Of the sending actor. */
  readonly generation?: number;
  /** The sender posts and never calls: it goes on beside its predecessor's messages instead of waiting for their answers. */
  readonly postsOnly?: boolean;
  /** Called now and then while the sender waits: stamps a heartbeat. */
  readonly onWait?: () => void;
  /** The sending actor's failpoints. */
  readonly faults?: FaultSwitch | undefined;
}

/** The sending end. One thread; one message under construction at a time. */
export class MailboxSender {
  readonly payloadBytes: number;
  readonly #v: ArenaViews;
  readonly #parts: L.MailboxParts;
  readonly #bell: number;
  readonly #generation: number;
  readonly #onWait: () => void;
  readonly #faults: FaultSwitch;
  readonly #number: number;
  /** Our number until a fault rule names the actor: one comparison finds both who was replaced and who has faults to look for. */
  #plainNumber: number;
  #availIdx: number;
  /** Behind {@link #availIdx} when a publication was lost. */
  #publishedIdx: number;
  #sequence: number;
  /** The used index as it was last seen: to look at it is to fetch the receiver's cache line. */
  #seenUsedIdx: number;

  /** `doorbell`: the receiver's. Waits until messages of an earlier generation of this sender are answered, unless it `postsOnly`. */
  constructor(v: ArenaViews, region: Region, doorbell: Region, options: SenderOptions = {}) {
    const parts = L.openMailbox(v, region);
    this.payloadBytes = parts.payloadBytes;
    this.#v = v;
    this.#parts = parts;
    this.#bell = doorbellIndex(doorbell);
    this.#generation = options.generation ?? 1;
    this.#onWait = options.onWait ?? (() => {});
    this.#faults = options.faults ?? NO_FAULTS;
    this.#number = ++v.u32[parts.header + L.HEADER_SENDERS]!;
    this.#plainNumber = this.#number;
    this.#faults.whenArmed(() => {
      this.#plainNumber = NOBODY;
    });
    const lost = L.findLostPublication(v, region);
    if (lost !== undefined) L.republish(v, region, lost, this.#bell);
    this.#availIdx = loadAvailIdx(v, parts);
    this.#publishedIdx = this.#availIdx;
    this.#seenUsedIdx = loadUsedIdx(v, parts);
    v.u32[parts.header + L.HEADER_POSITION] = this.#availIdx;
    // The last message that was published has the number to go on from; a predecessor's unpublished one does not count.
    this.#sequence = v.u32[this.#twinOf(this.#availIdx - 1) + L.SLOT_SEQUENCE]!;
    v.u32[parts.header + L.HEADER_SENT] = this.#sequence;
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
    return (this.#availIdx - loadUsedIdx(this.#v, this.#parts)) & 0xffff;
  }

  get hasRoom(): boolean {
    const { size } = this.#parts;
    if (((this.#availIdx - this.#seenUsedIdx) & 0xffff) < size) return true;
    this.#seenUsedIdx = loadUsedIdx(this.#v, this.#parts);
    return ((this.#availIdx - this.#seenUsedIdx) & 0xffff) < size;
  }

  /** The next free slot's payload, as a byte offset in the arena; waits for one when the ring is full. */
  reserve(): number {
    const parts = this.#parts;
    if (!this.hasRoom) this.#waitUsed((this.#availIdx - parts.size + 1) & 0xffff);
    return parts.slots + (this.#availIdx & (parts.size - 1)) * parts.slotBytes + L.SLOT_HEADER_BYTES;
  }

  /** Sends the reserved slot one way; returns when it stands in the ring. */
  post(payload: number, kind: number, length: number): void {
    const word = this.#parts.header + L.HEADER_SENDERS;
    if (this.#v.u32[word] !== this.#plainNumber) return this.#postArmed(payload, kind, length);
    this.#seal(payload, kind, length);
    this.#publish(1);
  }

  /** Sends the reserved slot and waits for the answer, which then stands in the slot's payload. */
  call(payload: number, kind: number, length: number): void {
    this.post(payload, kind, length);
    this.#waitUsed(this.#availIdx);
    const slot = (payload - L.SLOT_HEADER_BYTES) >>> 2;
    const { u32 } = this.#v;
    const check = u32[slot + L.SLOT_ANSWER_CHECK]!;
    if (check !== 0 && check !== L.answerCheck(u32, slot, length)) this.#restoreAnswer(slot, length);
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

  #twinOf(idx: number): number {
    return L.slotWord(this.#parts, idx) + (this.#parts.twinBytes >>> 2);
  }

  /** Completes the reserved slot and its twin; gives the slot's word. */
  #seal(payload: number, kind: number, length: number): number {
    const { u32 } = this.#v;
    const { header, twinBytes } = this.#parts;
    const slot = (payload - L.SLOT_HEADER_BYTES) >>> 2;
    const sequence = (this.#sequence + 1) >>> 0;
    this.#sequence = sequence;
    L.sealMessage(u32, slot, slot + (twinBytes >>> 2), sequence, this.#generation, kind, length);
    u32[header + L.HEADER_SENT] = sequence;
    return slot;
  }

  #publish(count: number): void {
    const v = this.#v;
    const parts = this.#parts;
    const oldIdx = this.#publishedIdx;
    const newIdx = (this.#availIdx + count) & 0xffff;
    this.#availIdx = newIdx;
    this.#publishedIdx = newIdx;
    publishAvailIdx(v, parts, newIdx);
    v.u32[parts.header + L.HEADER_POSITION] = newIdx;
    if (needsEvent(loadAvailEvent(v, parts), newIdx, oldIdx)) ringDoorbell(v.i32, this.#bell, BELL_MAILBOX);
  }

  #postArmed(payload: number, kind: number, length: number): void {
    if (this.#v.u32[this.#parts.header + L.HEADER_SENDERS] !== this.#number)
      throw new MailboxDamage('a stale sender posts');
    const slot = this.#seal(payload, kind, length);
    this.#postFaulty(slot, this.#faults.pass('message.send'));
  }

  /** What a faulty transport makes of a message. */
  #postFaulty(slot: number, verdict: FaultVerdict): void {
    const { u32 } = this.#v;
    const { header, size } = this.#parts;
    switch (verdict) {
      case 'none':
        return this.#publish(1);
      case 'drop':
        // Neither the slot nor the index gets there.
        u32[slot + L.SLOT_SEQUENCE] = (this.#sequence - size) >>> 0;
        this.#availIdx = (this.#availIdx + 1) & 0xffff;
        u32[header + L.HEADER_POSITION] = this.#availIdx;
        return;
      case 'duplicate':
        if (this.inFlight + 2 > size) return this.#publish(1);
        L.copySlot(this.#v, slot, L.slotWord(this.#parts, this.#availIdx + 1), u32[slot + L.SLOT_LENGTH]!);
        L.copySlot(this.#v, slot, this.#twinOf(this.#availIdx + 1), u32[slot + L.SLOT_LENGTH]!);
        return this.#publish(2);
      case 'corrupt':
        u32[slot + L.SLOT_HEADER_BYTES / 4]! ^= 0x0001_0000;
        return this.#publish(1);
    }
  }

  #restoreAnswer(slot: number, length: number): void {
    const { u32 } = this.#v;
    const twin = slot + (this.#parts.twinBytes >>> 2);
    if (u32[twin + L.SLOT_ANSWER_CHECK] !== L.answerCheck(u32, twin, length))
      throw new MailboxDamage('both copies of an answer are damaged');
    L.copySlot(this.#v, twin, slot, length);
    u32[this.#parts.header + L.HEADER_REPAIRED]!++;
  }

  /** Waits until the used index has reached `target`: spins, then sleeps on the used word. */
  #waitUsed(target: number): void {
    const v = this.#v;
    const parts = this.#parts;
    for (let turn = 0; turn < SPIN_TURNS; turn++) if (L.hasReached(loadUsedIdx(v, parts), target)) return;
    const word = usedWordIndex(parts);
    for (;;) {
      if (this.#publishedIdx !== this.#availIdx) {
        v.u32[parts.header + L.HEADER_REPUBLISHED]!++;
        this.#publish(0);
      }
      // The event is stored before the word is read: a receiver that publishes after the read sees the event and notifies.
      storeUsedEvent(v, parts, (target - 1) & 0xffff);
      const seen = Atomics.load(v.i32, word);
      if (L.hasReached(loadUsedIdx(v, parts), target)) return;
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
  readonly #parts: L.MailboxParts;
  readonly #faults: FaultSwitch;
  readonly #number: number;
  /** As the sender's. */
  #plainNumber: number;
  #usedIdx: number;
  /** The available index as it was last seen: to look at it is to fetch the sender's cache line. */
  #seenAvailIdx: number;
  #served: number;
  /** The message at the head was found whole: its payload may hold part of an answer since. */
  #hasHead = false;
  #losesAnswer = false;

  constructor(v: ArenaViews, region: Region, faults: FaultSwitch = NO_FAULTS) {
    const parts = L.openMailbox(v, region);
    this.#v = v;
    this.#parts = parts;
    this.#faults = faults;
    this.#number = ++v.u32[parts.header + L.HEADER_RECEIVERS]!;
    this.#plainNumber = this.#number;
    faults.whenArmed(() => {
      this.#plainNumber = NOBODY;
    });
    this.#served = v.u32[parts.header + L.HEADER_SERVED]!;
    this.#usedIdx = loadUsedIdx(v, parts);
    this.#seenAvailIdx = this.#usedIdx;
    storeAvailEvent(v, parts, this.#usedIdx);
  }

  /**
   * The oldest unanswered message's payload as a byte offset in the arena, or −1. It stays until {@link complete}. Throws
   * {@link MailboxDamage} when neither copy of it is whole.
   */
  peek(): number {
    const parts = this.#parts;
    const { u32 } = this.#v;
    for (;;) {
      if (this.#seenAvailIdx === this.#usedIdx) {
        this.#seenAvailIdx = loadAvailIdx(this.#v, parts);
        if (this.#seenAvailIdx === this.#usedIdx) return -1;
      }
      const slot = L.slotWord(parts, this.#usedIdx);
      if (u32[parts.header + L.HEADER_RECEIVERS] !== this.#plainNumber && this.#missesMessage(slot))
        return -1;
      if (!this.#hasHead && !this.#takeHead(slot)) continue;
      this.sequence = u32[slot + L.SLOT_SEQUENCE]!;
      this.generation = u32[slot + L.SLOT_GENERATION]!;
      this.kind = u32[slot + L.SLOT_KIND]!;
      this.length = u32[slot + L.SLOT_LENGTH]!;
      return (slot << 2) + L.SLOT_HEADER_BYTES;
    }
  }

  /**
   * Answers the message in hand: what was written to its payload becomes visible to the sender. `answerBytes`: of an answer that is
   * to be checked; as long as the message was.
   */
  complete(answerBytes = 0): void {
    const word = this.#parts.header + L.HEADER_RECEIVERS;
    if (this.#v.u32[word] !== this.#plainNumber) return this.#completeArmed(answerBytes);
    this.#sealAnswer(answerBytes);
    this.#publish();
  }

  #sealAnswer(answerBytes: number): number {
    const { u32 } = this.#v;
    const { header, twinBytes } = this.#parts;
    const slot = L.slotWord(this.#parts, this.#usedIdx);
    if (answerBytes > 0) {
      u32[slot + L.SLOT_ANSWER_CHECK] = L.answerCheck(u32, slot, answerBytes);
      u32[slot + L.SLOT_CHECK] = L.messageCheck(u32, slot); // the answer stands where the question stood
      L.copySlot(this.#v, slot, slot + (twinBytes >>> 2), answerBytes);
    }
    this.#served = this.sequence;
    u32[header + L.HEADER_SERVED] = this.#served;
    this.#hasHead = false;
    return slot;
  }

  /**
   * Before sleep: asks the sender to ring for its next message. True when one arrived meanwhile, so that the receiver
   * must not sleep.
   */
  arm(): boolean {
    storeAvailEvent(this.#v, this.#parts, this.#usedIdx);
    return loadAvailIdx(this.#v, this.#parts) !== this.#usedIdx;
  }

  /** Looks at the head for the first time; false when it was no new message and is done with. */
  #takeHead(slot: number): boolean {
    const parts = this.#parts;
    const { u32 } = this.#v;
    const next = (this.#served + 1) >>> 0;
    if (!L.isWhole(u32, parts, slot, next)) {
      const twin = slot + (parts.twinBytes >>> 2);
      if (!L.isWhole(u32, parts, twin, next)) {
        if (!L.isWhole(u32, parts, twin, this.#served))
          throw new MailboxDamage(`neither copy of message ${next} is whole`);
        // It came twice, or was obeyed by a receiver that died before it could say so: its answer stands.
        u32[parts.header + L.HEADER_DUPLICATES]!++;
        this.#publish();
        return false;
      }
      L.copySlot(this.#v, twin, slot, u32[twin + L.SLOT_LENGTH]!);
      u32[parts.header + L.HEADER_REPAIRED]!++;
    }
    this.#hasHead = true;
    return true;
  }

  #publish(): void {
    const v = this.#v;
    const parts = this.#parts;
    const oldIdx = this.#usedIdx;
    const newIdx = (oldIdx + 1) & 0xffff;
    writeUsedElem(v, parts, oldIdx, oldIdx & (parts.size - 1), 0);
    this.#usedIdx = newIdx;
    publishUsedIdx(v, parts, newIdx);
    if (needsEvent(loadUsedEvent(v, parts), newIdx, oldIdx)) Atomics.notify(v.i32, usedWordIndex(parts));
  }

  get #isStale(): boolean {
    return this.#v.u32[this.#parts.header + L.HEADER_RECEIVERS] !== this.#number;
  }

  /** Of a receiver that was replaced, or at the end of a faulty transport: true when the message is not seen this time. */
  #missesMessage(slot: number): boolean {
    if (this.#isStale) return true;
    if (this.#hasHead) return false;
    switch (this.#faults.pass('message.receive')) {
      case 'none':
        return false;
      case 'drop':
        return true;
      case 'duplicate':
        this.#losesAnswer = true;
        return false;
      case 'corrupt':
        this.#v.u32[slot + L.SLOT_KIND]! ^= 1;
        return false;
    }
  }

  #completeArmed(answerBytes: number): void {
    if (this.#isStale) return; // a late answer of a stale generation
    const slot = this.#sealAnswer(answerBytes);
    if (this.#losesAnswer) {
      this.#losesAnswer = false;
      return;
    }
    const verdict = this.#faults.pass('message.answer');
    if (verdict === 'corrupt' && answerBytes > 0) this.#v.u32[slot + L.SLOT_HEADER_BYTES / 4]! ^= 0x0001_0000;
    // Without its publication the message is found again, and known for one that was obeyed.
    if (verdict !== 'drop') this.#publish();
  }
}
