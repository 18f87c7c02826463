// Wraps one region's function into a WebAssembly module that imports the arena, the function table, the slow paths,
// the helpers and the routines it uses, and exports `region`.

import { ModuleWriter } from '#shared/wasm/module-writer.js';
import type { HandlerModule } from './interpreter-emitter.js';
import type { RegionBlock } from './region.js';
import { type RoutineTable, routineParameters } from './routine.js';
import { allRegisters, RegionEmitter } from './region-emitter.js';

const MAXIMUM_PAGES = 65536;
const SLOW_IMPORTS = 4;

export interface RegionModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly helpers: readonly string[];
  readonly routines: readonly string[];
}

/** Compiles a region. The function goes to `functionIndex` of the table and becomes the handler of `headRecord`. */
export function buildRegionModule(
  region: readonly RegionBlock[],
  view: DataView,
  headRecord: number,
  functionIndex: number,
  routines: RoutineTable,
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
  const imports: { readonly from: 'helper' | 'routine'; readonly name: string }[] = [];
  const imported = (from: 'helper' | 'routine', name: string): number => {
    const known = imports.findIndex((other) => other.from === from && other.name === name);
    return SLOW_IMPORTS + (known >= 0 ? known : imports.push({ from, name }) - 1);
  };
  const module: HandlerModule = {
    slow,
    handlerType,
    helper: (name) => imported('helper', name),
    routine: (name) => imported('routine', name),
  };
  // The first pass tells which registers the second must load and write back.
  const survey = new RegionEmitter(region, module, view, headRecord, functionIndex, allRegisters());
  survey.emit();
  const body = new RegionEmitter(region, module, view, headRecord, functionIndex, survey.found).emit();
  for (const { from, name } of imports) {
    const type = from === 'helper' ? helperType : writer.type(routineParameters(routines[name]!), ['i32']);
    writer.importFunction(from, name, type);
  }
  writer.function(handlerType, 'region', body, true);
  const names = (from: 'helper' | 'routine'): string[] =>
    imports.filter((each) => each.from === from).map((each) => each.name);
  return { bytes: writer.finish(), helpers: names('helper'), routines: names('routine') };
}
