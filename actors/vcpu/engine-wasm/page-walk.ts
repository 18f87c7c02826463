// Linear to guest-physical translation: no paging, 32-bit, PAE and 4-level paging, with accessed and dirty bits,
// NX, WP, SMEP, SMAP and large pages. Intel SDM vol. 3 ch. 4. PCID and 5-level paging are not announced.

import { CR0_PG, CR0_WP, CR4_PAE, CR4_PGE, CR4_PSE, CR4_SMAP, CR4_SMEP } from '#shared/x86/control-bits.js';
import { EFER_LMA, EFER_NXE } from '#shared/x86/msr-index.js';
import {
  ENTRY_PRESENT,
  ENTRY_WRITABLE,
  ENTRY_USER,
  ENTRY_ACCESSED,
  ENTRY_DIRTY,
  ENTRY_LARGE,
  ENTRY_GLOBAL,
  setEntryBits,
} from '#shared/x86/paging-entry.js';
import { CR0, CR3, CR4, EFER } from '#shared/x86/cpu-state.js';

export const ACCESS_WRITE = 1;
export const ACCESS_USER = 2;
export const ACCESS_EXECUTE = 4;
/** Supervisor data access with RFLAGS.AC set: SMAP does not apply. */
export const ACCESS_SMAP_OFF = 8;

/** Physical-address bits 40–51 of an entry's high half are reserved: MAXPHYADDR is 40. */
const RESERVED_HIGH = 0x000fff00;
const NX_HIGH = 0x80000000 | 0;

const ERROR_PRESENT = 1;
const ERROR_RESERVED = 8;
const ERROR_FETCH = 16;

/** An entry was written between its reading and the setting of its bits: the walk begins anew. */
const CHANGED = -2;

/** Arena offset of guest-physical memory, −1 outside RAM. */
export type PhysicalResolver = (gpa: number, bytes: number) => number;

/** Walks one vCPU's page tables. After a walk that gives −1, `errorCode` is the #PF error code. */
export class PageWalk {
  errorCode = 0;
  /** After a successful walk: the page may be written without another walk (its dirty bit is set, writing is permitted). */
  writable = false;
  /** After a successful walk: log2 of the page's size. */
  pageShift = 12;
  /** After a successful walk: the page stays mapped over loads of CR3. */
  global = false;
  readonly #i32: Int32Array;
  readonly #cpu: number;
  readonly #resolve: PhysicalResolver;
  // Entries on the path, for the accessed bits.
  readonly #path = new Int32Array(4);
  /** What was read of each. */
  readonly #seen = new Int32Array(4);
  #pathLength = 0;
  #allowWrite = true;
  #allowUser = true;
  #noExecute = false;

  /** `cpu`: the state page's index in `i32`. */
  constructor(i32: Int32Array, cpu: number, resolve: PhysicalResolver) {
    this.#i32 = i32;
    this.#cpu = cpu;
    this.#resolve = resolve;
  }

  /** Guest-physical address (a number) of the linear address `high:low`, or −1 with `errorCode`. */
  translate(low: number, high: number, access: number): number {
    for (;;) {
      const gpa = this.#walk(low, high, access);
      if (gpa !== CHANGED) return gpa;
    }
  }

