// A region as the compiler reads it: a request's nodes with the shapes and meanings of their instructions.

import type { SemanticsEntry, SemanticsTable } from './emitter.js';
import { allShapes } from './handler-catalogue.js';
import { type HandlerShape, isIndirect, shapeName } from './handler-shape.js';
import { HANDLER_COUNT, HANDLER_NEXT_BLOCK, shapeIndex } from './interpreter-module.js';
import {
  INDIRECT_TARGETS,
  RECORD_BASE,
  RECORD_BYTES,
  RECORD_HANDLER,
  RECORD_IMMEDIATE,
  RECORD_INDEX,
  RECORD_REGISTER0,
  RECORD_REGISTER1,
} from './op-record.js';
import { type RegionNode, type RegionRequest, targetNodes } from './region-request.js';
import type { RegisterUse } from './region-state.js';
import { type ShapeEffects, findEffects, registerBit } from './shape-effects.js';

/** One instruction (or fused pair) of a region. */
export interface RegionInstruction {
  /** Byte offset of its record in the request. */
  readonly record: number;
  /** Absent: the block just goes on with the next one. */
  readonly known: KnownShape | undefined;
}

export interface RegionBlock extends RegionNode {
  readonly instructions: readonly RegionInstruction[];
  /** Nodes that its RET or indirect branch may go on with. */
  readonly targets: readonly number[];
  /** Instructions to be counted when it runs; 0 when nobody counts. */
  readonly counted: number;
}

export interface KnownShape {
  readonly shape: HandlerShape;
  readonly entry: SemanticsEntry;
  readonly effects: ShapeEffects;
}

/** Handler index → what the handler does. Effects are found when they are first asked for. */
export class ShapeIndex {
  readonly #byHandler: (
    { shape: HandlerShape; entry: SemanticsEntry; effects?: ShapeEffects } | undefined
  )[] = [];

  /** `names`: the shapes in the interpreter module's order. */
  constructor(table: SemanticsTable, names: readonly string[]) {
    const positions = new Map(names.map((name, i) => [name, i]));
    for (const { shape, entry } of allShapes(table)) {
      const position = positions.get(shapeName(shape));
      if (position !== undefined) this.#byHandler[shapeIndex(position)] ??= { shape, entry };
    }
  }

  get(handler: number): KnownShape | undefined {
    const known = this.#byHandler[handler];
    if (known === undefined) return undefined;
    known.effects ??= findEffects(known.shape, known.entry);
    return known as KnownShape;
  }
}

/** The blocks of a request; undefined when a record has no handler that this build knows. */
export function readRegion(request: RegionRequest, shapes: ShapeIndex): RegionBlock[] | undefined {
  const blocks: RegionBlock[] = [];
  for (const node of request.nodes) {
    const instructions = readInstructions(request, node, shapes);
    if (instructions === undefined) return undefined;
    const { view } = request;
    const counts = view.getUint32(node.records + RECORD_HANDLER, true) === HANDLER_COUNT;
    const counted = counts ? view.getInt32(node.records + RECORD_IMMEDIATE, true) : 0;
    const targets = readTargets(request, node, instructions.at(-1));
    if (targets.some((target) => target >= request.nodes.length)) return undefined;
    blocks.push({ ...node, instructions, targets, counted });
  }
  return blocks;
}

function readInstructions(
  { view }: RegionRequest,
  node: RegionNode,
  shapes: ShapeIndex,
): RegionInstruction[] | undefined {
  const instructions: RegionInstruction[] = [];
  const end = node.records + node.slots * RECORD_BYTES;
  for (let record = node.records; record < end; record += RECORD_BYTES) {
    const handler = view.getUint32(record + RECORD_HANDLER, true);
    if (handler === HANDLER_COUNT) continue;
    if (handler === HANDLER_NEXT_BLOCK) {
      instructions.push({ record, known: undefined });
      break;
    }
    const known = shapes.get(handler);
    if (known === undefined) return undefined;
    instructions.push({ record, known });
    const { shape } = known;
    if (
      shape.fusedCondition !== undefined ||
      isIndirect(shape) ||
      shape.operands.some((o) => o.kind === 'branch' && !shape.far)
    )
      break;
  }
  return instructions;
}

function readTargets(
  { view }: RegionRequest,
  { taken }: RegionNode,
  last: RegionInstruction | undefined,
): readonly number[] {
  if (last?.known === undefined) return [];
  const { shape } = last.known;
  if (isIndirect(shape)) return targetNodes(view, last.record + INDIRECT_TARGETS);
  return shape.mnemonic === 'Ret' && taken >= 0 ? [taken] : [];
}

const ADDRESS_FIELDS = [RECORD_BASE, RECORD_INDEX];
const REGISTER_FIELDS = [RECORD_REGISTER0, RECORD_REGISTER1];

/** Which registers a region's code touches, and whether it changes flags. */
export function registerUse(blocks: readonly RegionBlock[], view: DataView): RegisterUse {
  let used = 0;
  let written = 0;
  let flags = false;
  let checksChange = false;
  for (const { instructions } of blocks)
    for (const { record, known } of instructions) {
      if (known === undefined) continue;
      const { effects, shape } = known;
      used |= effects.used;
      written |= effects.written;
      if (effects.writesFlags) flags = true;
      if (effects.callsHelper) checksChange = true;
      const bitOf = (field: number): number => {
        const bit = registerBit(view.getUint16(record + field, true));
        return bit < 0 ? 0 : 1 << bit;
      };
      if (shape.address !== undefined) for (const field of ADDRESS_FIELDS) used |= bitOf(field);
      for (const { field, written: changed } of effects.fields) {
        if (!REGISTER_FIELDS.includes(field) && !ADDRESS_FIELDS.includes(field)) continue;
        used |= bitOf(field);
        if (changed) written |= bitOf(field);
      }
    }
  return { used, written, flags, checksChange };
}
