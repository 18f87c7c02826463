// Chooses what a region holds: from a hot block along direct branches and to the targets that indirect ones were seen to take,
// across pages, and into the functions that it calls (whose returns then lead back), over blocks that the interpreter has decoded, which means that they ran. The blocks of the
// function itself come first, so that a loop is whole before what it calls is taken in.

import { HANDLER_NEXT_BLOCK } from './interpreter-module.js';
import {
  TRAIT_BRANCH,
  TRAIT_CALL,
  TRAIT_INDIRECT,
  TRAIT_JUMP,
  TRAIT_KILLS_FLAGS,
  TRAIT_LONG,
  TRAIT_READS_FLAGS,
  TRAIT_RETURN,
} from './handler-traits.js';
import {
  INDIRECT_TARGETS,
  INDIRECT_TARGET_COUNT,
  LINK_NEXT,
  LINK_NEXT_DELTA,
  LINK_TAKEN,
  LINK_TAKEN_DELTA,
  RECORD_BYTES,
  RECORD_HANDLER,
  RECORD_IP_OFFSET,
  RECORD_LENGTH,
} from './op-record.js';
import {
  MAX_REGION_NODES,
  MAX_REGION_SLOTS,
  NODE_NEXT_FLAGS_DEAD,
  NODE_TAKEN_FLAGS_DEAD,
  type RegionRequest,
  encodeRegionRequest,
  writeTargetNodes,
} from './region-request.js';

/** A decoded block as the former sees it. */
export interface FormerBlock {
  /** Arena offset of the first record behind the heat counter. */
  readonly record: number;
  /** Slots from there. */
  readonly slots: number;
  /** Arena address of the page that its code lies in. */
  readonly page: number;
  /** Of a block of one instruction that crosses into another page: that page's; −1 for others. */
  readonly crossing: number;
}

export interface RegionSource<B extends FormerBlock> {
  readonly view: DataView;
  /** By handler index; see handler-traits.ts. */
  readonly traits: Uint8Array;
  /** The block at a distance from the region's start, when it is decoded and where its page is mapped is known. */
  blockAt(delta: number): B | undefined;
}

export interface FormedRegion<B extends FormerBlock> {
  readonly request: RegionRequest;
  /** Each once. */
  readonly blocks: readonly B[];
  /** Arena addresses of the pages beyond the first, in the request's order. */
  readonly extraPages: readonly number[];
}

/** Calls of calls are taken in up to this depth. */
const MAX_DEPTH = 1;
/** Slots of one inlined function at most: longer ones gain little. */
const MAX_INLINED_SLOTS = 48;
const MAX_EXTRA_PAGES = 6;

/** A function taken into the region: where its RET leads. */
interface Frame {
  readonly depth: number;
  readonly returnDelta: number;
  readonly entryDelta: number;
  readonly caller: Frame | undefined;
  slots: number;
}

interface Draft<B> {
  readonly delta: number;
  readonly frame: Frame;
  readonly block: B;
  readonly slots: number;
  readonly page: number;
  readonly secondPage: number;
  readonly takenTarget: Target | undefined;
  readonly nextTarget: Target | undefined;
  /** Of an indirect branch. */
  readonly seenTargets: readonly Target[];
  readonly bits: number;
}

interface Target {
  readonly delta: number;
  readonly frame: Frame;
}

/** How a block ends. Distances are from the region's start. */
interface Ending {
  readonly kind: number;
  readonly slots: number;
  readonly taken: number;
  readonly next: number;
  /** Where an indirect branch has gone, nearest first. */
  readonly seen?: readonly number[];
}

export class RegionFormer<B extends FormerBlock> {
  readonly #source: RegionSource<B>;
  readonly #drafts: Draft<B>[] = [];
  readonly #places = new Map<Frame, Map<number, number>>();
  readonly #queues: Target[][] = [];
  readonly #pages: number[] = [];
  #slots = 0;

  readonly #pageOffset: number;

  /** `pageOffset`: of the region's start in its page. */
  constructor(source: RegionSource<B>, pageOffset: number) {
    this.#source = source;
    this.#pageOffset = pageOffset;
  }

  /** Undefined when not even the first block can be compiled. */
  form(): FormedRegion<B> | undefined {
    const root: Frame = { depth: 0, returnDelta: 0, entryDelta: 0, caller: undefined, slots: 0 };
    this.#want({ delta: 0, frame: root });
    for (let target = this.#nextTarget(); target !== undefined; target = this.#nextTarget()) {
      if (this.#drafts.length >= MAX_REGION_NODES) break;
      this.#take(target);
    }
    return this.#drafts[0]?.delta === 0 ? this.#encode() : undefined;
  }

  #want(target: Target): void {
    const { frame, delta } = target;
    let places = this.#places.get(frame);
    if (places === undefined) this.#places.set(frame, (places = new Map<number, number>()));
    if (places.has(delta)) return;
    places.set(delta, -1);
    (this.#queues[frame.depth] ??= []).push(target);
  }

  #nextTarget(): Target | undefined {
    for (const queue of this.#queues) {
      const target = queue?.shift();
      if (target !== undefined) return target;
    }
    return undefined;
  }

