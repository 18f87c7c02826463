// The compiled tier's driver in a vCPU: forms the regions of hot blocks, sends them to the compiler, and installs what comes
// back: a function in the table becomes the handler of the head block's first record. What drops a block
// (shared/memory/code-map.ts) drops its region so too. Bounds how many regions live and lets go of those that are not run.

import { HANDLER_HEAT, HANDLER_PASS } from '#shared/translate/interpreter-module.js';
import { RECORD_BYTES, RECORD_HANDLER, RECORD_IMMEDIATE, RECORD_USED } from '#shared/translate/op-record.js';
import { REGION_DATA_PAGES, type RegionRequest, headHash } from '#shared/translate/region-request.js';
import type { RegionSource, RegionSourceBlock } from '#shared/translate/region-ending.js';
import { RegionFormer } from '#shared/translate/region-former.js';
import { type MatchedRegion, matchRegion } from '#shared/translate/region-match.js';
import type { CompiledModule, CompiledRegion, RegionService } from '#shared/translate/region-service.js';
import { CPL, RIP } from '#shared/x86/cpu-state.js';
import type { Block, BlockCache } from './block-cache.js';
import { heatAfter } from './block-decoder.js';
import type { CodeFetch } from './code-fetch.js';

/** Regions that a vCPU keeps by default; each takes about 10 KB of machine code. */
export const MAX_REGIONS = 3000;
/** Regions that wait for the compiler. */
const MAX_WAITING = 64;
/** A request this old went down with its compiler. */
const LOST_MS = 5000;
/**
 * Executions at the least until a block asks again that the compiler had no room for, or whose region was let go. With a heat of 1 it
 * would ask again at once, for ever, and see nothing else.
 */
const RETRY_HEAT = 256;
const TABLE_STEP = 512;
const PAGE = 4096;

/** See shared/translate/region-slow.ts. */
export type RegionSlow = (cpu: number, linear: bigint, ip: number, argument: number) => number;

/** What regions import, helpers by name. */
export interface RegionImports extends WebAssembly.Imports {
  readonly env: { readonly memory: WebAssembly.Memory };
  readonly slow: Readonly<Record<string, RegionSlow>>;
  readonly helper: Readonly<Record<string, (record: number, a0: number, a1: number, a2: number) => number>>;
  /** Exports of the interpreter, routines among them. */
  readonly routine: WebAssembly.Exports;
}

export interface RegionTierParts {
  readonly view: DataView;
  readonly i32: Int32Array;
  /** i32 index of the state page. */
  readonly cpu: number;
  readonly blocks: BlockCache;
  readonly code: CodeFetch;
  readonly traits: Uint8Array;
  readonly heat: number;
  /** Blocks come here earlier than their heat says, and ask first what the service offers. */
  readonly asks: boolean;
  readonly service: RegionService;
  readonly imports: RegionImports;
  readonly table: WebAssembly.Table;
  /** Regions that the vCPU keeps. */
  readonly maxRegions: number;
  /** Tickets start here: a vCPU's next generation does not take answers for this one. */
  readonly firstTicket: number;
}

interface FetchedBlock extends RegionSourceBlock {
  readonly block: Block;
}

/** Where a head was when it asked: the linear address of its code, and the privilege. */
interface Place {
  readonly low: number;
  readonly high: number;
  readonly user: number;
}

/** The functions of one module; let go of when no region that runs is among them. */
interface Instance {
  readonly exports: WebAssembly.Exports;
  regions: number;
}

interface InstalledRegion {
  readonly head: Block;
  readonly moduleId: string;
}

interface Waiting {
  readonly head: Block;
  readonly place: Place;
  /** Undefined of one who asked what there is. */
  readonly formed: MatchedRegion<FetchedBlock> | undefined;
  readonly generation: number;
  readonly sinceMs: number;
}

