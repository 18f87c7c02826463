// Wraps one region's function into a WebAssembly module that imports the arena, the function table, the slow paths and
// the helpers it uses, and exports `region`.

import { ModuleWriter } from '#shared/wasm/module-writer.js';
import type { HandlerModule } from './interpreter-emitter.js';
import type { RegionBlock } from './region.js';
import { allRegisters, RegionEmitter } from './region-emitter.js';

const MAXIMUM_PAGES = 65536;

export interface RegionModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly helpers: readonly string[];
}

/** Compiles a region. The function goes to `functionIndex` of the table and becomes the handler of `headRecord`. */
export function buildRegionModule(
  region: readonly RegionBlock[],
  view: DataView,
  headRecord: number,
  functionIndex: number,
): RegionModule {
  const writer = new ModuleWriter({ initial: 1, maximum: MAXIMUM_PAGES }, { importsTable: true });
  const handlerType = writer.type(['i32', 'i32'], ['i32']);
  const helperType = writer.type(['i32', 'i32', 'i32', 'i32'], ['i32']);
  const slow = {
    read: writer.importFunction('slow', 'read', handlerType),
    write: writer.importFunction('slow', 'write', handlerType),
    modifyBegin: writer.importFunction('slow', 'modifyBegin', handlerType),
    modifyEnd: writer.importFunction('slow', 'modifyEnd', handlerType),
  };
  const helpers: string[] = [];
  const module: HandlerModule = {
    slow,
    handlerType,
    helper: (name) => {
      const known = helpers.indexOf(name);
      return 4 + (known >= 0 ? known : helpers.push(name) - 1);
    },
  };
  // The first pass tells which registers the second must load and write back.
  const survey = new RegionEmitter(region, module, view, headRecord, functionIndex, allRegisters());
  survey.emit();
  const body = new RegionEmitter(region, module, view, headRecord, functionIndex, survey.found).emit();
  for (const name of helpers) writer.importFunction('helper', name, helperType);
  writer.function(handlerType, 'region', body, true);
  return { bytes: writer.finish(), helpers };
}
