// A compiler in place: answers at once, on the asking thread. For engines without a machine around them.

import { buildRegionModule } from './region-module.js';
import type { ShapeIndex } from './region.js';
import type { RegionRequest } from './region-request.js';
import type { RoutineTable } from './routine.js';
import { type CompiledModule, type RegionService, moduleId } from './region-service.js';

export class LocalCompiler implements RegionService {
  readonly #shapes: () => ShapeIndex;
  readonly #routines: RoutineTable;
  readonly #answers: CompiledModule[] = [];

  constructor(shapes: () => ShapeIndex, routines: RoutineTable) {
    this.#shapes = shapes;
    this.#routines = routines;
  }

  submit(ticket: number, request: RegionRequest): boolean {
    const { bytes, regions } = buildRegionModule([request], this.#shapes(), this.#routines);
    const region = regions[0];
    this.#answers.push({
      id: moduleId(bytes),
      bytes,
      regions: [{ ticket, index: region === undefined ? -1 : 0, links: region?.links ?? 0 }],
    });
    return true;
  }

  take(): CompiledModule | undefined {
    return this.#answers.shift();
  }
}
