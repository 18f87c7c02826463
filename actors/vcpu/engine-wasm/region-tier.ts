// The compiled tier's driver in a vCPU: forms the regions of hot blocks, sends them to the compiler, and installs what comes
// back: a function in the table becomes the handler of the head block's first record. What drops a block
// (shared/memory/code-map.ts) drops its region so too. Bounds how many regions live and lets go of those that are not run.

import { HANDLER_HEAT, HANDLER_PASS } from '#shared/translate/interpreter-module.js';
import { RECORD_BYTES, RECORD_HANDLER, RECORD_IMMEDIATE, RECORD_USED } from '#shared/translate/op-record.js';
import { REGION_DATA_PAGES } from '#shared/translate/region-request.js';
import { type FormerBlock, RegionFormer } from '#shared/translate/region-former.js';
import type { CompiledModule, CompiledRegion, RegionService } from '#shared/translate/region-service.js';
import { CPL, RIP } from '#shared/x86/cpu-state.js';
import type { Block, BlockCache } from './block-cache.js';
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
  readonly service: RegionService;
  readonly imports: RegionImports;
  readonly table: WebAssembly.Table;
  /** Regions that the vCPU keeps. */
  readonly maxRegions: number;
  /** Tickets start here: a vCPU's next generation does not take answers for this one. */
  readonly firstTicket: number;
}

interface FetchedBlock extends FormerBlock {
  readonly block: Block;
}

interface Waiting {
  readonly head: Block;
  readonly blocks: readonly Block[];
  readonly extraPages: readonly number[];
  readonly generation: number;
  readonly sinceMs: number;
}

export class RegionTier {
  readonly #p: RegionTierParts;
  readonly #waiting = new Map<number, Waiting>();
  /** Heads by table slot. */
  readonly #installed = new Map<number, Block>();
  readonly #freeSlots: number[] = [];
  readonly #instances = new Map<string, WeakRef<WebAssembly.Instance>>();
  #generation: number;
  #ticket: number;
  /** Statistics. */
  requested = 0;
  installed = 0;
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

  /** The block at RIP ran often: asks for its region, or lets it run on in the interpreter until it is hot again. */
  request(head: Block): void {
    const start = performance.now();
    const { blocks, service } = this.#p;
    this.#setHandler(head, HANDLER_HEAT, Math.max(this.#p.heat, RETRY_HEAT));
    if (head.crossing >= 0) {
      this.#refuse(head);
      return;
    }
    if (this.#waiting.size >= MAX_WAITING) this.#giveUp(start);
    if (this.#waiting.size >= MAX_WAITING) return;
    const formed = new RegionFormer(this.#source(head), head.address % PAGE).form();
    if (formed === undefined) {
      this.#refuse(head);
      return;
    }
    const ticket = this.#ticket + 1;
    if (!service.submit(ticket, formed.request, this.#rip())) return;
    this.#ticket = ticket;
    this.requested++;
    this.#setHandler(head, HANDLER_PASS, 0);
    this.#cool(formed.blocks);
    this.#waiting.set(ticket, {
      head,
      blocks: formed.blocks.map(({ block }) => block),
      extraPages: formed.extraPages,
      generation: blocks.generation,
      sinceMs: start,
    });
    this.spentMs += performance.now() - start;
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

  #rip(): bigint {
    const { i32, cpu } = this.#p;
    return (BigInt(i32[cpu + RIP / 4 + 1]! >>> 0) << 32n) | BigInt(i32[cpu + RIP / 4]! >>> 0);
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

  #source(head: Block) {
    const { view, traits, code, i32, cpu } = this.#p;
    const low = i32[cpu + RIP / 4]!;
    const high = i32[cpu + RIP / 4 + 1]!;
    const user = i32[cpu + CPL / 4] === 3 ? 1 : 0;
    const known = new Map<number, FetchedBlock | undefined>();
    const fetch = (delta: number): FetchedBlock | undefined => {
      const sum = (low >>> 0) + delta;
      const carry = Math.floor(sum / 2 ** 32);
      const block = delta === 0 ? head : code.peek(sum | 0, (high + carry) | 0, user, head.mode);
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
      if (region.index < 0) this.#refuse(waiting.head);
      else this.#installRegion(answer, region, waiting);
    }
  }

  #installRegion(answer: CompiledModule, region: CompiledRegion, waiting: Waiting): void {
    const { head } = waiting;
    const { blocks, i32, table } = this.#p;
    if (waiting.generation !== blocks.generation || !waiting.blocks.every((block) => block.live)) {
      this.late++;
      this.#setHandler(head, HANDLER_HEAT, this.#p.heat);
      return;
    }
    const words = REGION_DATA_PAGES + waiting.extraPages.length + region.links;
    const data = blocks.allocate(Math.max(4, words * 4));
    if (data < 0) return;
    i32.fill(0, data >>> 2, (data >>> 2) + words);
    waiting.extraPages.forEach((page, i) => (i32[(data >>> 2) + REGION_DATA_PAGES + i] = page));
    for (const block of waiting.blocks) {
      blocks.attach(head, block.address - (block.address % PAGE));
      if (block.crossing >= 0) blocks.attach(head, block.crossing);
    }
    const code = this.#instance(answer).exports[`r${region.index}`];
    if (typeof code !== 'function') {
      this.#refuse(head);
      return;
    }
    const slot = this.#takeSlot();
    table.set(slot, code);
    this.#installed.set(slot, head);
    this.installed++;
    i32[(head.record + RECORD_USED) >>> 2] = 1;
    this.#setHandler(head, slot, data);
  }

  #instance(answer: CompiledModule): WebAssembly.Instance {
    const known = this.#instances.get(answer.id)?.deref();
    if (known !== undefined) return known;
    const { imports } = this.#p;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(answer.bytes), imports);
    this.bytes += answer.bytes.length;
    this.#instances.set(answer.id, new WeakRef(instance));
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
    for (const [slot, head] of this.#installed) {
      const used = (head.record + RECORD_USED) >>> 2;
      if (head.live && i32[used] !== 0) i32[used] = 0;
      else this.#release(slot, head);
    }
    if (this.#installed.size > before * 0.9)
      for (const [slot, head] of [...this.#installed].slice(0, before >> 1)) this.#release(slot, head);
    for (const [id, instance] of this.#instances)
      if (instance.deref() === undefined) this.#instances.delete(id);
  }

  #release(slot: number, head: Block): void {
    this.#setHandler(head, HANDLER_HEAT, Math.max(this.#p.heat, RETRY_HEAT));
    this.#p.table.set(slot, null);
    this.#installed.delete(slot);
    this.#freeSlots.push(slot);
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
  }
}
