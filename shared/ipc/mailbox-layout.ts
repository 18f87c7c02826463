// How a mailbox lies in the arena, and how it guards what it holds. A message stands twice, in its slot and in the slot's twin, each
// under a check over header and payload: whichever is whole restores the other. Damage to both is for a supervisor.
// Words of the sender and of the receiver are on lines of their own, so that the two do not fight over one.
import { assert } from '#shared/base/error.js';
import type { Region } from '#shared/base/region.js';
import { BELL_MAILBOX, ringDoorbell } from '#shared/ipc/doorbell.js';
import { CACHE_LINE_BYTES, type ArenaViews } from '#shared/memory/arena.js';
import {
  VIRTQ_DESC_F_WRITE,
  availRingBytes,
  descTableBytes,
  loadAvailIdx,
  loadUsedIdx,
  replaceAvailIdx,
  usedRingBytes,
  writeAvailEntry,
  writeDesc,
  type Ring,
} from '#shared/ipc/vring.js';

// Header of the region, in 32-bit words: fixed, then the sender's line, then the receiver's.
const HEADER_ENTRIES = 0;
const HEADER_PAYLOAD_BYTES = 1;
/** Ends that were opened so far: an end of an earlier number is stale. */
export const HEADER_SENDERS = 2;
export const HEADER_RECEIVERS = 3;
/** Sequence number of the last message sent; for who looks on. */
export const HEADER_SENT = 16;
/** The available index as the sender means it: ahead of the ring's when a publication was lost. */
export const HEADER_POSITION = 17;
/** Publications that were lost and made good. */
export const HEADER_REPUBLISHED = 18;
/** Sequence number of the last message that was obeyed. */
export const HEADER_SERVED = 32;
/** Messages restored from their twin, and messages that came a second time. */
export const HEADER_REPAIRED = 33;
export const HEADER_DUPLICATES = 34;
const HEADER_BYTES = 192;

// Header of a slot and of its twin, in 32-bit words; the payload follows.
/** Over all from SLOT_SEQUENCE to the payload's end. */
export const SLOT_CHECK = 0;
/** Over the answer's bytes; 0 when there are none. */
export const SLOT_ANSWER_CHECK = 1;
export const SLOT_SEQUENCE = 4;
export const SLOT_GENERATION = 5;
export const SLOT_KIND = 6;
export const SLOT_LENGTH = 7;
const CHECKED_HEADER_WORDS = 4;
/** From a slot's payload back to its header, in bytes. */
export const SLOT_HEADER_BYTES = 32;

/** Longer payloads are copied by the engine's own loop. */
const SHORT_WORDS = 64;
const CHECK_SEED = 0x9747b28c | 0;
const CHECK_FACTOR = 0x85ebca6b | 0;

const alignUp = (n: number, align: number): number => Math.ceil(n / align) * align;

export interface MailboxParts extends Ring {
  /** Word index of the region's header. */
  readonly header: number;
  readonly payloadBytes: number;
  readonly slots: number;
  readonly slotBytes: number;
  /** From a slot to its twin. */
  readonly twinBytes: number;
  readonly end: number;
}

function placeMailbox(offset: number, entries: number, payloadBytes: number): MailboxParts {
  const desc = offset + HEADER_BYTES;
  const avail = alignUp(desc + descTableBytes(entries), CACHE_LINE_BYTES);
  const used = alignUp(avail + availRingBytes(entries), CACHE_LINE_BYTES);
  const slots = alignUp(used + usedRingBytes(entries), CACHE_LINE_BYTES);
  const slotBytes = alignUp(SLOT_HEADER_BYTES + payloadBytes, 16);
  const twinBytes = alignUp(entries * slotBytes, CACHE_LINE_BYTES);
  const end = slots + 2 * twinBytes;
  return {
    ...{ header: offset >>> 2, payloadBytes, desc, avail, used, size: entries },
    ...{ slots, slotBytes, twinBytes, end },
  };
}

/** Bytes of arena for a mailbox; `entries` a power of two, `payloadBytes` the longest message. */
export function mailboxBytes(entries: number, payloadBytes: number): number {
  return placeMailbox(0, entries, payloadBytes).end;
}

/** Makes a mailbox of a zeroed, line-aligned region; once, by the kernel, before its two actors live. */
export function formatMailbox(v: ArenaViews, region: Region, entries: number, payloadBytes: number): void {
  const parts = placeMailbox(region.offset, entries, payloadBytes);
  assert(parts.end <= region.offset + region.bytes, 'mailbox fits into its region');
  v.u32[parts.header + HEADER_ENTRIES] = entries;
  v.u32[parts.header + HEADER_PAYLOAD_BYTES] = payloadBytes;
  for (let i = 0; i < entries; i++) {
    const payload = parts.slots + i * parts.slotBytes + SLOT_HEADER_BYTES;
    writeDesc(v, parts, i, payload, 0, payloadBytes, VIRTQ_DESC_F_WRITE, 0);
    writeAvailEntry(v, parts, i, i); // descriptor i is slot i, always
  }
}

/** Has a 16-bit index that wraps come to `target`? The two are never more than a ring apart. */
export function hasReached(idx: number, target: number): boolean {
  return ((idx - target) & 0xffff) < 0x8000;
}

export function openMailbox(v: ArenaViews, region: Region): MailboxParts {
  const header = region.offset >>> 2;
  const entries = v.u32[header + HEADER_ENTRIES]!;
  assert(entries > 0, 'mailbox is formatted');
  return placeMailbox(region.offset, entries, v.u32[header + HEADER_PAYLOAD_BYTES]!);
}