export class RegionTier {
  readonly #p: RegionTierParts;
  readonly #waiting = new Map<number, Waiting>();
  /** By table slot. */
  readonly #installed = new Map<number, InstalledRegion>();
  readonly #freeSlots: number[] = [];
  readonly #instances = new Map<string, Instance>();
  #generation: number;
  #ticket: number;
  /** Statistics. */
  requested = 0;
  installed = 0;
  /** Of those, formed elsewhere. */
  adopted = 0;
  refused = 0;
  evicted = 0;
  /** Answers for code that had changed meanwhile. */
  late = 0;
  bytes = 0;
  /** Time that the vCPU's own thread spent here. */
  spentMs = 0;

  constructor(parts: RegionTierParts) {
    this.#p = parts;
    this.#generation = parts.blocks.generation;
    this.#ticket = parts.firstTicket;
  }

  get live(): number {
    return this.#installed.size;
  }

  /** Modules that those are in. */
  get modules(): number {
    return this.#instances.size;
  }

  /** The block at RIP ran often: asks for its region, or lets it run on in the interpreter until it is hot again. */
  request(head: Block): void {
    const start = performance.now();
    this.#setHandler(head, HANDLER_HEAT, Math.max(this.#p.heat, RETRY_HEAT));
    if (head.crossing >= 0) this.#refuse(head);
    else if (this.#hasRoom(start)) {
      if (this.#p.asks && !head.asked) this.#ask(head, start);
      else this.#form(head, start);
    }
    this.spentMs += performance.now() - start;
  }

  #hasRoom(nowMs: number): boolean {
    if (this.#waiting.size >= MAX_WAITING) this.#giveUp(nowMs);
    return this.#waiting.size < MAX_WAITING;
  }

  /** Asks early for what another vCPU or boot had made. */
  #ask(head: Block, sinceMs: number): void {
    const { view, service } = this.#p;
    const hash = headHash(view, head.record + RECORD_BYTES, head.slots - 1, head.address % PAGE);
    head.asked = true;
    if (service.offers!.mayHave(hash) && service.offers!.ask(this.#ticket + 1, hash))
      this.#wait(head, undefined, sinceMs);
    else this.#setHandler(head, HANDLER_HEAT, this.#heatOf(head));
  }

  #form(head: Block, sinceMs: number): void {
    const place = this.#place();
    const formed = new RegionFormer(this.#source(head, place), head.address % PAGE).form();
    if (formed === undefined) {
      this.#refuse(head);
      return;
    }
    const address = (BigInt(place.high >>> 0) << 32n) | BigInt(place.low >>> 0);
    if (!this.#p.service.submit(this.#ticket + 1, formed.request, head.exact, address)) return;
    this.requested++;
    this.#cool(formed.blocks);
    this.#wait(head, formed, sinceMs);
  }

  #wait(head: Block, formed: MatchedRegion<FetchedBlock> | undefined, sinceMs: number): void {
    const { generation } = this.#p.blocks;
    this.#setHandler(head, HANDLER_PASS, 0);
    this.#waiting.set(++this.#ticket, { head, place: this.#place(), formed, generation, sinceMs });
  }

  #place(): Place {
    const { i32, cpu } = this.#p;
    const user = i32[cpu + CPL / 4] === 3 ? 1 : 0;
    return { low: i32[cpu + RIP / 4]!, high: i32[cpu + RIP / 4 + 1]!, user };
  }

  #heatOf({ address }: Block): number {
    return heatAfter(this.#p.heat, this.#p.blocks.dropsOf(address - (address % PAGE)));
  }

  /**
   * The blocks of a path grow hot in the same run, and each would ask for a region of its own, which holds what the first one's holds. So
   * those that it covers wait once more: by then only who comes to them by another way still counts.
   */
  #cool(covered: readonly FetchedBlock[]): void {
    const { i32, heat } = this.#p;
    for (const { block } of covered) {
      const left = (block.record + RECORD_IMMEDIATE) >>> 2;
      if (i32[(block.record + RECORD_HANDLER) >>> 2] === HANDLER_HEAT && i32[left]! < heat) i32[left] = heat;
    }
  }

