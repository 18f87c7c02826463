// One vCPU's software TLB in the arena (layout in shared/translate/op-record.ts), which generated code looks up by
// itself and fills for itself in the usual cases (shared/x86/routines/page-walk.ts): here is all of it, and the flushes. The set
// in use follows the privilege level and SMAP. Flushes cost what was filled since the last one: the entries in use are
// listed, apart for global pages, which stay when CR3 is loaded.

import * as T from '#shared/translate/op-record.js';
import type { CodeMap } from '#shared/memory/code-map.js';
import type { GuestMemoryLayout } from '#shared/memory/guest-memory.js';
import type { Region } from '#shared/base/region.js';

export const SET_USER = 0;
export const SET_SUPERVISOR = 1;
export const SET_SUPERVISOR_SMAP_OFF = 2;

const NEVER = (T.TLB_NEVER * 0x01010101) | 0;
const NEVER_64 = BigInt.asIntN(64, BigInt(T.TLB_NEVER) * 0x0101_0101_0101_0101n);
const ENTRY_WORDS = T.TLB_ENTRY_BYTES / 4;
const ENTRY_PAIRS = T.TLB_ENTRY_BYTES / 8;
/** Both tags. */
const TAG_PAIRS = 2;
/** Sizes of large pages (log2) that may be told apart in the map of large regions. */
const LARGE_SHIFTS = [21, 22, 30] as const;

/** Entries by number, each at most once; in the arena, since generated code fills entries too. */
class EntryList {
  readonly entries: Uint16Array;
  readonly #i32: Int32Array;
  readonly #count: number;

  constructor(i32: Int32Array, count: number, list: number) {
    this.#i32 = i32;
    this.#count = count >>> 2;
    this.entries = new Uint16Array(i32.buffer, list, T.TLB_SETS * T.TLB_ENTRIES);
  }

  get count(): number {
    return this.#i32[this.#count]!;
  }

  set count(count: number) {
    this.#i32[this.#count] = count;
  }

  push(entry: number): void {
    this.entries[this.count++] = entry;
  }
}

function regionOf(low: number, high: number, shift: number): number {
  const [highFactor, lowFactor, factor] = T.TLB_REGION_HASH;
  // A kernel's map of all memory fills regions in a row; a user's page that fell among them would cost a search each time.
  const mixed = Math.imul(high, highFactor) ^ Math.imul((low >>> shift) + (shift << 12), lowFactor);
  return Math.imul(mixed, factor) >>> (32 - T.TLB_REGION_BITS);
}

export class Tlb {
  readonly #i32: Int32Array;
  readonly #region: Region;
  readonly #base: number;
  readonly #u8: Uint8Array;
  readonly #local: EntryList;
  readonly #global: EntryList;
  /** Not zero where an entry may be part of a large page, by {@link regionOf}. */
  readonly #largeRegions: Uint8Array;
  /** Statistics. */
  flushes = 0;

