// A region: blocks of one page that reach one another by direct branches, to be compiled as one function. Formed from
// the interpreter's records alone: a record's handler tells its shape, its links where it goes.

import type { SemanticsEntry } from './emitter.js';
import type { HandlerShape } from './handler-shape.js';
import { HANDLER_NEXT_BLOCK, shapeIndex } from './interpreter-module.js';
import {
  LINK_NEXT_DELTA,
  LINK_TAKEN_DELTA,
  RECORD_BYTES,
  RECORD_HANDLER,
  RECORD_LENGTH,
} from './op-record.js';

/** One instruction (or fused pair) of a region. */
export interface RegionInstruction {
  /** Arena offset of its record. */
  readonly record: number;
  /** Absent: the block just goes on with the next one. */
  readonly shape: HandlerShape | undefined;
  readonly entry: SemanticsEntry | undefined;
}

export interface RegionBlock {
  /** Distance of the block's start from the region's. */
  readonly delta: number;
  readonly instructions: readonly RegionInstruction[];
  /** Distances from the region's start of the targets that the region could go on with. */
  readonly taken: number | undefined;
  readonly next: number | undefined;
}

export interface RegionLimits {
  readonly blocks: number;
  readonly instructions: number;
}

/** Where region forming finds what the interpreter decoded. */
export interface RegionSource {
  readonly view: DataView;
  /** Handler index → shape and meaning; undefined for internal handlers. */
  shapeOf(handler: number): { shape: HandlerShape; entry: SemanticsEntry } | undefined;
  /** First record (behind the heat counter) and slots from there of the block at a distance from the region's start, when it is decoded and in the region's page. */
  blockAt(delta: number): { record: number; slots: number } | undefined;
}

/** Mnemonics whose near target belongs to another function or is not a plain jump. */
const LEAVING = /^Call$/;

/** Reads a block's records; undefined when some record is not one of ours (invalidated, undefined opcode). */
function readBlock(source: RegionSource, delta: number): RegionBlock | undefined {
  const found = source.blockAt(delta);
  if (found === undefined) return undefined;
  const { view } = source;
  const instructions: RegionInstruction[] = [];
  let taken: number | undefined;
  let next: number | undefined;
  const end = found.record + found.slots * RECORD_BYTES;
  for (let record = found.record; record < end; record += RECORD_BYTES) {
    const handler = view.getUint32(record + RECORD_HANDLER, true);
    if (handler === HANDLER_NEXT_BLOCK) {
      instructions.push({ record, shape: undefined, entry: undefined });
      next = delta + view.getInt32(record + LINK_NEXT_DELTA, true);
      break;
    }
    const known = source.shapeOf(handler);
    if (known === undefined) return undefined;
    const { shape, entry } = known;
    instructions.push({ record, shape, entry });
    const branches =
      shape.fusedCondition !== undefined || shape.operands.some((o) => o.kind === 'branch' && !shape.far);
    if (!branches) continue;
    if (!LEAVING.test(shape.mnemonic)) {
      taken = delta + view.getInt32(record + LINK_TAKEN_DELTA, true);
      if (shape.mnemonic !== 'Jmp') next = delta + view.getInt32(record + LINK_NEXT_DELTA, true);
    }
    break;
  }
  return instructions.length === 0 ? undefined : { delta, instructions, taken, next };
}

/** The blocks reachable from the region's start within the limits; the first is the start. Empty when that cannot be compiled. */
export function formRegion(source: RegionSource, limits: RegionLimits): RegionBlock[] {
  const blocks: RegionBlock[] = [];
  const seen = new Set<number>([0]);
  const queue = [0];
  let instructions = 0;
  while (queue.length > 0 && blocks.length < limits.blocks && instructions < limits.instructions) {
    const block = readBlock(source, queue.shift()!);
    if (block === undefined) continue;
    blocks.push(block);
    instructions += block.instructions.length;
    for (const target of [block.taken, block.next]) {
      if (target === undefined || seen.has(target)) continue;
      seen.add(target);
      queue.push(target);
    }
  }
  return blocks[0]?.delta === 0 ? blocks : [];
}

/** Handler index → shape, for {@link RegionSource.shapeOf}: the catalogue in the module's order. */
export class ShapeIndex {
  readonly #byHandler: ({ shape: HandlerShape; entry: SemanticsEntry } | undefined)[] = [];

  add(i: number, shape: HandlerShape, entry: SemanticsEntry): void {
    this.#byHandler[shapeIndex(i)] = { shape, entry };
  }

  get(handler: number): { shape: HandlerShape; entry: SemanticsEntry } | undefined {
    return this.#byHandler[handler];
  }
}

/** Instruction length in bytes, of a fused pair the first one's. */
export function recordLength(view: DataView, record: number): number {
  return view.getUint8(record + RECORD_LENGTH);
}
