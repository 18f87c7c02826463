// The interpreter tier's decoded code: blocks of operation records in the vCPU's code cache, found by physical address
// and mode. Space is given out from the bottom and never returned; when it is used up everything is dropped.
// Dropping a block overwrites its records' handlers, so that links and jump-cache entries to it need no search.

import type { Region } from '#shared/base/region.js';
import type { CodeMap } from '#shared/memory/code-map.js';
import {
  CODE_TLB,
  CODE_TLB_ENTRIES,
  CODE_TLB_ENTRY_BYTES,
  CODE_TLB_PAGE,
  HANDLER_INVALID,
  JUMP_CACHE_BYTES,
  JUMP_CACHE_ENTRIES,
  JUMP_CACHE_ENTRY_BYTES,
  JUMP_CACHE_HASH_SHIFT,
  JUMP_CACHE_LINKABLE,
  JUMP_CACHE_MULTIPLIER,
  JUMP_CACHE_RECORD,
  RECORD_BYTES,
  RECORD_HANDLER,
  TLB_NEVER,
} from '#shared/translate/op-record.js';

/** A decoded block. */
export interface Block {
  /** Arena offset of its first record. */
  readonly record: number;
  /** 32-byte slots that it takes. */
  readonly slots: number;
  /** Arena address of its first byte of code. */
  readonly address: number;
  /** MODE_* bits that it was decoded under. */
  readonly mode: number;
  /** Its only instruction crosses into another page: arena address of that page; −1 otherwise. Such blocks are not linked to. */
  readonly crossing: number;
  /** Its records are good: not dropped since. */
  live: boolean;
  /** The compiler was asked for a region that begins with it, whoever had it made. */
  asked: boolean;
  /** No region but one formed from here will do. */
  exact: boolean;
}

export function createBlock(
  record: number,
  slots: number,
  address: number,
  mode: number,
  crossing: number,
): Block {
  return { record, slots, address, mode, crossing, live: true, asked: false, exact: false };
}

const PAGE = 4096;
const MODE_KEYS = 32;
const MAX_REMEMBERED_PAGES = 4096;
const NEVER = (TLB_NEVER * 0x0101_0101) | 0;
const NEVER_64 = BigInt.asIntN(64, BigInt(TLB_NEVER) * 0x0101_0101_0101_0101n);

/** A jump cache's entries and those of its code TLB are of one size. */
const JUMP_CACHE_SLOTS = JUMP_CACHE_BYTES / JUMP_CACHE_ENTRY_BYTES;
const CODE_TLB_SLOT = CODE_TLB / CODE_TLB_ENTRY_BYTES;

const offsetKey = (address: number, mode: number): number => (address % PAGE) * MODE_KEYS + mode;

export class BlockCache {
  readonly #i32: Int32Array;
  readonly #space: Region;
  readonly #jumpCaches: Region;
  readonly #codeMap: CodeMap;
  readonly #vcpu: number;
  /** Blocks by the number of the page that they start in, then by offset and mode: small integers, which maps like. */
  readonly #blocks = new Map<number, Map<number, Block>>();
  /** The blocks that have code in a page, by the page's arena address. */
  readonly #pages = new Map<number, Block[]>();
  /** Slots of each jump cache (its code TLB's follow) that were entered since its last flush, some of them repeatedly. */
  readonly #entered = [new Uint16Array(JUMP_CACHE_SLOTS), new Uint16Array(JUMP_CACHE_SLOTS)] as const;
  readonly #enteredCounts = [0, 0];
  #next: number;
  /** How often each page was dropped, as long as it is worth remembering. */
  readonly #drops = new Map<number, number>();
  /** Grows whenever everything is dropped: arena offsets of records from before mean nothing. */
  generation = 0;
  /** Statistics. */
  decoded = 0;
  dropped = 0;

  constructor(
    u8: Uint8Array,
    i32: Int32Array,
    space: Region,
    jumpCaches: Region,
    codeMap: CodeMap,
    vcpu: number,
  ) {
    this.#i32 = i32;
    this.#space = space;
    this.#jumpCaches = jumpCaches;
    this.#codeMap = codeMap;
    this.#vcpu = vcpu;
    this.#next = space.offset;
    const caches = new BigInt64Array(u8.buffer, jumpCaches.offset, (2 * JUMP_CACHE_BYTES) / 8);
    caches.fill(NEVER_64);
  }

  find(address: number, mode: number): Block | undefined {
    return this.#blocks.get(Math.floor(address / PAGE))?.get(offsetKey(address, mode));
  }

