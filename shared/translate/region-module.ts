// Wraps the functions of some regions into one WebAssembly module that imports the arena, the slow paths, the
//  helpers and the routines they use, and exports r0, r1 …

import type { CodeBody } from '#shared/wasm/code-sink.js';
import { ModuleWriter } from '#shared/wasm/module-writer.js';
import { type ShapeIndex, readRegion, registerUse } from './region.js';
import { type RegionData, RegionEmitter } from './region-emitter.js';
import { type RoutineTable, routineParameters } from './routine.js';
import { REGION_DISPATCH, REGION_SECOND_WAY } from './region-slow.js';
import type { RegionHandlerModule } from './region-state.js';
import type { RegionRequest } from './region-request.js';

const MAXIMUM_PAGES = 65536;

export interface RegionModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** In the requests' order; undefined where a region could not be compiled. */
  readonly regions: readonly (RegionData | undefined)[];
}

/** Compiles regions to one module; `beat` is called between two. `labels`: what a profile calls each. */
export function buildRegionModule(
  requests: readonly RegionRequest[],
  shapes: ShapeIndex,
  routines: RoutineTable,
  beat: () => void = () => {},
  labels: readonly string[] = [],
): RegionModule {
  const writer = new ModuleWriter({ initial: 1, maximum: MAXIMUM_PAGES });
  const handlerType = writer.type(['i32', 'i32'], ['i32']);
  const helperType = writer.type(['i32', 'i32', 'i32', 'i32'], ['i32']);
  const slowType = writer.type(['i32', 'i64', 'i32', 'i32'], ['i32']);
  const slow = {
    read: writer.importFunction('slow', 'read', slowType),
    write: writer.importFunction('slow', 'write', slowType),
    modifyBegin: writer.importFunction('slow', 'modifyBegin', slowType),
    modifyEnd: writer.importFunction('slow', 'modifyEnd', slowType),
  };
  const dispatch = writer.importFunction('routine', REGION_DISPATCH, handlerType);
  const secondWay = writer.importFunction('routine', REGION_SECOND_WAY, handlerType);
  const imports = new Map<string, number>();
  const imported = (from: 'helper' | 'routine', name: string): number => {
    const known = imports.get(`${from} ${name}`);
    if (known !== undefined) return known;
    const type = from === 'helper' ? helperType : writer.type(routineParameters(routines[name]!), ['i32']);
    const index = writer.importFunction(from, name, type);
    imports.set(`${from} ${name}`, index);
    return index;
  };
  const module: RegionHandlerModule = {
    slow,
    handlerType,
    helper: (name) => imported('helper', name),
    routine: (name) => imported('routine', name),
    signatures: writer,
    dispatch,
    secondWay,
  };
  const bodies: CodeBody[] = [];
  const regions = requests.map((request) => {
    beat();
    const blocks = readRegion(request, shapes);
    if (blocks === undefined) return undefined;
    const emitter = new RegionEmitter(blocks, request, module, registerUse(blocks, request.view));
    bodies.push(emitter.emit());
    return emitter.data;
  });
  let next = 0;
  regions.forEach((region, i) => {
    if (region !== undefined) writer.function(handlerType, `r${i}`, bodies[next++]!, true, labels[i]);
  });
  return { bytes: writer.finish(), regions };
}