  constructor(u8: Uint8Array, i32: Int32Array, region: Region) {
    this.#i32 = i32;
    this.#region = region;
    this.#base = region.offset >>> 2;
    this.#u8 = u8;
    this.#local = new EntryList(i32, region.offset + T.TLB_LOCAL_COUNT, region.offset + T.TLB_LOCAL_LIST);
    this.#global = new EntryList(i32, region.offset + T.TLB_GLOBAL_COUNT, region.offset + T.TLB_GLOBAL_LIST);
    this.#largeRegions = new Uint8Array(
      u8.buffer,
      region.offset + T.TLB_LARGE_REGIONS,
      1 << T.TLB_REGION_BITS,
    );
    u8.fill(0, region.offset + T.TLB_INDEX, region.offset + T.TLB_BYTES);
    const words = new BigInt64Array(u8.buffer, region.offset, T.TLB_INDEX / 8);
    for (let i = 0; i < words.length; i++) words[i] = i % ENTRY_PAIRS < TAG_PAIRS ? NEVER_64 : 0n;
  }

  /** Lets generated code fill entries: {@link offset} is then what it needs. */
  announceRam(ram: GuestMemoryLayout, codeMap: CodeMap, vcpu: number): void {
    this.#i32[this.#base + T.TLB_RAM / 4] = ram.ramOffset;
    this.#i32[this.#base + T.TLB_LOW_RAM / 4] = ram.lowBytes;
    this.#i32[this.#base + T.TLB_HIGH_RAM / 4] = ram.highBytes;
    this.#i32[this.#base + T.TLB_CODE_MAP / 4] = codeMap.offset;
    this.#i32[this.#base + T.TLB_OWNER_BIT / 4] = 1 << (vcpu & 31);
  }

  /** Arena offset of the TLB with what stands behind its sets. */
  get offset(): number {
    return this.#region.offset;
  }

  /** Statistics. */
  get fills(): number {
    return this.#i32[this.#base + T.TLB_FILLS / 4]! >>> 0;
  }

  /** Arena offset of a set, for TLB_BASE. */
  setOffset(set: number): number {
    return this.#region.offset + set * T.TLB_SET_BYTES;
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
      const at = this.#base + entry * ENTRY_WORDS;
      this.#u8[at * 4 + T.TLB_MARKS] = 0;
      this.#clear(at);
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
    const mark = global ? T.TLB_LISTED_GLOBAL : T.TLB_LISTED_LOCAL;
    const at = (this.#base + entry * ENTRY_WORDS) * 4 + T.TLB_MARKS;
    const marks = this.#u8[at]!;
    if ((marks & mark) !== 0) return;
    this.#u8[at] = marks | mark;
    (global ? this.#global : this.#local).push(entry);
  }

  /** Number of the entry of a linear page in a set. */
  #entry(set: number, low: number): number {
    return set * T.TLB_ENTRIES + ((low >>> 12) & (T.TLB_ENTRIES - 1));
  }

  /** Arena address of a linear address whose page is entered for reading (or writing), −1 otherwise. */
  find(set: number, low: number, high: number, write: boolean): number {
    const i32 = this.#i32;
    const at = this.#base + this.#entry(set, low) * ENTRY_WORDS;
    const tag = at + (write ? T.TLB_WRITE_TAG : T.TLB_READ_TAG) / 4;
    if (i32[tag] !== (low & ~4095) || i32[tag + 1] !== high) return -1;
    return (i32[at + T.TLB_ADDEND / 4]! + low) >>> 0;
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
    const i32 = this.#i32;
    i32[this.#base + T.TLB_FILLS / 4]!++;
    const entry = this.#entry(set, low);
    this.#list(entry, global && set !== SET_USER);
    if (pageShift > 12) this.#largeRegions[regionOf(low, high, pageShift)] = 1;
    const at = this.#base + entry * ENTRY_WORDS;
    this.#u8[at * 4 + T.TLB_PAGE_SHIFT] = pageShift;
    const page = low & ~4095;
    i32[at + T.TLB_READ_TAG / 4] = page;
    i32[at + T.TLB_READ_TAG / 4 + 1] = high;
    i32[at + T.TLB_WRITE_TAG / 4] = writable ? page : NEVER;
    i32[at + T.TLB_WRITE_TAG / 4 + 1] = writable ? high : NEVER;
    i32[at + T.TLB_ADDEND / 4] = (arenaAddress - (page >>> 0)) | 0;
    i32[at + T.TLB_PAGE / 4] = arenaAddress;
  }

  /** INVLPG: drops a linear page from every set, all of it when it is part of a large one. */
  drop(low: number, high: number): void {
    const i32 = this.#i32;
    for (let set = 0; set < T.TLB_SETS; set++) {
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
        if (inside && this.#u8[at * 4 + T.TLB_PAGE_SHIFT] === shift) this.#clear(at);
      }
    }
  }

  /** Takes away direct writes to a page of RAM, by the arena address of the page. */
  protect(arenaAddress: number): void {
    const i32 = this.#i32;
    for (const { entries, count } of [this.#local, this.#global]) {
      for (let i = 0; i < count; i++) {
        const at = this.#base + entries[i]! * ENTRY_WORDS;
        if (i32[at + T.TLB_PAGE / 4] !== (arenaAddress | 0)) continue;
        i32[at + T.TLB_WRITE_TAG / 4] = NEVER;
        i32[at + T.TLB_WRITE_TAG / 4 + 1] = NEVER;
      }
    }
  }
}
