// Whether a region that was formed elsewhere (by another vCPU, in another boot) is right for a block here: every block that
// it holds is decoded here to the same records, and what it assumes of code around it holds. Then it is as good as one formed here.

import { TRAIT_BRANCH, TRAIT_CALL, TRAIT_INDIRECT, TRAIT_JUMP, TRAIT_RETURN } from './handler-traits.js';
import { HANDLER_NEXT_BLOCK } from './interpreter-module.js';
import { LINK_NEXT, LINK_TAKEN, RECORD_BYTES, RECORD_HANDLER } from './op-record.js';
import {
  type Ending,
  type RegionSource,
  type RegionSourceBlock,
  killsFlags,
  readEnding,
} from './region-ending.js';
import {
  NODE_NEXT_FLAGS_DEAD,
  NODE_TAKEN_FLAGS_DEAD,
  type RegionNode,
  type RegionRequest,
} from './region-request.js';

export interface MatchedRegion<B extends RegionSourceBlock> {
  /** Each once. */
  readonly blocks: readonly B[];
  /** Arena addresses of the pages beyond the first, in the request's order. */
  readonly extraPages: readonly number[];
}

/** `pageOffset`: of the region's start in its page. `source` gives blocks that did not run here too. */
export function matchRegion<B extends RegionSourceBlock>(
  source: RegionSource<B>,
  pageOffset: number,
  request: RegionRequest,
): MatchedRegion<B> | undefined {
  if (request.pageOffset !== pageOffset || request.nodes[0]?.delta !== 0) return undefined;
  const pages: number[] = [];
  const blocks = new Set<B>();
  for (const node of request.nodes) {
    const block = source.blockAt(node.delta);
    if (block === undefined) return undefined;
    const crosses = block.crossing >= 0;
    if (crosses !== node.secondPage > 0) return undefined;
    if (!takesPlace(pages, node.page, block.page)) return undefined;
    if (crosses && !takesPlace(pages, node.secondPage - 1, block.crossing)) return undefined;
    const ending = readEnding(source, block, node.delta);
    if (ending === undefined || ending.slots !== node.slots) return undefined;
    if (!sameRecords(source, block.record, request, node, ending)) return undefined;
    if (!flagsDie(source, node, ending)) return undefined;
    blocks.add(block);
  }
  for (let i = 0; i <= request.extraPages; i++) if (pages[i] === undefined) return undefined;
  return { blocks: [...blocks], extraPages: pages.slice(1, request.extraPages + 1) };
}

/** A page of the region is one page here. */
function takesPlace(pages: number[], index: number, page: number): boolean {
  pages[index] ??= page;
  return pages[index] === page;
}

/** All words are equal but those in which the interpreter notes where it went. */
function sameRecords(
  { view }: Pick<RegionSource<RegionSourceBlock>, 'view'>,
  record: number,
  request: RegionRequest,
  { records, slots }: RegionNode,
  { kind, seen }: Ending,
): boolean {
  const last = (slots - 2) * RECORD_BYTES;
  const linked =
    slots > 1 &&
    ((kind & (TRAIT_JUMP | TRAIT_BRANCH | TRAIT_CALL)) !== 0 ||
      view.getUint32(record + last + RECORD_HANDLER, true) === HANDLER_NEXT_BLOCK);
  const bytes = (seen !== undefined ? slots - 1 : slots) * RECORD_BYTES;
  for (let at = 0; at < bytes; at += 4) {
    if (linked && seen === undefined && (at === last + LINK_TAKEN || at === last + LINK_NEXT)) continue;
    if (view.getInt32(record + at, true) !== request.view.getInt32(records + at, true)) return false;
  }
  return true;
}

/** What the region takes for dead at its ways out is dead here; inside it the records say so. */
function flagsDie<B extends RegionSourceBlock>(
  source: RegionSource<B>,
  { bits }: RegionNode,
  { kind, taken, next }: Ending,
): boolean {
  const direct = (kind & (TRAIT_JUMP | TRAIT_BRANCH | TRAIT_CALL)) !== 0 && (kind & TRAIT_INDIRECT) === 0;
  const falls = (kind & (TRAIT_JUMP | TRAIT_RETURN | TRAIT_CALL)) === 0;
  if ((bits & NODE_TAKEN_FLAGS_DEAD) !== 0 && !(direct && killsFlags(source, taken))) return false;
  return (bits & NODE_NEXT_FLAGS_DEAD) === 0 || (falls && killsFlags(source, next));
}