  #take({ delta, frame }: Target): void {
    const block = this.#source.blockAt(delta);
    if (block === undefined) return;
    const ending = this.#readEnding(block, delta);
    if (ending === undefined || this.#slots + ending.slots > MAX_REGION_SLOTS) return;
    if (frame.depth > 0 && frame.slots + ending.slots > MAX_INLINED_SLOTS) return;
    const page = this.#pageIndex(block.page);
    const second = block.crossing < 0 ? -1 : this.#pageIndex(block.crossing);
    if (page < 0 || (second < 0 && block.crossing >= 0)) return;
    this.#slots += ending.slots;
    frame.slots += ending.slots;
    const { takenTarget, nextTarget, seenTargets } = this.#targets(ending, frame);
    const flagsDead = (target: number, bit: number): number => (this.#killsFlags(target) ? bit : 0);
    const direct =
      (ending.kind & (TRAIT_JUMP | TRAIT_BRANCH | TRAIT_CALL)) !== 0 && ending.seen === undefined;
    const bits =
      (direct ? flagsDead(ending.taken, NODE_TAKEN_FLAGS_DEAD) : 0) |
      ((ending.kind & (TRAIT_JUMP | TRAIT_RETURN | TRAIT_CALL)) === 0
        ? flagsDead(ending.next, NODE_NEXT_FLAGS_DEAD)
        : 0);
    this.#places.get(frame)!.set(delta, this.#drafts.length);
    this.#drafts.push({
      ...{ delta, frame, block, slots: ending.slots, page, secondPage: second + 1 },
      ...{ takenTarget, nextTarget, seenTargets, bits },
    });
    if (takenTarget !== undefined) this.#want(takenTarget);
    if (nextTarget !== undefined) this.#want(nextTarget);
    for (const target of seenTargets) this.#want(target);
  }

  #targets(ending: Ending, frame: Frame): Pick<Draft<B>, 'takenTarget' | 'nextTarget' | 'seenTargets'> {
    const { kind, next, seen } = ending;
    const at = (delta: number): Target => ({ delta, frame });
    if (seen !== undefined) {
      const call = (kind & TRAIT_CALL) !== 0;
      const seenTargets = seen
        .map((delta) => (call ? this.#enter(delta, next, frame) : at(delta)))
        .filter((target) => target !== undefined);
      return { takenTarget: undefined, nextTarget: undefined, seenTargets };
    }
    return { ...this.#directTargets(ending, frame), seenTargets: [] };
  }

  #directTargets({ kind, taken, next }: Ending, frame: Frame): Pick<Draft<B>, 'takenTarget' | 'nextTarget'> {
    const at = (delta: number): Target => ({ delta, frame });
    if ((kind & TRAIT_RETURN) !== 0) {
      const caller = frame.caller;
      const takenTarget = caller === undefined ? undefined : { delta: frame.returnDelta, frame: caller };
      return { takenTarget, nextTarget: undefined };
    }
    if ((kind & TRAIT_CALL) !== 0)
      return { takenTarget: this.#enter(taken, next, frame), nextTarget: undefined };
    if ((kind & TRAIT_JUMP) !== 0) return { takenTarget: at(taken), nextTarget: undefined };
    if ((kind & TRAIT_BRANCH) !== 0) return { takenTarget: at(taken), nextTarget: at(next) };
    return { takenTarget: undefined, nextTarget: kind === 0 && next >= NO_TARGET ? undefined : at(next) };
  }

  /** The start of a function to inline, unless it is too deep, recursive or unknown. */
  #enter(callee: number, returnDelta: number, caller: Frame): Target | undefined {
    if (caller.depth >= MAX_DEPTH || this.#source.blockAt(callee) === undefined) return undefined;
    for (let frame: Frame | undefined = caller; frame !== undefined; frame = frame.caller)
      if (frame.entryDelta === callee) return undefined;
    return {
      delta: callee,
      frame: { depth: caller.depth + 1, returnDelta, entryDelta: callee, caller, slots: 0 },
    };
  }

  /** Undefined when a record is none that a region can hold (dropped, undefined, legacy). */
  #readEnding(block: B, delta: number): Ending | undefined {
    const { view, traits } = this.#source;
    const end = block.record + block.slots * RECORD_BYTES;
    for (let record = block.record, slots = 1; record < end; record += RECORD_BYTES, slots++) {
      const handler = view.getUint32(record + RECORD_HANDLER, true);
      if (handler === HANDLER_NEXT_BLOCK)
        return {
          kind: 0,
          slots: slots + 1,
          taken: NO_TARGET,
          next: delta + view.getInt32(record + LINK_NEXT_DELTA, true),
        };
      const trait = traits[handler] ?? 0;
      if ((trait & TRAIT_LONG) === 0) return undefined;
      if ((trait & TRAIT_INDIRECT) !== 0) return this.#readIndirect(record, trait, slots + 1, delta);
      if ((trait & (TRAIT_JUMP | TRAIT_BRANCH | TRAIT_CALL)) !== 0)
        return {
          kind: trait,
          slots: slots + 1,
          taken: delta + view.getInt32(record + LINK_TAKEN_DELTA, true),
          next: delta + view.getInt32(record + LINK_NEXT_DELTA, true),
        };
      if (record + RECORD_BYTES === end)
        return { kind: trait & TRAIT_RETURN, slots, taken: NO_TARGET, next: NO_TARGET };
    }
    return undefined;
  }

  /** The interpreter has noted targets behind the record. */
  #readIndirect(record: number, kind: number, slots: number, delta: number): Ending {
    const { view } = this.#source;
    const seen: number[] = [];
    for (let i = 0; i < INDIRECT_TARGET_COUNT; i++) {
      const distance = view.getInt32(record + INDIRECT_TARGETS + i * 4, true);
      if (distance !== 0) seen.push(delta + distance);
    }
    const next =
      delta + view.getUint16(record + RECORD_IP_OFFSET, true) + view.getUint8(record + RECORD_LENGTH);
    return { kind, slots, taken: NO_TARGET, next, seen: seen.sort((a, b) => a - b) };
  }

  /** Whether the code at `delta` overwrites the flags before it may read them. */
  #killsFlags(delta: number): boolean {
    const block = this.#source.blockAt(delta);
    if (block === undefined) return false;
    const { view, traits } = this.#source;
    const end = block.record + block.slots * RECORD_BYTES;
    for (let record = block.record; record < end; record += RECORD_BYTES) {
      const trait = traits[view.getUint32(record + RECORD_HANDLER, true)] ?? 0;
      if ((trait & TRAIT_LONG) === 0 || (trait & TRAIT_READS_FLAGS) !== 0) return false;
      if ((trait & TRAIT_KILLS_FLAGS) !== 0) return true;
      if ((trait & (TRAIT_JUMP | TRAIT_BRANCH | TRAIT_CALL | TRAIT_RETURN)) !== 0) return false;
    }
    return false;
  }

  /** 0 for the region's own page, else 1 + its index; −1 when there are too many. */
  #pageIndex(page: number): number {
    if (this.#drafts.length === 0) this.#pages.push(page);
    const known = this.#pages.indexOf(page);
    if (known >= 0) return known;
    return this.#pages.length > MAX_EXTRA_PAGES ? -1 : this.#pages.push(page) - 1;
  }

  #encode(): FormedRegion<B> {
    const { view } = this.#source;
    const u8 = new Uint8Array(view.buffer, view.byteOffset);
    const place = (target: Target | undefined): number =>
      target === undefined ? -1 : (this.#places.get(target.frame)?.get(target.delta) ?? -1);
    const nodes = this.#drafts.map(({ delta, page, secondPage, slots, bits, takenTarget, nextTarget }) => ({
      delta,
      page,
      slots,
      taken: place(takenTarget),
      next: place(nextTarget),
      bits,
      secondPage,
    }));
    const request = encodeRegionRequest(
      nodes,
      this.#pages.length - 1,
      this.#pageOffset,
      (node, bytes, at) => {
        const { block, slots, seenTargets } = this.#drafts[node]!;
        bytes.set(u8.subarray(block.record, block.record + slots * RECORD_BYTES), at);
        const records = new DataView(bytes.buffer, at, slots * RECORD_BYTES);
        if (!clearLinks(this.#source.traits, records, slots))
          writeTargetNodes(
            records,
            (slots - 1) * RECORD_BYTES,
            seenTargets.map(place).filter((n) => n >= 0),
          );
      },
    );
    return {
      request,
      blocks: [...new Set(this.#drafts.map((draft) => draft.block))],
      extraPages: this.#pages.slice(1),
    };
  }
}

/** No code lies so far away. */
const NO_TARGET = 0x7fff_ffff;

/** The record pointers of a block's last link slot are the vCPU's own. False when that slot holds an indirect branch's targets. */
function clearLinks(traits: Uint8Array, view: DataView, slots: number): boolean {
  const record = (slots - 2) * RECORD_BYTES;
  if (record < 0) return true;
  const handler = view.getUint32(record + RECORD_HANDLER, true);
  const trait = traits[handler] ?? 0;
  if ((trait & TRAIT_INDIRECT) !== 0) return false;
  const linked = trait & (TRAIT_JUMP | TRAIT_BRANCH | TRAIT_CALL);
  if (handler !== HANDLER_NEXT_BLOCK && linked === 0) return true;
  view.setInt32(record + LINK_TAKEN, 0, true);
  view.setInt32(record + LINK_NEXT, 0, true);
  return true;
}
