// One vCPU's software TLB in the arena (layout in shared/translate/op-record.ts), which generated code looks up by
// itself: here it is filled and flushed. The set in use follows the privilege level and SMAP.

import {
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_NEVER,
  TLB_PAGE,
  TLB_READ_TAG,
  TLB_SET_BYTES,
  TLB_WRITE_TAG,
} from '#shared/translate/op-record.js';
import type { Region } from '#shared/base/region.js';

export const SET_USER = 0;
export const SET_SUPERVISOR = 1;
export const SET_SUPERVISOR_SMAP_OFF = 2;
const SETS = 3;

const NEVER = TLB_NEVER * 0x01010101;
const NEVER_64 = BigInt.asIntN(64, BigInt(TLB_NEVER) * 0x0101_0101_0101_0101n);

export class Tlb {
  readonly #i64: BigInt64Array;
  readonly #i32: Int32Array;
  readonly #region: Region;
  /** Entries (i32 indices) of supervisor sets that a load of CR3 drops. */
  readonly #local: number[] = [];
  /** Whether an entry is among them, by its number: a page that is filled over and over is listed once. */
  readonly #listed = new Uint8Array(SETS * TLB_ENTRIES);
  /** Entries (i32 indices) that are parts of large pages, with the log2 of their size. */
  readonly #large = new Map<number, number>();
  readonly #used = [true, true, true];
  /** Statistics. */
  fills = 0;
  flushes = 0;

  constructor(u8: Uint8Array, i32: Int32Array, region: Region) {
    this.#i64 = new BigInt64Array(u8.buffer);
    this.#i32 = i32;
    this.#region = region;
    this.flush();
  }

  /** Arena offset of a set, for TLB_BASE. */
  setOffset(set: number): number {
    return this.#region.offset + set * TLB_SET_BYTES;
  }

  /** Drops everything. */
  flush(): void {
    this.flushes++;
    this.#unlist();
    this.#large.clear();
    for (let set = 0; set < this.#used.length; set++) this.#clear(set);
  }

  /** Drops all but global pages: a load of CR3. */
  flushLocal(): void {
    this.flushes++;
    this.#clear(SET_USER);
    for (const at of this.#local) this.#i32.fill(NEVER, at, at + 4);
    this.#unlist();
  }

  #list(at: number): void {
    const entry = this.#number(at);
    if (this.#listed[entry] !== 0) return;
    this.#listed[entry] = 1;
    this.#local.push(at);
  }

  #unlist(): void {
    for (const at of this.#local) this.#listed[this.#number(at)] = 0;
    this.#local.length = 0;
  }

  #number(at: number): number {
    return (at - (this.#region.offset >>> 2)) / (TLB_ENTRY_BYTES / 4);
  }

  #clear(set: number): void {
    if (!this.#used[set]!) return;
    this.#used[set] = false;
    // By eight bytes: V8 fills shared memory an element at a time.
    this.#i64.fill(NEVER_64, this.setOffset(set) >>> 3, (this.setOffset(set) + TLB_SET_BYTES) >>> 3);
  }

  #entry(set: number, low: number): number {
    return (this.setOffset(set) + ((low >>> 12) & (TLB_ENTRIES - 1)) * TLB_ENTRY_BYTES) >>> 2;
  }

  /** Arena address of a linear address whose page is entered for reading (or writing), −1 otherwise. */
  find(set: number, low: number, high: number, write: boolean): number {
    const i32 = this.#i32;
    const at = this.#entry(set, low);
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
    this.#used[set] = true;
    const i32 = this.#i32;
    const at = this.#entry(set, low);
    if (!global && set !== SET_USER) this.#list(at);
    if (pageShift > 12) this.#large.set(at, pageShift);
    else if (this.#large.size > 0) this.#large.delete(at);
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
    for (let set = 0; set < 3; set++) {
      const at = this.#entry(set, low);
      if (i32[at]! === (low & ~4095) && i32[at + 1] === high) i32.fill(NEVER, at, at + 4);
    }
    for (const [at, shift] of this.#large) {
      if (i32[at + 1] === high && i32[at]! >>> shift === low >>> shift) i32.fill(NEVER, at, at + 4);
    }
  }

  /** Takes away direct writes to a page of RAM, by the arena address of the page. */
  protect(arenaAddress: number): void {
    const i32 = this.#i32;
    const end = (this.#region.offset + this.#region.bytes) >>> 2;
    for (let at = this.#region.offset >>> 2; at < end; at += TLB_ENTRY_BYTES / 4) {
      if (i32[at + TLB_PAGE / 4] === (arenaAddress | 0))
        i32.fill(NEVER, at + TLB_WRITE_TAG / 4, at + TLB_WRITE_TAG / 4 + 2);
    }
  }
}
