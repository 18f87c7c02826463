// The compiled tier's driver in a vCPU: forms the region of a hot block, compiles it, puts it into the function table and
// makes it the handler of the block's first record. What drops a block (shared/memory/code-map.ts) drops it so too.

import { ROUTINES, SEMANTICS } from '#shared/x86/semantics/index.js';
import { allShapes } from '#shared/translate/handler-catalogue.js';
import { shapeName } from '#shared/translate/handler-shape.js';
import { HANDLER_PASS } from '#shared/translate/interpreter-module.js';
import { RECORD_BYTES, RECORD_HANDLER } from '#shared/translate/op-record.js';
import { formRegion, type RegionSource, ShapeIndex } from '#shared/translate/region.js';
import { buildRegionModule } from '#shared/translate/region-module.js';
import type { Block, BlockCache } from './block-cache.js';

const LIMITS = { blocks: 48, instructions: 400 };
/** Live modules cost address space, and engines stop at some thousands. */
const MAX_REGIONS = 3000;

/** The interpreter's imports, helpers by name, and the routines that it exports. */
export interface RegionImports extends WebAssembly.Imports {
  readonly env: { readonly memory: WebAssembly.Memory };
  readonly slow: Readonly<Record<string, (record: number, argument: number) => number>>;
  readonly helper: Readonly<Record<string, (record: number, a0: number, a1: number, a2: number) => number>>;
  readonly routine: WebAssembly.Exports;
}

export interface RegionCompilerParts {
  readonly view: DataView;
  readonly i32: Int32Array;
  readonly blocks: BlockCache;
  readonly imports: RegionImports;
  readonly table: WebAssembly.Table;
  readonly shapes: readonly string[];
}

let shapeIndex: ShapeIndex | undefined;

/** Handler index → shape and meaning, made when the first region is. */
function loadShapes(names: readonly string[]): ShapeIndex {
  if (shapeIndex !== undefined) return shapeIndex;
  const positions = new Map(names.map((name, i) => [name, i]));
  const index = new ShapeIndex();
  for (const { shape, entry } of allShapes(SEMANTICS)) {
    const position = positions.get(shapeName(shape));
    if (position !== undefined) index.add(position, shape, entry);
  }
  shapeIndex = index;
  return index;
}

export class RegionCompiler {
  readonly #p: RegionCompilerParts;
  readonly #firstSlot: number;
  #used = 0;
  #generation: number;
  /** Statistics. */
  compiled = 0;
  refused = 0;
  bytes = 0;
  compileMs = 0;

  constructor(parts: RegionCompilerParts) {
    this.#p = parts;
    this.#firstSlot = parts.table.length;
    this.#generation = parts.blocks.generation;
  }

  /** Compiles the region that starts with `block`, or lets the block run on in the interpreter for good. */
  compile(block: Block): void {
    const { view, i32, blocks, table, imports } = this.#p;
    const start = performance.now();
    if (blocks.generation !== this.#generation) {
      this.#generation = blocks.generation;
      this.#used = 0;
    }
    i32[(block.record + RECORD_HANDLER) >>> 2] = HANDLER_PASS;
    if (block.crossing >= 0 || this.#used >= MAX_REGIONS) {
      this.refused++;
      return;
    }
    const region = formRegion(this.#source(block), LIMITS);
    if (region.length === 0) {
      this.refused++;
      return;
    }
    const slot = this.#firstSlot + this.#used;
    if (slot >= table.length) table.grow(64);
    const { bytes, helpers, routines } = buildRegionModule(region, view, block.record, slot, ROUTINES);
    const helper = Object.fromEntries(helpers.map((name) => [name, imports.helper[name]!]));
    const routine = Object.fromEntries(routines.map((name) => [name, imports.routine[name]!]));
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      ...imports,
      env: { ...imports.env, table },
      helper,
      routine,
    });
    table.set(slot, instance.exports['region'] as () => number);
    this.#used++;
    this.compiled++;
    this.bytes += bytes.length;
    i32[(block.record + RECORD_HANDLER) >>> 2] = slot;
    this.compileMs += performance.now() - start;
  }

  #source(head: Block): RegionSource {
    const { view, blocks, shapes } = this.#p;
    const index = loadShapes(shapes);
    const { address, mode } = head;
    const page = Math.floor(address / 4096);
    return {
      view,
      shapeOf: (handler) => index.get(handler),
      blockAt: (delta) => {
        if (Math.floor((address + delta) / 4096) !== page) return undefined;
        const block = blocks.find(address + delta, mode);
        if (block === undefined || block.crossing >= 0) return undefined;
        return { record: block.record + RECORD_BYTES, slots: block.slots - 1 };
      },
    };
  }
}
