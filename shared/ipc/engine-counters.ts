// What a vCPU's engine and the compiler have done, as f64 words at the start of their actors' state pages: kept when an actor is
// replaced, and read by the kernel without a word from a thread that is busy or gone. Written only when the machine was asked
// for statistics.

/** A vCPU's, in the order of their words. */
export const VCPU_COUNTERS = [
  'instructionsInterpreted',
  'instructionsCompiled',
  'blocksDecoded',
  'blocksDropped',
  'regionsRequested',
  'regionsInstalled',
  /** Of those installed: formed by another vCPU or in another boot. */
  'regionsAdopted',
  'regionsLive',
  'regionsEvicted',
  'regionsLate',
  'regionsRefused',
  'regionBytes',
  /** Of the vCPU's own thread, on forming and installing regions. */
  'regionMs',
  'tlbFills',
  'tlbFlushes',
  'mmioAccesses',
  'exceptions',
  'interrupts',
  /** Exits from generated code. */
  'exitsLookup',
  'exitsPending',
  'exitsException',
  'exitsHalt',
  'exitsBranch',
  'exitsHot',
  'exitsDropped',
  'exitsRepeat',
] as const;

/** The compiler's. */
export const COMPILER_COUNTERS = [
  'compiled',
  'compileMs',
  /** Regions that the translation cache had. */
  'loaded',
  /** Requests that were answered with code that was there: another vCPU's, an earlier one's, the cache's. */
  'reused',
] as const;

export type VcpuCounts = Readonly<Record<(typeof VCPU_COUNTERS)[number], number>>;
export type CompilerCounts = Readonly<Record<(typeof COMPILER_COUNTERS)[number], number>>;

/** Adds up over the generations of an actor: made by each, it goes on from what it finds. */
export class CounterPage<Name extends string> {
  readonly #words: Float64Array;
  readonly #earlier: Float64Array;
  readonly #names: readonly Name[];
  readonly #gauges: ReadonlySet<Name>;

  /** `gauges`: of these an earlier generation's count is nothing. */
  constructor(buffer: ArrayBufferLike, offset: number, names: readonly Name[], gauges: readonly Name[] = []) {
    this.#names = names;
    this.#gauges = new Set(gauges);
    this.#words = new Float64Array(buffer, offset, names.length);
    this.#earlier = Float64Array.from(this.#words);
  }

  write(counts: Readonly<Record<Name, number>>): void {
    this.#names.forEach((name, i) => {
      this.#words[i] = counts[name] + (this.#gauges.has(name) ? 0 : this.#earlier[i]!);
    });
  }
}

export function readCounters<Name extends string>(
  buffer: ArrayBufferLike,
  offset: number,
  names: readonly Name[],
): Record<Name, number> {
  const words = new Float64Array(buffer, offset, names.length);
  return Object.fromEntries(names.map((name, i) => [name, words[i]!])) as Record<Name, number>;
}
