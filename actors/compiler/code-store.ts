// What the compiler has compiled: modules by the requests that they answer, so that a second vCPU, or the same code decoded
// again, costs no compilation. Bounded; the least recently used go first. A module is held as an object too: while it is,
// V8 gives every thread that compiles the same bytes the machine code that there is.

import { buildRegionModule } from '#shared/translate/region-module.js';
import type { ShapeIndex } from '#shared/translate/region.js';
import { type RegionRequest, decodeRegionRequest, headHashOf } from '#shared/translate/region-request.js';
import { moduleId } from '#shared/translate/region-service.js';
import type { RoutineTable } from '#shared/translate/routine.js';
import type { CacheFile, CachedModule, CachedRegion } from './cache-file.js';

export interface StoredModule {
  readonly id: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly module: WebAssembly.Module;
}

export interface AskedRegion {
  readonly key: string;
  readonly request: RegionRequest;
  /** Another region with the same head won't do. */
  readonly exact: boolean;
  /** Of its start, where it is asked for first: equal code may lie elsewhere too. */
  readonly address: bigint;
}

/** Where a request's code is. `index` −1: it cannot be compiled. */
export interface StoredRegion {
  readonly module: StoredModule;
  readonly index: number;
  readonly links: number;
  readonly request: Uint8Array;
}

/** An answer to a request: its own region, or one that starts in the same way. */
export interface FoundRegion {
  readonly region: StoredRegion;
  readonly offered: RegionRequest | undefined;
}

export interface CodeStoreParts {
  /** Made when something must be compiled: with a full cache a boot does without. */
  readonly shapes: () => ShapeIndex;
  readonly routines: RoutineTable;
  /** Makes the machine code of a module's functions, so that no vCPU waits for it. */
  readonly warm: (module: WebAssembly.Module) => void;
  /** Shows life during long work. */
  readonly beat: () => void;
  /** What profiles call a region that starts there. */
  readonly nameOf: (address: bigint) => string;
  /** There is a region with such a head. */
  readonly onHead: (head: number) => void;
  /** Of modules and requests kept. */
  readonly limitBytes: number;
  /** What earlier boots compiled; absent without a cache. */
  readonly cache?: { readonly file: CacheFile; readonly modules: readonly CachedModule[] } | undefined;
}

/** Regions with the same head that are remembered. */
const MAX_ALIKE = 4;

export class CodeStore {
  readonly #p: CodeStoreParts;
  readonly #regions = new Map<string, StoredRegion>();
  /** Modules of the cache file, by the keys of their regions, until one is used. */
  readonly #cached = new Map<string, CachedModule>();
  /** The regions that start in the same way, by the hash of that: their keys with the bytes of their requests. Some may be gone. */
  readonly #heads = new Map<number, Map<string, number>>();
  #bytes = 0;
  #shapes: ShapeIndex | undefined;
  /** Statistics. */
  compiled = 0;
  reused = 0;
  /** Regions taken from the cache file. */
  loaded = 0;
  compileMs = 0;

  constructor(parts: CodeStoreParts) {
    this.#p = parts;
    for (const module of parts.cache?.modules ?? [])
      module.regions.forEach(({ key, index, head }, i) => {
        this.#cached.set(key, module);
        if (index >= 0) this.#noteHead(head, key, module.requestLengths[i]!);
      });
  }

  /** Regions that the cache file has and nobody has asked for yet. */
  get cached(): number {
    return this.#cached.size;
  }

  /** The code for each request; those not known yet are compiled into one module. */
  find(requests: readonly AskedRegion[]): FoundRegion[] {
    // What is found is noted at once: room for what is compiled then may take it out of the store.
    const found = new Map<string, FoundRegion>();
    const missing = new Map<string, AskedRegion>();
    for (const asked of requests) {
      const { key } = asked;
      if (found.has(key) || missing.has(key)) continue;
      const region = this.#take(key);
      const known = region === undefined ? this.#similar(asked) : { region, offered: undefined };
      if (known === undefined) missing.set(key, asked);
      else found.set(key, known);
    }
    this.reused += requests.length - missing.size;
    if (missing.size > 0) this.#compile(missing);
    for (const key of missing.keys()) found.set(key, { region: this.#regions.get(key)!, offered: undefined });
    return requests.map(({ key }) => found.get(key)!);
  }

  /** The largest region with such a head; undefined when there is none. */
  offer(head: number): FoundRegion | undefined {
    const alike = this.#heads.get(head);
    for (const [key] of [...(alike ?? [])].sort(([, a], [, b]) => b - a)) {
      const region = this.#take(key);
      const offered = region === undefined ? undefined : decodeRegionRequest(region.request);
      if (region !== undefined && offered !== undefined) return { region, offered };
      alike!.delete(key);
    }
    return undefined;
  }

  /** What another vCPU had compiled for the same head is as good when it is not much smaller. */
  #similar({ request, exact }: AskedRegion): FoundRegion | undefined {
    if (exact) return undefined;
    const found = this.offer(headHashOf(request));
    return (found?.offered?.nodes.length ?? 0) * 2 >= request.nodes.length ? found : undefined;
  }

  #noteHead(head: number, key: string, requestBytes: number): void {
    const alike = this.#heads.get(head);
    if (alike === undefined) this.#heads.set(head, new Map([[key, requestBytes]]));
    else if (alike.size < MAX_ALIKE) alike.set(key, requestBytes);
    this.#p.onHead(head);
  }

