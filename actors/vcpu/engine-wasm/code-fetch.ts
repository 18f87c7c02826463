// From an instruction pointer to a block of records: translates for execution, finds or decodes the block, and keeps
// the promise that no vCPU writes decoded bytes unseen.

import { assert } from '#shared/base/error.js';
import type { Region } from '#shared/base/region.js';
import type { CodeMap } from '#shared/memory/code-map.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import {
  CODE_MODE,
  CPL,
  CS,
  MODE_64,
  MODE_CODE_MASK,
  MODE_SINGLE,
  RIP,
  SEGMENT,
  SEGMENT_BASE,
  SEGMENT_BYTES,
  SEGMENT_LIMIT,
} from '#shared/x86/cpu-state.js';
import { type Block, type BlockCache, createBlock } from './block-cache.js';
import { type BlockDecoder, MAX_BLOCK_SLOTS, MAX_INSTRUCTION_BYTES } from './block-decoder.js';
import { GuestFault } from './cpu-context.js';
import type { FlushRequests } from './flush-request.js';
import type { Mmu } from './mmu.js';
import { ACCESS_EXECUTE, ACCESS_USER } from './page-walk.js';
import type { Tlb } from './tlb.js';

export interface CodeFetchParts {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly state: Region;
  readonly ram: GuestMemory;
  readonly mmu: Mmu;
  readonly tlb: Tlb;
  readonly codeMap: CodeMap;
  readonly blocks: BlockCache;
  readonly decoder: BlockDecoder;
  readonly flushRequests: FlushRequests;
  readonly vcpu: number;
}

/** log2 of the sizes of large pages. */
const LARGE_SHIFTS = [21, 22, 30] as const;
const CS_SLOT = SEGMENT + CS * SEGMENT_BYTES;

export class CodeFetch {
  readonly #p: CodeFetchParts;
  readonly #cpu: number;
  /** Arena address of each page that was fetched from, by linear page number: supervisor, user. */
  readonly #pages: readonly Map<number, number>[] = [new Map(), new Map()];
  /** Large pages that were fetched from, by {@link largeKey}. */
  readonly #large = new Set<number>();
  /** Some supervisor page is not global: a load of CR3 must drop supervisor code too. */
  #localSupervisorCode = false;

  constructor(parts: CodeFetchParts) {
    this.#p = parts;
    this.#cpu = parts.state.offset >>> 2;
  }

  /** All translations may have changed. */
  flush(): void {
    this.#flushOf(0);
    this.#flushOf(1);
    this.#large.clear();
    this.#localSupervisorCode = false;
  }

