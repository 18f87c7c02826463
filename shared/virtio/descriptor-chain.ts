// One request of a guest: a descriptor chain, walked and checked, as segments of guest RAM. virtio-v1.2 §2.7.4–§2.7.5.3.
// What the guest did wrong is a value, never a throw. Every field is read once: a guest that changes a descriptor under our eyes
// gets what it deserves, but nothing outside its RAM is touched. Reused from request to request; views are made on demand.
import {
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  type Ring,
} from '#shared/ipc/vring.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { INDIRECT_DESC_BYTES, MAX_CHAIN_LENGTH } from '#shared/virtio/constants.js';

/** What a guest can do wrong with a chain. */
export type ChainError =
  | 'head-out-of-range'
  | 'next-out-of-range'
  | 'desc-loop'
  | 'desc-empty'
  | 'desc-out-of-range'
  | 'desc-order'
  | 'chain-too-long'
  | 'indirect-not-negotiated'
  | 'indirect-with-next'
  | 'indirect-nested'
  | 'indirect-length'
  | 'indirect-out-of-range';

/** §2.7.4.1: no chain is longer than 2^32 bytes in total; here one less, so that its length is a u32. */
const MAX_CHAIN_BYTES = 0xffff_ffff;

/** Segments in arena offsets: device-readable ones first, then device-writable ones. */
export class DescriptorChain {
  /** Index of the chain's first descriptor: what the used ring names it by. */
  head = 0;
  /** Position in the available ring, modulo 2^16. */
  position = 0;
  /** The device's word of the in-flight entry, see queue.ts. */
  mark = 0;
  /** The request was in flight when an earlier generation of the device died. */
  resumed = false;
  readonly offsets: number[] = [];
  readonly lengths: number[] = [];
  /** Segments in use, and how many of them are device-readable. */
  count = 0;
  readableCount = 0;
  readableBytes = 0;
  writableBytes = 0;
  readonly #v: ArenaViews;
  readonly #ram: GuestMemory;

  constructor(v: ArenaViews, ram: GuestMemory) {
    this.#v = v;
    this.#ram = ram;
  }

  /** Walks the chain from `head`. On an error the chain's contents mean nothing. */
  walk(ring: Ring, head: number, indirect: boolean): ChainError | undefined {
    this.head = head;
    this.count = this.readableCount = this.readableBytes = this.writableBytes = 0;
    if (head >= ring.size) return 'head-out-of-range';
    return this.#walkTable(ring.desc, ring.size, head, indirect ? 'allowed' : 'not-negotiated');
  }

  #walkTable(
    table: number,
    entries: number,
    first: number,
    indirect: 'allowed' | 'not-negotiated' | 'nested',
  ): ChainError | undefined {
    const u32 = this.#v.u32;
    const limit = Math.min(entries, MAX_CHAIN_LENGTH);
    let index = first;
    for (let seen = 0; seen < limit; seen++) {
      const at = (table + index * INDIRECT_DESC_BYTES) >>> 2;
      const addr = u32[at + 1]! * 0x1_0000_0000 + u32[at]!;
      const len = u32[at + 2]!;
      const flagsAndNext = u32[at + 3]!;
      const flags = flagsAndNext & 0xffff;
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        if (indirect === 'not-negotiated') return 'indirect-not-negotiated';
        if (indirect === 'nested') return 'indirect-nested';
        if ((flags & VIRTQ_DESC_F_NEXT) !== 0) return 'indirect-with-next';
        return this.#walkIndirect(addr, len);
      }
      const error = this.#addSegment(addr, len, (flags & VIRTQ_DESC_F_WRITE) !== 0);
      if (error !== undefined) return error;
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return undefined;
      index = flagsAndNext >>> 16;
      if (index >= entries) return 'next-out-of-range';
    }
    return 'desc-loop';
  }

  #walkIndirect(addr: number, len: number): ChainError | undefined {
    if (len === 0 || len % INDIRECT_DESC_BYTES !== 0) return 'indirect-length';
    const table = this.#ram.arenaOffset(addr, len);
    // Not required to be aligned by §2.7.5.3, but read by words here; no driver has one elsewhere.
    if (table < 0 || (table & 3) !== 0) return 'indirect-out-of-range';
    return this.#walkTable(table, Math.min(len / INDIRECT_DESC_BYTES, 0x1_0000), 0, 'nested');
  }

  #addSegment(addr: number, len: number, writable: boolean): ChainError | undefined {
    if (len === 0) return 'desc-empty';
    if (this.count >= MAX_CHAIN_LENGTH) return 'desc-loop';
    if (this.readableBytes + this.writableBytes + len > MAX_CHAIN_BYTES) return 'chain-too-long';
    const offset = this.#ram.arenaOffset(addr, len);
    if (offset < 0) return 'desc-out-of-range';
    if (writable) {
      this.writableBytes += len;
    } else {
      if (this.count !== this.readableCount) return 'desc-order';
      this.readableCount++;
      this.readableBytes += len;
    }
    this.offsets[this.count] = offset;
    this.lengths[this.count] = len;
    this.count++;
    return undefined;
  }

  /** Copies device-readable bytes from `from` on; returns how many there were, at most `target.length`. */
  copyFromReadable(from: number, target: Uint8Array): number {
    return this.#eachPart(0, this.readableCount, from, target.length, (offset, length, done) => {
      target.set(this.#v.u8.subarray(offset, offset + length), done);
    });
  }

  /** Copies `source` to the device-writable bytes from `from` on; returns how many fitted. */
  copyToWritable(from: number, source: Uint8Array): number {
    return this.#eachPart(this.readableCount, this.count, from, source.length, (offset, length, done) => {
      this.#v.u8.set(source.subarray(done, done + length), offset);
    });
  }

  /** Views of device-readable RAM, no copy: [from, from + length). */
  readableViews(from: number, length: number): Uint8Array[] {
    return this.#views(0, this.readableCount, from, length);
  }

  writableViews(from: number, length: number): Uint8Array[] {
    return this.#views(this.readableCount, this.count, from, length);
  }

  #views(first: number, end: number, from: number, length: number): Uint8Array[] {
    const views: Uint8Array[] = [];
    this.#eachPart(first, end, from, length, (offset, bytes) => {
      views.push(this.#v.u8.subarray(offset, offset + bytes));
    });
    return views;
  }

  #eachPart(
    first: number,
    end: number,
    from: number,
    length: number,
    visit: (offset: number, length: number, done: number) => void,
  ): number {
    let skip = from;
    let done = 0;
    for (let i = first; i < end && done < length; i++) {
      const segment = this.lengths[i]!;
      if (skip >= segment) {
        skip -= segment;
        continue;
      }
      const part = Math.min(segment - skip, length - done);
      visit(this.offsets[i]! + skip, part, done);
      done += part;
      skip = 0;
    }
    return done;
  }
}