  /** Room for `slots` records; drops everything when there is none. */
  reserve(slots: number): number {
    if (this.#next + slots * RECORD_BYTES > this.#space.offset + this.#space.bytes) this.dropAll();
    return this.#next;
  }

  /** Enters a block that was written at {@link reserve}'s place. */
  add(block: Block, pages: readonly number[]): void {
    this.#next = block.record + block.slots * RECORD_BYTES;
    const page = Math.floor(block.address / PAGE);
    let starting = this.#blocks.get(page);
    if (starting === undefined) this.#blocks.set(page, (starting = new Map<number, Block>()));
    starting.set(offsetKey(block.address, block.mode), block);
    this.decoded++;
    for (const covered of pages) {
      const blocks = this.#pages.get(covered);
      if (blocks === undefined) this.#pages.set(covered, [block]);
      else blocks.push(block);
    }
  }

  /** Room that lives as long as the blocks do, as an arena offset; −1 when there is none. */
  allocate(bytes: number): number {
    const slots = Math.ceil(bytes / RECORD_BYTES);
    if (this.#next + slots * RECORD_BYTES > this.#space.offset + this.#space.bytes) return -1;
    const at = this.#next;
    this.#next += slots * RECORD_BYTES;
    return at;
  }

  /** A block's region covers another page too: whoever drops that drops the region. */
  attach(block: Block, page: number): void {
    this.#pages.get(page)?.push(block);
  }

  /** How often a page's code was dropped lately: a page that changes all the time is not worth compiling. */
  dropsOf(page: number): number {
    return this.#drops.get(page) ?? 0;
  }

  /** Whether the block's region was dropped: its first record, a heat counter's, wants a handler again. */
  isCut({ record }: Block): boolean {
    return this.#i32[(record + RECORD_HANDLER) >>> 2] === HANDLER_INVALID;
  }

  /** Drops the blocks that have code in a page, and the regions of others that cover it. */
  dropPage(page: number): void {
    const blocks = this.#pages.get(page);
    if (blocks === undefined) return;
    this.#pages.delete(page);
    if (this.#drops.size >= MAX_REMEMBERED_PAGES) this.#drops.clear();
    this.#drops.set(page, this.dropsOf(page) + 1);
    for (const block of blocks) {
      // The block itself is as it was, and so are the links to it: whoever comes by one has it looked up.
      if (block.crossing !== page && block.address - (block.address % PAGE) !== page) {
        this.#i32[(block.record + RECORD_HANDLER) >>> 2] = HANDLER_INVALID;
        continue;
      }
      this.#blocks.get(Math.floor(block.address / PAGE))?.delete(offsetKey(block.address, block.mode));
      block.live = false;
      this.dropped++;
      for (let i = 0; i < block.slots; i++)
        this.#i32[(block.record + i * RECORD_BYTES + RECORD_HANDLER) >>> 2] = HANDLER_INVALID;
    }
    this.#codeMap.disclaim(page, this.#vcpu);
  }

  /** Drops the blocks of all pages that others wrote. */
  dropStalePages(): void {
    for (const page of [...this.#pages.keys()])
      if (this.#codeMap.isStale(page, this.#vcpu)) this.dropPage(page);
  }

  /** This thread's predecessor died: what it had decoded is nobody's. */
  takeOver(): void {
    this.#codeMap.disclaimAll(this.#vcpu);
    this.dropAll();
  }

  dropAll(): void {
    for (const [page, blocks] of this.#pages) {
      this.#codeMap.disclaim(page, this.#vcpu);
      for (const block of blocks) block.live = false;
    }
    this.#blocks.clear();
    this.#pages.clear();
    this.#next = this.#space.offset;
    this.generation++;
    this.flushJumpCaches();
  }

  /** Arena offset of the jump cache of user (1) or supervisor (0) code. */
  jumpCacheOffset(user: number): number {
    return this.#jumpCaches.offset + user * JUMP_CACHE_BYTES;
  }

  flushJumpCaches(): void {
    this.flushJumpCache(0);
    this.flushJumpCache(1);
  }

  flushJumpCache(user: number): void {
    const start = this.jumpCacheOffset(user) >>> 2;
    const entered = this.#entered[user]!;
    const count = this.#enteredCounts[user]!;
    const all = count > JUMP_CACHE_SLOTS;
    for (let i = all ? JUMP_CACHE_SLOTS : count; i-- > 0;) {
      const at = start + (all ? i : entered[i]!) * (JUMP_CACHE_ENTRY_BYTES / 4);
      this.#i32[at] = NEVER;
      this.#i32[at + 1] = NEVER;
    }
    this.#enteredCounts[user] = 0;
  }

  /** Notes that a slot is used; gives its index in `#i32`. */
  #enter(user: number, slot: number): number {
    const count = this.#enteredCounts[user]!;
    if (count < JUMP_CACHE_SLOTS) this.#entered[user]![count] = slot;
    if (count <= JUMP_CACHE_SLOTS) this.#enteredCounts[user] = count + 1;
    return (this.jumpCacheOffset(user) + slot * JUMP_CACHE_ENTRY_BYTES) >>> 2;
  }

  /** Remembers the block for an IP; what stood in its place goes to the second way. */
  enterJumpCache(user: number, low: number, high: number, { record, crossing }: Block): void {
    const i32 = this.#i32;
    const slot = Math.imul(low, JUMP_CACHE_MULTIPLIER) >>> JUMP_CACHE_HASH_SHIFT;
    const at = (this.jumpCacheOffset(user) + slot * JUMP_CACHE_ENTRY_BYTES) >>> 2;
    if (i32[at] !== low || i32[at + 1] !== high) {
      if (i32[at] === NEVER && i32[at + 1] === NEVER) this.#enter(user, slot);
      else this.#displace(user, slot, at);
    }
    i32[at] = low;
    i32[at + 1] = high;
    i32[at + JUMP_CACHE_RECORD / 4] = record;
    i32[at + JUMP_CACHE_LINKABLE / 4] = crossing < 0 ? 1 : 0;
  }

  #displace(user: number, slot: number, from: number): void {
    const to = this.#enter(user, JUMP_CACHE_ENTRIES + slot);
    this.#i32.copyWithin(to, from, from + JUMP_CACHE_ENTRY_BYTES / 4);
  }

  /** Enters a linear page into the code TLB that regions look into when they go on to another page. */
  enterCodeTlb(user: number, low: number, high: number, page: number): void {
    const at = this.#enter(user, CODE_TLB_SLOT + ((low >>> 12) & (CODE_TLB_ENTRIES - 1)));
    this.#i32[at] = low & ~4095;
    this.#i32[at + 1] = high;
    this.#i32[at + CODE_TLB_PAGE / 4] = page;
  }
}