  /** CR3 was loaded: global pages stay. */
  flushLocal(): void {
    this.#flushOf(1);
    if (this.#localSupervisorCode) this.flush();
  }

  #flushOf(user: number): void {
    if (this.#pages[user]!.size === 0) return;
    this.#pages[user]!.clear();
    this.#p.blocks.flushJumpCache(user);
  }

  /** One linear page's translation may have changed. */
  drop(low: number, high: number): void {
    const key = pageNumber(low, high);
    for (const shift of LARGE_SHIFTS) if (this.#large.has(largeKey(key, shift))) return this.flush();
    for (let user = 0; user < 2; user++)
      if (this.#pages[user]!.delete(key)) this.#p.blocks.flushJumpCache(user);
  }

  /**
   * The block at RIP in the current mode (`step`: its first instruction alone). Throws GuestFault when it cannot be
   * fetched. Enters it into the jump cache.
   */
  lookup(step: boolean): Block {
    const { i32, blocks } = this.#p;
    const mode = i32[this.#cpu + CODE_MODE / 4]! | (step ? MODE_SINGLE : 0);
    const ipLow = i32[this.#cpu + RIP / 4]!;
    const ipHigh = i32[this.#cpu + RIP / 4 + 1]!;
    let low = ipLow;
    let high = ipHigh;
    if ((mode & MODE_CODE_MASK) !== MODE_64) {
      if (ipHigh !== 0 || ipLow >>> 0 > i32[this.#cpu + (CS_SLOT + SEGMENT_LIMIT) / 4]! >>> 0)
        throw new GuestFault(13, 0);
      low = (ipLow + i32[this.#cpu + (CS_SLOT + SEGMENT_BASE) / 4]!) | 0;
      high = 0;
    }
    const user = i32[this.#cpu + CPL / 4] === 3 ? 1 : 0;
    const address = this.#pageOf(low, high, user) + (low & 4095);
    const known = blocks.find(address, mode);
    if (known !== undefined && this.#stillCrosses(known, low, high, user)) {
      if (blocks.isCut(known)) this.#restart(known);
      if (!step) blocks.enterJumpCache(user, ipLow, ipHigh, known);
      return known;
    }
    const block = this.#decode(address, low, high, mode, user);
    if (!step) blocks.enterJumpCache(user, ipLow, ipHigh, block);
    return block;
  }

  /** Its region covered a page that changed: it grows hot anew, as one that was just decoded. */
  #restart(block: Block): void {
    const { blocks, decoder } = this.#p;
    block.asked = false;
    block.exact = false;
    decoder.restartHeat(block.record, blocks.dropsOf(block.address - (block.address % 4096)));
  }

  /** The block at a linear address, when its page was fetched from and it is decoded; without any effect. */
  peek(low: number, high: number, user: number, mode: number): Block | undefined {
    const page = this.#pages[user]!.get(pageNumber(low, high));
    return page === undefined ? undefined : this.#p.blocks.find(page + (low & 4095), mode);
  }

  /** As {@link peek}, but decodes what did not run yet; undefined too when its first instruction crosses into another page. */
  provide(low: number, high: number, user: number, mode: number): Block | undefined {
    const page = this.#pages[user]!.get(pageNumber(low, high));
    if (page === undefined) return undefined;
    const address = page + (low & 4095);
    return this.#p.blocks.find(address, mode) ?? this.#decodeInPage(address, mode);
  }

  /** Arena address of the page, translated for execution. */
  #pageOf(low: number, high: number, user: number): number {
    const key = pageNumber(low, high);
    const known = this.#pages[user]!.get(key);
    if (known !== undefined) {
      this.#p.blocks.enterCodeTlb(user, low, high, known);
      return known;
    }
    const sign = high >> 15;
    if (sign !== 0 && sign !== -1) throw new GuestFault(13, 0);
    const gpa = this.#p.mmu.translate(low, high, ACCESS_EXECUTE | (user !== 0 ? ACCESS_USER : 0));
    const offset = this.#p.ram.arenaOffset(gpa - (gpa % 4096), 4096);
    // Code outside RAM is not executed: no device of this machine holds any.
    if (offset < 0) throw new GuestFault(13, 0);
    this.#pages[user]!.set(key, offset);
    this.#p.blocks.enterCodeTlb(user, low, high, offset);
    const { pageShift, global } = this.#p.mmu.walk;
    if (pageShift > 12) this.#large.add(largeKey(key, pageShift));
    if (user === 0 && !global) this.#localSupervisorCode = true;
    return offset;
  }

  /** A block whose instruction crosses into another page is good while that page is where it was. */
  #stillCrosses(block: Block, low: number, high: number, user: number): boolean {
    if (block.crossing < 0) return true;
    const nextLow = ((low | 4095) + 1) | 0;
    if (this.#pageOf(nextLow, nextLow === 0 ? high + 1 : high, user) === block.crossing) return true;
    this.#p.blocks.dropPage(block.crossing);
    return false;
  }

  #decode(address: number, low: number, high: number, mode: number, user: number): Block {
    return this.#decodeInPage(address, mode) ?? this.#decodeCrossing(address, low, high, mode, user);
  }

  /** Undefined when the first instruction does not end in the page. */
  #decodeInPage(address: number, mode: number): Block | undefined {
    const { u8, blocks, decoder } = this.#p;
    const page = address - (address % 4096);
    const pageEnd = page + 4096;
    for (let attempt = 0; attempt < 16; attempt++) {
      const record = blocks.reserve(MAX_BLOCK_SLOTS);
      // A block covers at most 64 instructions, most of them short: no need to copy a whole page.
      const code = u8.slice(address, Math.min(pageEnd, address + 192));
      const decoded = decoder.decode(code, mode, record, blocks.dropsOf(page));
      if (decoded === undefined) return undefined;
      this.#claim(page, address, decoded.bytes);
      if (!sameBytes(u8, address, code, decoded.bytes)) continue;
      const block = createBlock(record, decoded.slots, address, mode, -1);
      blocks.add(block, [page]);
      return block;
    }
    throw new Error('code changed under every attempt to decode it');
  }

  #decodeCrossing(address: number, low: number, high: number, mode: number, user: number): Block {
    const { u8, blocks, decoder } = this.#p;
    const page = address - (address % 4096);
    const nextLow = ((low | 4095) + 1) | 0;
    const nextPage = this.#pageOf(nextLow, nextLow === 0 ? high + 1 : high, user);
    const here = page + 4096 - address;
    const code = new Uint8Array(here + MAX_INSTRUCTION_BYTES);
    const record = blocks.reserve(MAX_BLOCK_SLOTS);
    for (let attempt = 0; attempt < 16; attempt++) {
      code.set(u8.subarray(address, page + 4096));
      code.set(u8.subarray(nextPage, nextPage + MAX_INSTRUCTION_BYTES), here);
      const decoded = decoder.decode(code, mode, record, blocks.dropsOf(page), 1);
      // Fifteen bytes and no instruction: longer than one may be.
      if (decoded === undefined) throw new GuestFault(13, 0);
      this.#claim(page, address, here);
      const there = Math.max(1, decoded.bytes - here);
      this.#claim(nextPage, nextPage, there);
      if (!sameBytes(u8, address, code, here) || !sameBytes(u8, nextPage, code.subarray(here), there))
        continue;
      const block = createBlock(record, decoded.slots, address, mode, nextPage);
      blocks.add(block, [page, nextPage]);
      return block;
    }
    throw new Error('code changed under every attempt to decode it');
  }

  /** From here on every write to these bytes is told. */
  #claim(page: number, address: number, bytes: number): void {
    const { codeMap, tlb, flushRequests, vcpu } = this.#p;
    assert(address >= page && address + bytes <= page + 4096, 'a claim lies in one page');
    const writers = codeMap.claim(address, bytes, vcpu);
    if (writers === 0) return;
    if ((writers & (1 << (vcpu & 31))) !== 0) tlb.protect(page);
    flushRequests.request(writers);
  }
}

function sameBytes(u8: Uint8Array, at: number, copy: Uint8Array, bytes: number): boolean {
  for (let i = 0; i < bytes; i++) if (u8[at + i] !== copy[i]) return false;
  return true;
}

/** Of the large page that a 4 KiB linear page is part of. */
function largeKey(page: number, shift: number): number {
  return Math.floor(page / 2 ** (shift - 12)) * 64 + shift;
}

function pageNumber(low: number, high: number): number {
  return high * 0x10_0000 + (low >>> 12);
}
