// One vCPU's software TLB in the arena (layout in shared/translate/op-record.ts), which generated code looks up by
// itself: here it is filled and flushed. The set in use follows the privilege level and SMAP. Flushes cost what was filled
// since the last one: the entries in use are listed, apart for global pages, which stay when CR3 is loaded.

import {
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_NEVER,
  TLB_PAGE,
  TLB_READ_TAG,
  TLB_SET_BYTES,
  TLB_SETS,
  TLB_WRITE_TAG,
} from '#shared/translate/op-record.js';
import type { Region } from '#shared/base/region.js';

export const SET_USER = 0;
export const SET_SUPERVISOR = 1;
export const SET_SUPERVISOR_SMAP_OFF = 2;

const NEVER = (TLB_NEVER * 0x01010101) | 0;
const NEVER_64 = BigInt.asIntN(64, BigInt(TLB_NEVER) * 0x0101_0101_0101_0101n);
const ENTRY_WORDS = TLB_ENTRY_BYTES / 4;
/** Marks in `#listed`. */
const LISTED_LOCAL = 1;
const LISTED_GLOBAL = 2;
/** Sizes of large pages (log2), and how many of them may be told apart in `#largeRegions` (log2). */
const LARGE_SHIFTS = [21, 22, 30] as const;
const REGION_BITS = 16;

/** Entries by number, each at most once. */
class EntryList {
  readonly entries = new Uint16Array(TLB_SETS * TLB_ENTRIES);
  count = 0;

  push(entry: number): void {
    this.entries[this.count++] = entry;
  }
}

function regionOf(low: number, high: number, shift: number): number {
  // A kernel's map of all memory fills regions in a row; a user's page that fell among them would cost a search each time.
  const mixed = Math.imul(high, 0x9e37_79b1) ^ Math.imul((low >>> shift) + (shift << 12), 0x85eb_ca6b);
  return Math.imul(mixed, 0xc2b2_ae35) >>> (32 - REGION_BITS);
}

export class Tlb {
  readonly #i32: Int32Array;
  readonly #region: Region;
  readonly #base: number;
  /** What a load of CR3 drops: everything of the user's, and the supervisor's pages that are not global. */
  readonly #local = new EntryList();
  readonly #global = new EntryList();
  /** Of each entry: the lists that it is in, and the log2 of its page's size. */
  readonly #listed = new Uint8Array(TLB_SETS * TLB_ENTRIES);
  readonly #shifts = new Uint8Array(TLB_SETS * TLB_ENTRIES);
  /** Not zero where an entry may be part of a large page, by {@link regionOf}. */
  readonly #largeRegions = new Uint8Array(1 << REGION_BITS);
  /** Statistics. */
  fills = 0;
  flushes = 0;

  constructor(u8: Uint8Array, i32: Int32Array, region: Region) {
    this.#i32 = i32;
    this.#region = region;
    this.#base = region.offset >>> 2;
    const words = new BigInt64Array(u8.buffer, region.offset, (TLB_SETS * TLB_SET_BYTES) / 8);
    words.fill(NEVER_64);
  }

  /** Arena offset of a set, for TLB_BASE. */
  setOffset(set: number): number {
    return this.#region.offset + set * TLB_SET_BYTES;
  }

  /** Drops everything. */
  flush(): void {
    this.flushLocal();
    this.#drop(this.#global);
    this.#largeRegions.fill(0);
  }

  /** Drops all but global pages: a load of CR3. */
  flushLocal(): void {
    this.flushes++;
    this.#drop(this.#local);
  }