/** Word index of the header of position `idx`'s slot. */
export function slotWord(parts: MailboxParts, idx: number): number {
  return (parts.slots + (idx & (parts.size - 1)) * parts.slotBytes) >>> 2;
}

const mix = (sum: number, word: number): number => Math.imul(sum ^ (sum >>> 15) ^ word, CHECK_FACTOR);

function checkWords(u32: Uint32Array, from: number, words: number, seed: number): number {
  let sum = seed;
  const end = from + words;
  for (let i = from; i < end; i++) sum = mix(sum, u32[i]!);
  return sum ^ (sum >>> 13);
}

/**
 * Completes the message of which the payload stands at `slot`: writes its header, and all of it to its twin, in one go. `twin`: a word
 * index too; `length` in bytes.
 */
export function sealMessage(
  u32: Uint32Array,
  slot: number,
  twin: number,
  sequence: number,
  generation: number,
  kind: number,
  length: number,
): void {
  u32[slot + SLOT_SEQUENCE] = u32[twin + SLOT_SEQUENCE] = sequence;
  u32[slot + SLOT_GENERATION] = u32[twin + SLOT_GENERATION] = generation;
  u32[slot + SLOT_KIND] = u32[twin + SLOT_KIND] = kind;
  u32[slot + SLOT_LENGTH] = u32[twin + SLOT_LENGTH] = length;
  u32[slot + SLOT_ANSWER_CHECK] = u32[twin + SLOT_ANSWER_CHECK] = 0;
  let sum = mix(mix(mix(mix(CHECK_SEED, sequence), generation), kind), length);
  const words = (length + 3) >>> 2;
  const payload = slot + SLOT_HEADER_BYTES / 4;
  const copy = twin + SLOT_HEADER_BYTES / 4;
  for (let i = 0; i < words; i++) {
    const word = u32[payload + i]!;
    u32[copy + i] = word;
    sum = mix(sum, word);
  }
  u32[slot + SLOT_CHECK] = u32[twin + SLOT_CHECK] = (sum ^ (sum >>> 13)) >>> 0;
}

/** Over a message at `slot` (a word index): its number, sender, kind, length and payload. */
export function messageCheck(u32: Uint32Array, slot: number): number {
  const words = CHECKED_HEADER_WORDS + ((u32[slot + SLOT_LENGTH]! + 3) >>> 2);
  return checkWords(u32, slot + SLOT_SEQUENCE, words, CHECK_SEED) >>> 0;
}

/** Over the first `bytes` of an answer in a slot's payload; never 0. */
export function answerCheck(u32: Uint32Array, slot: number, bytes: number): number {
  const seed = CHECK_SEED ^ u32[slot + SLOT_SEQUENCE]!;
  return (checkWords(u32, slot + SLOT_HEADER_BYTES / 4, (bytes + 3) >>> 2, seed) | 1) >>> 0;
}

/** Whether the message at `slot` is what its sender wrote, as message number `sequence`. */
export function isWhole(u32: Uint32Array, parts: MailboxParts, slot: number, sequence: number): boolean {
  return (
    u32[slot + SLOT_SEQUENCE] === sequence &&
    u32[slot + SLOT_LENGTH]! <= parts.payloadBytes &&
    u32[slot + SLOT_CHECK] === messageCheck(u32, slot)
  );
}

/** Copies header and `bytes` of payload from one slot to another. */
export function copySlot(v: ArenaViews, from: number, to: number, bytes: number): void {
  const words = (SLOT_HEADER_BYTES + bytes + 3) >>> 2;
  const { u32 } = v;
  if (words > SHORT_WORDS) u32.copyWithin(to, from, from + words);
  else for (let i = 0; i < words; i++) u32[to + i] = u32[from + i]!;
}

/** What a mailbox has seen; for who looks on. */
export interface MailboxCounts {
  /** Messages sent so far, modulo 2^32. */
  readonly sent: number;
  /** Messages not answered. */
  readonly depth: number;
  /** Damaged or lost ones that were restored, ones that came twice, lost publications that were made good. */
  readonly repaired: number;
  readonly duplicates: number;
  readonly republished: number;
}

export function loadMailboxCounts(v: ArenaViews, region: Region): MailboxCounts {
  const parts = openMailbox(v, region);
  const word = (index: number): number => v.u32[parts.header + index]!;
  return {
    sent: word(HEADER_SENT),
    depth: (loadAvailIdx(v, parts) - loadUsedIdx(v, parts)) & 0xffff,
    repaired: word(HEADER_REPAIRED),
    duplicates: word(HEADER_DUPLICATES),
    republished: word(HEADER_REPUBLISHED),
  };
}

/** A publication that its sender meant and that is not in the ring; undefined when there is none. */
export function findLostPublication(v: ArenaViews, region: Region): number | undefined {
  const parts = openMailbox(v, region);
  const position = v.u32[parts.header + HEADER_POSITION]!;
  const ahead = (position - loadAvailIdx(v, parts)) & 0xffff;
  return ahead === 0 || ahead > parts.size ? undefined : position;
}

/** Makes a lost publication good, unless the sender has gone on meanwhile. `bell`: the receiver's doorbell. */
export function republish(v: ArenaViews, region: Region, position: number, bell: number): void {
  const parts = openMailbox(v, region);
  const present = loadAvailIdx(v, parts);
  if (((position - present) & 0xffff) > parts.size) return;
  if (!replaceAvailIdx(v, parts, present, position)) return;
  v.u32[parts.header + HEADER_REPUBLISHED]!++;
  ringDoorbell(v.i32, bell, BELL_MAILBOX);
}
