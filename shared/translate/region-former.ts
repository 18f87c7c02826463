// Chooses what a region holds: from a hot block along direct branches and to the targets that indirect ones were seen to take,
// across pages, and into the functions that it calls (whose returns then lead back), over blocks that the interpreter has decoded, which means that they ran. The blocks of the
// function itself come first, so that a loop is whole before what it calls is taken in.

import { TRAIT_BRANCH, TRAIT_CALL, TRAIT_INDIRECT, TRAIT_JUMP, TRAIT_RETURN } from './handler-traits.js';
import { HANDLER_NEXT_BLOCK } from './interpreter-module.js';
import { LINK_NEXT, LINK_TAKEN, RECORD_BYTES, RECORD_HANDLER } from './op-record.js';
import {
  type Ending,
  NO_TARGET,
  type RegionSource,
  type RegionSourceBlock,
  killsFlags,
  readEnding,
} from './region-ending.js';
import {
  MAX_REGION_NODES,
  MAX_REGION_SLOTS,
  NODE_NEXT_FLAGS_DEAD,
  NODE_TAKEN_FLAGS_DEAD,
  type RegionRequest,
  encodeRegionRequest,
  writeTargetNodes,
} from './region-request.js';

export interface FormedRegion<B extends RegionSourceBlock> {
  readonly request: RegionRequest;
  /** Each once. */
  readonly blocks: readonly B[];
  /** Arena addresses of the pages beyond the first, in the request's order. */
  readonly extraPages: readonly number[];
}

/** Calls of calls are taken in up to this depth. Three deep, compilation kept both processors busy: awk, fork and the boot took half as long again. */
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

export class RegionFormer<B extends RegionSourceBlock> {
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
    const ending = readEnding(this.#source, block, delta);
    if (ending === undefined || this.#slots + ending.slots > MAX_REGION_SLOTS) return;
    if (frame.depth > 0 && frame.slots + ending.slots > MAX_INLINED_SLOTS) return;
    const page = this.#pageIndex(block.page);
    const second = block.crossing < 0 ? -1 : this.#pageIndex(block.crossing);
    if (page < 0 || (second < 0 && block.crossing >= 0)) return;
    this.#slots += ending.slots;
    frame.slots += ending.slots;
    const { takenTarget, nextTarget, seenTargets } = this.#targets(ending, frame);
    const flagsDead = (target: number, bit: number): number => (killsFlags(this.#source, target) ? bit : 0);
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