  #drop(list: EntryList): void {
    const { entries, count } = list;
    for (let i = 0; i < count; i++) {
      const entry = entries[i]!;
      this.#listed[entry] = 0;
      this.#clear(this.#base + entry * ENTRY_WORDS);
    }
    list.count = 0;
  }

  #clear(at: number): void {
    const i32 = this.#i32;
    i32[at] = NEVER;
    i32[at + 1] = NEVER;
    i32[at + 2] = NEVER;
    i32[at + 3] = NEVER;
  }

  #list(entry: number, global: boolean): void {
    const mark = global ? LISTED_GLOBAL : LISTED_LOCAL;
    const marks = this.#listed[entry]!;
    if ((marks & mark) !== 0) return;
    this.#listed[entry] = marks | mark;
    (global ? this.#global : this.#local).push(entry);
  }

  /** Number of the entry of a linear page in a set. */
  #entry(set: number, low: number): number {
    return set * TLB_ENTRIES + ((low >>> 12) & (TLB_ENTRIES - 1));
  }

  /** Arena address of a linear address whose page is entered for reading (or writing), −1 otherwise. */
  find(set: number, low: number, high: number, write: boolean): number {
    const i32 = this.#i32;
    const at = this.#base + this.#entry(set, low) * ENTRY_WORDS;
    const tag = at + (write ? TLB_WRITE_TAG : TLB_READ_TAG) / 4;
    if (i32[tag] !== (low & ~4095) || i32[tag + 1] !== high) return -1;
    return (i32[at + TLB_ADDEND / 4]! + low) >>> 0;
  }

  /** Enters a page of RAM: `arenaAddress` is the page's, `low`/`high` any linear address in it. */
  fill(
    set: number,
    low: number,
    high: number,
    arenaAddress: number,
    writable: boolean,
    global: boolean,
    pageShift: number,
  ): void {
    this.fills++;
    const i32 = this.#i32;
    const entry = this.#entry(set, low);
    this.#list(entry, global && set !== SET_USER);
    this.#shifts[entry] = pageShift;
    if (pageShift > 12) this.#largeRegions[regionOf(low, high, pageShift)] = 1;
    const at = this.#base + entry * ENTRY_WORDS;
    const page = low & ~4095;
    i32[at + TLB_READ_TAG / 4] = page;
    i32[at + TLB_READ_TAG / 4 + 1] = high;
    i32[at + TLB_WRITE_TAG / 4] = writable ? page : NEVER;
    i32[at + TLB_WRITE_TAG / 4 + 1] = writable ? high : NEVER;
    i32[at + TLB_ADDEND / 4] = (arenaAddress - (page >>> 0)) | 0;
    i32[at + TLB_PAGE / 4] = arenaAddress;
  }

  /** INVLPG: drops a linear page from every set, all of it when it is part of a large one. */
  drop(low: number, high: number): void {
    const i32 = this.#i32;
    for (let set = 0; set < TLB_SETS; set++) {
      const at = this.#base + this.#entry(set, low) * ENTRY_WORDS;
      if (i32[at]! === (low & ~4095) && i32[at + 1] === high) this.#clear(at);
    }
    for (const shift of LARGE_SHIFTS)
      if (this.#largeRegions[regionOf(low, high, shift)] !== 0) this.#dropLarge(low, high, shift);
  }

  #dropLarge(low: number, high: number, shift: number): void {
    for (const { entries, count } of [this.#local, this.#global]) {
      for (let i = 0; i < count; i++) {
        const entry = entries[i]!;
        const at = this.#base + entry * ENTRY_WORDS;
        const inside = this.#i32[at + 1] === high && this.#i32[at]! >>> shift === low >>> shift;
        if (inside && this.#shifts[entry] === shift) this.#clear(at);
      }
    }
  }

  /** Takes away direct writes to a page of RAM, by the arena address of the page. */
  protect(arenaAddress: number): void {
    const i32 = this.#i32;
    for (const { entries, count } of [this.#local, this.#global]) {
      for (let i = 0; i < count; i++) {
        const at = this.#base + entries[i]! * ENTRY_WORDS;
        if (i32[at + TLB_PAGE / 4] !== (arenaAddress | 0)) continue;
        i32[at + TLB_WRITE_TAG / 4] = NEVER;
        i32[at + TLB_WRITE_TAG / 4 + 1] = NEVER;
      }
    }
  }
}