  /** A region that there is, as the one used last. */
  #take(key: string): StoredRegion | undefined {
    if (!this.#regions.has(key) && !this.#load(key)) return undefined;
    const region = this.#regions.get(key)!;
    this.#regions.delete(key);
    this.#regions.set(key, region);
    return region;
  }

  #compile(missing: ReadonlyMap<string, AskedRegion>): void {
    const start = performance.now();
    const { shapes, routines, beat, cache } = this.#p;
    this.#shapes ??= shapes();
    const asked = [...missing.values()];
    const requests = asked.map(({ request }) => request);
    const labels = asked.map(({ address }) => this.#p.nameOf(address));
    const { bytes, regions } = buildRegionModule(requests, this.#shapes, routines, beat, labels);
    const described = asked.map(({ key, request }, i): CachedRegion => {
      const region = regions[i];
      const head = headHashOf(request);
      if (region !== undefined) this.#noteHead(head, key, request.bytes.length);
      return { key, index: region === undefined ? -1 : i, links: region?.links ?? 0, head };
    });
    const kept = requests.map((request) => request.bytes);
    this.#keep(bytes, new WebAssembly.Module(bytes), described, kept);
    cache?.file.append(bytes, described, kept);
    this.compiled += missing.size;
    this.compileMs += performance.now() - start;
  }

  /** Takes a region's module from the cache file; false when it is not there or not good. */
  #load(key: string): boolean {
    const found = this.#cached.get(key);
    if (found === undefined) return false;
    for (const region of found.regions)
      if (this.#cached.get(region.key) === found) this.#cached.delete(region.key);
    const body = this.#p.cache?.file.read(found);
    if (body === undefined) return false;
    try {
      const module = new WebAssembly.Module(body.module);
      if (!exportsAll(module, found.regions)) return false;
      this.#keep(body.module, module, found.regions, body.requests);
    } catch (error) {
      // Well formed once: another version of V8 may think otherwise.
      if (error instanceof WebAssembly.CompileError || error instanceof WebAssembly.LinkError) return false;
      throw error;
    }
    this.loaded += found.regions.length;
    return true;
  }

  #keep(
    bytes: Uint8Array<ArrayBuffer>,
    module: WebAssembly.Module,
    regions: readonly CachedRegion[],
    requests: readonly Uint8Array[],
  ): void {
    const { warm, beat, limitBytes } = this.#p;
    warm(module);
    beat();
    const stored: StoredModule = { id: moduleId(bytes), bytes, module };
    const size = requests.reduce((sum, request) => sum + request.length, bytes.length);
    this.#bytes += size;
    if (this.#bytes > limitBytes) this.#shrink(size);
    regions.forEach(({ key, index, links }, i) =>
      this.#regions.set(key, { module: stored, index, links, request: requests[i]! }),
    );
  }

  /** Lets the older half go. */
  #shrink(newBytes: number): void {
    const keys = [...this.#regions.keys()];
    for (const key of keys.slice(0, keys.length >> 1)) this.#regions.delete(key);
    const kept = new Set([...this.#regions.values()].map((region) => region.module));
    const left = [...this.#regions.values()].reduce((sum, { request }) => sum + request.length, newBytes);
    this.#bytes = [...kept].reduce((sum, module) => sum + module.bytes.length, left);
  }
}

function exportsAll(module: WebAssembly.Module, regions: readonly CachedRegion[]): boolean {
  const names = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  return regions.every(({ index }) => index < 0 || names.has(`r${index}`));
}
