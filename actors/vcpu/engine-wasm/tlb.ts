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

const NEVER = TLB_NEVER * 0x01010101;

export class Tlb {
  readonly #u8: Uint8Array;
  readonly #i32: Int32Array;
  readonly #region: Region;
  /** Statistics. */
  fills = 0;
  flushes = 0;

  constructor(u8: Uint8Array, i32: Int32Array, region: Region) {
    this.#u8 = u8;
    this.#i32 = i32;
    this.#region = region;
    this.flush();
  }

  /** Arena offset of a set, for TLB_BASE. */
  setOffset(set: number): number {
    return this.#region.offset + set * TLB_SET_BYTES;
  }

  flush(): void {
    this.flushes++;
    this.#u8.fill(TLB_NEVER, this.#region.offset, this.#region.offset + this.#region.bytes);
  }

  #entry(set: number, low: number): number {
    return (this.setOffset(set) + ((low >>> 12) & (TLB_ENTRIES - 1)) * TLB_ENTRY_BYTES) >>> 2;
  }

  /** Enters a page of RAM: `arenaAddress` is the page's, `low`/`high` any linear address in it. */
  fill(set: number, low: number, high: number, arenaAddress: number, writable: boolean): void {
    this.fills++;
    const i32 = this.#i32;
    const at = this.#entry(set, low);
    const page = low & ~4095;
    i32[at + TLB_READ_TAG / 4] = page;
    i32[at + TLB_READ_TAG / 4 + 1] = high;
    i32[at + TLB_WRITE_TAG / 4] = writable ? page : NEVER;
    i32[at + TLB_WRITE_TAG / 4 + 1] = writable ? high : NEVER;
    i32[at + TLB_ADDEND / 4] = (arenaAddress - (page >>> 0)) | 0;
    i32[at + TLB_PAGE / 4] = arenaAddress;
  }

  /** INVLPG: drops a linear page from every set. */
  drop(low: number, high: number): void {
    for (let set = 0; set < 3; set++) {
      const at = this.#entry(set, low);
      if (this.#i32[at]! === (low & ~4095) && this.#i32[at + 1] === high) this.#i32.fill(NEVER, at, at + 4);
    }
  }

  /** Takes away direct writes to a page of RAM, by the arena address of the page. */
  protect(arenaAddress: number): void {
    const i32 = this.#i32;
    const end = (this.#region.offset + this.#region.bytes) >>> 2;
    for (let at = this.#region.offset >>> 2; at < end; at += TLB_ENTRY_BYTES / 4) {
      if (i32[at + TLB_PAGE / 4] === (arenaAddress | 0)) i32.fill(NEVER, at + TLB_WRITE_TAG / 4, at + TLB_WRITE_TAG / 4 + 2);
    }
  }
}