  /** Installs what the compiler has answered. */
  collect(): void {
    const start = performance.now();
    for (let answer = this.#p.service.take(); answer !== undefined; answer = this.#p.service.take())
      this.#install(answer);
    this.spentMs += performance.now() - start;
  }

  /** Takes back what no compiler will answer any more, so that it may be asked for again. */
  #giveUp(nowMs: number): void {
    for (const [ticket, { head, sinceMs }] of this.#waiting) {
      if (nowMs - sinceMs < LOST_MS) return; // in the order of their asking
      this.#waiting.delete(ticket);
      this.#setHandler(head, HANDLER_HEAT, this.#p.heat);
    }
  }

  #refuse(head: Block): void {
    this.refused++;
    this.#setHandler(head, HANDLER_PASS, 0);
  }

  #setHandler(head: Block, handler: number, immediate: number): void {
    if (!head.live) return;
    const { i32 } = this.#p;
    i32[(head.record + RECORD_IMMEDIATE) >>> 2] = immediate;
    i32[(head.record + RECORD_HANDLER) >>> 2] = handler;
  }

  /** `decode`: blocks that did not run here too. */
  #source(head: Block, { low, high, user }: Place, decode = false): RegionSource<FetchedBlock> {
    const { view, traits, code } = this.#p;
    const known = new Map<number, FetchedBlock | undefined>();
    const find = (ipLow: number, ipHigh: number): Block | undefined =>
      decode ? code.provide(ipLow, ipHigh, user, head.mode) : code.peek(ipLow, ipHigh, user, head.mode);
    const fetch = (delta: number): FetchedBlock | undefined => {
      const sum = (low >>> 0) + delta;
      const carry = Math.floor(sum / 2 ** 32);
      const block = delta === 0 ? head : find(sum | 0, (high + carry) | 0);
      if (block === undefined) return undefined;
      const page = block.address - (block.address % PAGE);
      const { crossing } = block;
      return { record: block.record + RECORD_BYTES, slots: block.slots - 1, page, crossing, block };
    };
    return {
      view,
      traits,
      blockAt: (delta: number): FetchedBlock | undefined => {
        if (!known.has(delta)) known.set(delta, fetch(delta));
        return known.get(delta);
      },
    };
  }

  #install(answer: CompiledModule): void {
    if (this.#p.blocks.generation !== this.#generation) this.#forget();
    for (const region of answer.regions) {
      const waiting = this.#waiting.get(region.ticket);
      if (waiting === undefined) continue;
      this.#waiting.delete(region.ticket);
      if (region.index >= 0) this.#installRegion(answer, region, waiting);
      else if (waiting.formed !== undefined) this.#refuse(waiting.head);
      else this.#setHandler(waiting.head, HANDLER_HEAT, this.#heatOf(waiting.head));
    }
    if (this.#instances.get(answer.id)?.regions === 0) this.#instances.delete(answer.id);
  }

  /** What an offered region holds here; undefined when it is not right for its head. */
  #match({ head, place }: Waiting, offered: RegionRequest): MatchedRegion<FetchedBlock> | undefined {
    if (!head.live) return undefined;
    return matchRegion(this.#source(head, place, true), head.address % PAGE, offered);
  }

  #installRegion(answer: CompiledModule, region: CompiledRegion, waiting: Waiting): void {
    const { head, formed, generation } = waiting;
    const { blocks, i32, table } = this.#p;
    const { offered } = region;
    const holds = offered === undefined ? formed : this.#match(waiting, offered);
    if (
      generation !== blocks.generation ||
      !head.live ||
      holds?.blocks.every(({ block }) => block.live) === false
    ) {
      this.late++;
      this.#setHandler(head, HANDLER_HEAT, this.#p.heat);
      return;
    }
    if (holds === undefined) {
      // One who has formed a region wants that one then, at once.
      head.exact = formed !== undefined;
      this.#setHandler(head, HANDLER_HEAT, head.exact ? 1 : this.#heatOf(head));
      return;
    }
    if (offered !== undefined) {
      this.adopted++;
      this.#cool(holds.blocks);
    }
    const words = REGION_DATA_PAGES + holds.extraPages.length + region.links;
    const data = blocks.allocate(Math.max(4, words * 4));
    if (data < 0) return;
    i32.fill(0, data >>> 2, (data >>> 2) + words);
    holds.extraPages.forEach((page, i) => (i32[(data >>> 2) + REGION_DATA_PAGES + i] = page));
    for (const { block } of holds.blocks) {
      blocks.attach(head, block.address - (block.address % PAGE));
      if (block.crossing >= 0) blocks.attach(head, block.crossing);
    }
    const slot = this.#takeSlot(); // may let go of an instance
    const instance = this.#instance(answer);
    const code = instance.exports[`r${region.index}`];
    if (typeof code !== 'function') {
      this.#freeSlots.push(slot);
      this.#refuse(head);
      return;
    }
    table.set(slot, code);
    this.#installed.set(slot, { head, moduleId: answer.id });
    instance.regions++;
    this.installed++;
    i32[(head.record + RECORD_USED) >>> 2] = 1;
    this.#setHandler(head, slot, data);
  }

  #instance(answer: CompiledModule): Instance {
    const known = this.#instances.get(answer.id);
    if (known !== undefined) return known;
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(answer.bytes), this.#p.imports);
    this.bytes += answer.bytes.length;
    const instance = { exports, regions: 0 };
    this.#instances.set(answer.id, instance);
    return instance;
  }

  #takeSlot(): number {
    if (this.#installed.size >= this.#p.maxRegions) this.#evict();
    const free = this.#freeSlots.pop();
    if (free !== undefined) return free;
    const { table } = this.#p;
    const first = table.length;
    table.grow(TABLE_STEP);
    for (let slot = first + TABLE_STEP - 1; slot > first; slot--) this.#freeSlots.push(slot);
    return first;
  }

  /** Lets go of regions that are dead or did not run since the last time; when all did, of the older half. */
  #evict(): void {
    const { i32 } = this.#p;
    const before = this.#installed.size;
    for (const [slot, region] of this.#installed) {
      const used = (region.head.record + RECORD_USED) >>> 2;
      if (this.#runs(slot, region.head) && i32[used] !== 0) i32[used] = 0;
      else this.#release(slot, region);
    }
    if (this.#installed.size > before * 0.9)
      for (const [slot, region] of [...this.#installed].slice(0, before >> 1)) this.#release(slot, region);
  }

  /** Whether the head still has this region: what changed in another page may have taken it. */
  #runs(slot: number, head: Block): boolean {
    return head.live && this.#p.i32[(head.record + RECORD_HANDLER) >>> 2] === slot;
  }

  #release(slot: number, { head, moduleId }: InstalledRegion): void {
    if (this.#runs(slot, head)) this.#setHandler(head, HANDLER_HEAT, Math.max(this.#p.heat, RETRY_HEAT));
    this.#p.table.set(slot, null);
    this.#installed.delete(slot);
    this.#freeSlots.push(slot);
    const instance = this.#instances.get(moduleId);
    if (instance !== undefined && --instance.regions === 0) this.#instances.delete(moduleId);
    this.evicted++;
  }

  /** All code was dropped: heads' records hold something else now. */
  #forget(): void {
    this.#generation = this.#p.blocks.generation;
    for (const slot of this.#installed.keys()) {
      this.#p.table.set(slot, null);
      this.#freeSlots.push(slot);
    }
    this.#installed.clear();
    this.#instances.clear();
  }
}
