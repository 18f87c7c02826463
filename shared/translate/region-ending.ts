// How a decoded block ends, read from its records: what forming a region and taking over another's both follow.

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
import { HANDLER_NEXT_BLOCK } from './interpreter-module.js';
import {
  INDIRECT_TARGETS,
  INDIRECT_TARGET_COUNT,
  LINK_NEXT_DELTA,
  LINK_TAKEN_DELTA,
  RECORD_BYTES,
  RECORD_HANDLER,
  RECORD_IP_OFFSET,
  RECORD_LENGTH,
} from './op-record.js';

/** A decoded block as regions see it. */
export interface RegionSourceBlock {
  /** Arena offset of the first record behind the heat counter. */
  readonly record: number;
  /** Slots from there. */
  readonly slots: number;
  /** Arena address of the page that its code lies in. */
  readonly page: number;
  /** Of a block of one instruction that crosses into another page: that page's; −1 for others. */
  readonly crossing: number;
}

export interface RegionSource<B extends RegionSourceBlock> {
  readonly view: DataView;
  /** By handler index; see handler-traits.ts. */
  readonly traits: Uint8Array;
  /** The block at a distance from the region's start, when it is decoded and where its page is mapped is known. */
  blockAt(delta: number): B | undefined;
}

/** How a block ends. Distances are from the region's start. */
export interface Ending {
  /** TRAIT_* bits of the branch; 0 when there is none. */
  readonly kind: number;
  readonly slots: number;
  readonly taken: number;
  readonly next: number;
  /** Where an indirect branch has gone, nearest first. */
  readonly seen?: readonly number[];
}

/** No code lies so far away. */
export const NO_TARGET = 0x7fff_ffff;

/** Undefined when a record is none that a region can hold (dropped, undefined, legacy). `delta`: of the block. */
export function readEnding(
  { view, traits }: Pick<RegionSource<RegionSourceBlock>, 'view' | 'traits'>,
  block: RegionSourceBlock,
  delta: number,
): Ending | undefined {
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
    if ((trait & TRAIT_INDIRECT) !== 0) return readIndirect(view, record, trait, slots + 1, delta);
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
function readIndirect(view: DataView, record: number, kind: number, slots: number, delta: number): Ending {
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
export function killsFlags<B extends RegionSourceBlock>(source: RegionSource<B>, delta: number): boolean {
  const block = source.blockAt(delta);
  if (block === undefined) return false;
  const { view, traits } = source;
  const end = block.record + block.slots * RECORD_BYTES;
  for (let record = block.record; record < end; record += RECORD_BYTES) {
    const trait = traits[view.getUint32(record + RECORD_HANDLER, true)] ?? 0;
    if ((trait & TRAIT_LONG) === 0 || (trait & TRAIT_READS_FLAGS) !== 0) return false;
    if ((trait & TRAIT_KILLS_FLAGS) !== 0) return true;
    if ((trait & (TRAIT_JUMP | TRAIT_BRANCH | TRAIT_CALL | TRAIT_RETURN)) !== 0) return false;
  }
  return false;
}
