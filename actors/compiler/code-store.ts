// What the compiler has compiled: modules by the requests that they answer, so that a second vCPU, or the same code decoded
// again, costs no compilation. Bounded; the least recently used go first. A module is held as an object too: while it is,
// V8 gives every thread that compiles the same bytes the machine code that there is.

import { buildRegionModule } from '#shared/translate/region-module.js';
import type { ShapeIndex } from '#shared/translate/region.js';
import type { RegionRequest } from '#shared/translate/region-request.js';
import type { RoutineTable } from '#shared/translate/routine.js';

export interface StoredModule {
  readonly id: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly module: WebAssembly.Module;
}

/** Where a request's code is. `index` −1: it cannot be compiled. */
export interface StoredRegion {
  readonly module: StoredModule;
  readonly index: number;
  readonly links: number;
}

export interface CodeStoreParts {
  readonly shapes: ShapeIndex;
  readonly routines: RoutineTable;
  /** Makes the machine code of a module's functions, so that no vCPU waits for it. */
  readonly warm: (module: WebAssembly.Module) => void;
  /** Shows life during long work. */
  readonly beat: () => void;
  /** Of modules kept. */
  readonly limitBytes: number;
}

export class CodeStore {
  readonly #p: CodeStoreParts;
  readonly #regions = new Map<string, StoredRegion>();
  #modules = 0;
  #bytes = 0;
  /** Statistics. */
  compiled = 0;
  reused = 0;
  compileMs = 0;

  constructor(parts: CodeStoreParts) {
    this.#p = parts;
  }

  /** The code for each request; those not known yet are compiled into one module. */
  find(requests: readonly { readonly key: string; readonly request: RegionRequest }[]): StoredRegion[] {
    const missing = new Map<string, RegionRequest>();
    for (const { key, request } of requests)
      if (this.#regions.has(key)) this.reused++;
      else missing.set(key, request);
    if (missing.size > 0) this.#compile(missing);
    return requests.map(({ key }) => {
      const region = this.#regions.get(key)!;
      this.#regions.delete(key);
      this.#regions.set(key, region);
      return region;
    });
  }

  #compile(missing: ReadonlyMap<string, RegionRequest>): void {
    const start = performance.now();
    const { shapes, routines, warm, beat, limitBytes } = this.#p;
    const { bytes, regions } = buildRegionModule([...missing.values()], shapes, routines, beat);
    const module = new WebAssembly.Module(bytes);
    warm(module);
    beat();
    const stored: StoredModule = { id: ++this.#modules, bytes, module };
    [...missing.keys()].forEach((key, i) => {
      const region = regions[i];
      this.#regions.set(key, {
        module: stored,
        index: region === undefined ? -1 : i,
        links: region?.links ?? 0,
      });
    });
    this.compiled += missing.size;
    this.compileMs += performance.now() - start;
    this.#bytes += bytes.length;
    if (this.#bytes > limitBytes) this.#shrink();
  }

  /** Lets the older half go. */
  #shrink(): void {
    const keys = [...this.#regions.keys()];
    for (const key of keys.slice(0, keys.length >> 1)) this.#regions.delete(key);
    const kept = new Set([...this.#regions.values()].map((region) => region.module));
    this.#bytes = [...kept].reduce((sum, module) => sum + module.bytes.length, 0);
  }
}