  #walk(low: number, high: number, access: number): number {
    const i32 = this.#i32;
    const cr0 = i32[this.#cpu + CR0 / 4]!;
    if ((cr0 & CR0_PG) === 0) {
      this.writable = true;
      this.global = false;
      this.pageShift = 12;
      return low >>> 0;
    }
    this.#pathLength = 0;
    this.#allowWrite = true;
    this.#allowUser = true;
    this.#noExecute = false;
    const cr4 = i32[this.#cpu + CR4 / 4]!;
    if ((i32[this.#cpu + EFER / 4]! & EFER_LMA) !== 0) return this.#walkLong(low, high, access);
    return (cr4 & CR4_PAE) !== 0
      ? this.#walkPae(low, access)
      : this.#walk32(low, access, (cr4 & CR4_PSE) !== 0);
  }

  #fail(code: number, access: number): number {
    const cr4 = this.#i32[this.#cpu + CR4 / 4]!;
    const nxe = (this.#i32[this.#cpu + EFER / 4]! & EFER_NXE) !== 0 && (cr4 & CR4_PAE) !== 0;
    const fetch = (access & ACCESS_EXECUTE) !== 0 && (nxe || (cr4 & CR4_SMEP) !== 0) ? ERROR_FETCH : 0;
    this.errorCode =
      code | ((access & ACCESS_WRITE) !== 0 ? 2 : 0) | ((access & ACCESS_USER) !== 0 ? 4 : 0) | fetch;
    return -1;
  }

  /** i32 index of a 64-bit entry, or −1 outside RAM (reads as not present). */
  #entry64(tableLow: number, tableHigh: number, index: number): number {
    const gpa = (tableHigh & 0xff) * 0x1_0000_0000 + ((tableLow & 0xfffff000) >>> 0) + index * 8;
    const offset = this.#resolve(gpa, 8);
    return offset < 0 ? -1 : offset >>> 2;
  }

  #walkLong(low: number, high: number, access: number): number {
    const cpu = this.#cpu;
    let tableLow = this.#i32[cpu + CR3 / 4]!;
    let tableHigh = this.#i32[cpu + CR3 / 4 + 1]!;
    for (let level = 3; level >= 0; level--) {
      const index =
        level === 3
          ? (high >>> 7) & 511
          : level === 2
            ? ((high << 2) | (low >>> 30)) & 511
            : (low >>> (level * 9 + 12)) & 511;
      const at = this.#entry64(tableLow, tableHigh, index);
      if (at < 0) return this.#fail(0, access);
      const entryLow = this.#i32[at]!;
      const entryHigh = this.#i32[at + 1]!;
      if ((entryLow & ENTRY_PRESENT) === 0) return this.#fail(0, access);
      const large = (entryLow & ENTRY_LARGE) !== 0 && level > 0;
      if (large && level === 3) return this.#fail(ERROR_PRESENT | ERROR_RESERVED, access);
      if (!this.#accumulate(at, entryLow, entryHigh, true))
        return this.#fail(ERROR_PRESENT | ERROR_RESERVED, access);
      if (large || level === 0) return this.#finish(low, access, entryLow, entryHigh, level * 9 + 12);
      tableLow = entryLow;
      tableHigh = entryHigh;
    }
    return -1;
  }

  #walkPae(low: number, access: number): number {
    // PDPTEs are read at each walk, not cached at a load of CR3: guests that change them reload CR3 anyway.
    const cr3 = this.#i32[this.#cpu + CR3 / 4]! & 0xffffffe0;
    const root = this.#resolve((cr3 >>> 0) + (low >>> 30) * 8, 8);
    if (root < 0) return this.#fail(0, access);
    const pdpte = root >>> 2;
    if ((this.#i32[pdpte]! & ENTRY_PRESENT) === 0) return this.#fail(0, access);
    let tableLow = this.#i32[pdpte]!;
    let tableHigh = this.#i32[pdpte + 1]!;
    for (let level = 1; level >= 0; level--) {
      const at = this.#entry64(tableLow, tableHigh, (low >>> (level * 9 + 12)) & 511);
      if (at < 0) return this.#fail(0, access);
      const entryLow = this.#i32[at]!;
      const entryHigh = this.#i32[at + 1]!;
      if ((entryLow & ENTRY_PRESENT) === 0) return this.#fail(0, access);
      if (!this.#accumulate(at, entryLow, entryHigh, true))
        return this.#fail(ERROR_PRESENT | ERROR_RESERVED, access);
      if (level === 0 || (entryLow & ENTRY_LARGE) !== 0)
        return this.#finish(low, access, entryLow, entryHigh, level * 9 + 12);
      tableLow = entryLow;
      tableHigh = entryHigh;
    }
    return -1;
  }

  #walk32(low: number, access: number, pse: boolean): number {
    const directory = this.#resolve((this.#i32[this.#cpu + CR3 / 4]! & 0xfffff000) >>> 0, 4096);
    if (directory < 0) return this.#fail(0, access);
    const at = (directory >>> 2) + (low >>> 22);
    const entry = this.#i32[at]!;
    if ((entry & ENTRY_PRESENT) === 0) return this.#fail(0, access);
    this.#accumulate(at, entry, 0, false);
    if (pse && (entry & ENTRY_LARGE) !== 0) {
      // PSE-36: bits 13–20 are physical-address bits 32–39.
      return this.#finish(low, access, entry & ~0x3fe000, (entry >>> 13) & 0xff, 22);
    }
    const table = this.#resolve((entry & 0xfffff000) >>> 0, 4096);
    if (table < 0) return this.#fail(0, access);
    const leaf = (table >>> 2) + ((low >>> 12) & 1023);
    const leafEntry = this.#i32[leaf]!;
    if ((leafEntry & ENTRY_PRESENT) === 0) return this.#fail(0, access);
    this.#accumulate(leaf, leafEntry, 0, false);
    return this.#finish(low, access, leafEntry, 0, 12);
  }

  /** Notes an entry of the path; false when a reserved bit is set. */
  #accumulate(at: number, entryLow: number, entryHigh: number, wide: boolean): boolean {
    this.#seen[this.#pathLength] = entryLow;
    this.#path[this.#pathLength++] = at;
    if ((entryLow & ENTRY_WRITABLE) === 0) this.#allowWrite = false;
    if ((entryLow & ENTRY_USER) === 0) this.#allowUser = false;
    if (!wide) return true;
    if ((entryHigh & RESERVED_HIGH) !== 0) return false;
    if ((entryHigh & NX_HIGH) !== 0) {
      if ((this.#i32[this.#cpu + EFER / 4]! & EFER_NXE) === 0) return false;
      this.#noExecute = true;
    }
    return true;
  }

  #permitted(access: number): boolean {
    if ((access & ACCESS_EXECUTE) !== 0 && this.#noExecute) return false;
    if ((access & ACCESS_USER) !== 0)
      return this.#allowUser && ((access & ACCESS_WRITE) === 0 || this.#allowWrite);
    const cr4 = this.#i32[this.#cpu + CR4 / 4]!;
    if (this.#allowUser) {
      if ((access & ACCESS_EXECUTE) !== 0) {
        if ((cr4 & CR4_SMEP) !== 0) return false;
      } else if ((cr4 & CR4_SMAP) !== 0 && (access & ACCESS_SMAP_OFF) === 0) return false;
    }
    return (
      (access & ACCESS_WRITE) === 0 || this.#allowWrite || (this.#i32[this.#cpu + CR0 / 4]! & CR0_WP) === 0
    );
  }

  #finish(low: number, access: number, entryLow: number, entryHigh: number, shift: number): number {
    const offsetMask = shift === 30 ? 0x3fffffff : (1 << shift) - 1;
    // A large page's low address bits (but PAT, bit 12) are reserved.
    if (shift > 12 && (entryLow & offsetMask & 0xffffe000) !== 0)
      return this.#fail(ERROR_PRESENT | ERROR_RESERVED, access);
    if (!this.#permitted(access)) return this.#fail(ERROR_PRESENT, access);
    const i32 = this.#i32;
    const last = this.#pathLength - 1;
    const leaf = this.#path[last]! >>> 0;
    const write = (access & ACCESS_WRITE) !== 0;
    for (let i = 0; i <= last; i++) {
      const bits = i === last && write ? ENTRY_ACCESSED | ENTRY_DIRTY : ENTRY_ACCESSED;
      if (!setEntryBits(i32, this.#path[i]! >>> 0, this.#seen[i]!, bits)) return CHANGED;
    }
    this.pageShift = shift;
    this.global = (entryLow & ENTRY_GLOBAL) !== 0 && (i32[this.#cpu + CR4 / 4]! & CR4_PGE) !== 0;
    this.writable = write || ((i32[leaf]! & ENTRY_DIRTY) !== 0 && this.#permitted(access | ACCESS_WRITE));
    return (
      (entryHigh & 0xff) * 0x1_0000_0000 +
      (((entryLow & 0xfffff000 & ~offsetMask) | (low & offsetMask)) >>> 0)
    );
  }
}
