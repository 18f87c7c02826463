// How often each cell of the kill matrix was struck, over many runs, and which cells a run should take: those that were struck least.
import { parseFault } from '#shared/ipc/fault-text.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import type { ActorEvent } from '../supervision/actor-event.js';
import { cellName, cellRule, laneOf, type Lane, type MatrixCell } from './kill-matrix.js';

/** Runs in which cells of a point take part without any being struck before the point counts as out of reach. */
const VAIN_RUNS = 3;

interface Turns {
  /** Of each kind in a run. */
  readonly cells: number;
  /** Between a strike and the next cell's. */
  readonly gapMs: number;
}

const LANES: Readonly<Record<Lane, Turns>> = {
  device: { cells: 7, gapMs: 225 },
  // All of them strike once as a driver comes and goes.
  driver: { cells: 20, gapMs: 150 },
  // Most of the compiler's wait for the next region that is asked for.
  engine: { cells: 15, gapMs: 200 },
  mild: { cells: 4, gapMs: 20 },
};
/** Kinds with few cells die less often, so that all have enough at about the same time, and a vCPU's death is dear. */
const DEATHS_OF: Readonly<Record<string, Turns>> = {
  vcpu: { cells: 5, gapMs: 2000 },
  chipset: { cells: 5, gapMs: 1000 },
  uart: { cells: 5, gapMs: 500 },
};

function turnsOf(kind: string, lane: Lane): Turns {
  return (lane === 'mild' ? undefined : DEATHS_OF[kind]) ?? LANES[lane];
}

const FIRST_STRIKE_MS = 500;

export class StrikeTally {
  readonly #cells: readonly MatrixCell[];
  readonly #strikes = new Map<string, number>();
  /** By kind and point. */
  readonly #vain = new Map<string, number>();

  /** `before`: strikes by cell's name that count already. */
  constructor(cells: readonly MatrixCell[], before: Readonly<Record<string, number>> = {}) {
    this.#cells = cells;
    for (const name of cells.map(cellName)) this.#strikes.set(name, before[name] ?? 0);
  }

  /** By cell's name. */
  all(): Record<string, number> {
    return Object.fromEntries(this.#strikes);
  }

  strikes(cell: MatrixCell): number {
    return this.#strikes.get(cellName(cell)) ?? 0;
  }

  wanting(least: number): MatrixCell[] {
    return this.#cells.filter((cell) => this.strikes(cell) < least);
  }

  /** Cells that were struck less than `least` times and may still be. */
  open(least: number): MatrixCell[] {
    return this.wanting(least).filter((cell) => (this.#vain.get(placeName(cell)) ?? 0) < VAIN_RUNS);
  }

  /** The cells for one run, of each kind: those that were struck least, drawn among equals. */
  draw(least: number, below: (bound: number) => number): MatrixCell[] {
    const open = new Set(this.open(least));
    // With all kinds dying at once nobody would get much done: a run is for one lane, the more often the more is left of it.
    const deaths = [...open].map(laneOf).filter((lane) => lane !== 'mild');
    const dying = deaths.length === 0 ? 'device' : deaths[below(deaths.length)]!;
    const kinds = [...new Set(this.#cells.map((cell) => cell.kind))];
    return kinds.flatMap((kind) => {
      const ofKind = this.#cells.filter((cell) => cell.kind === kind);
      return this.#lanesOf(ofKind, dying, open).flatMap((lane) => {
        const inLane = ofKind.filter((cell) => laneOf(cell) === lane);
        // Cells that have enough make the actor die before it comes to those that have not; but some cell must be known to strike.
        const enough = inLane.some((cell) => open.has(cell) && this.strikes(cell) > 0);
        const ranked = inLane
          .filter((cell) => open.has(cell) || (!enough && this.strikes(cell) > 0))
          .map((cell) => ({ cell, strikes: this.strikes(cell), lot: below(2 ** 20) }))
          .sort((a, b) => a.strikes - b.strikes || a.lot - b.lot)
          .map(({ cell }) => cell);
        return this.#mix(ranked, turnsOf(kind, lane).cells);
      });
    });
  }

  /** Lanes in which a kind's cells take part. The kind of device that has most left to do dies in every run. */
  #lanesOf(ofKind: readonly MatrixCell[], dying: Lane, open: ReadonlySet<MatrixCell>): Lane[] {
    const has = (lane: Lane): boolean => ofKind.some((cell) => open.has(cell) && laneOf(cell) === lane);
    const lanes: Lane[] = [];
    if (has(dying)) lanes.push(dying);
    if (dying !== 'device' && ofKind[0]?.kind === mostLeft(open)) lanes.push('device');
    return [...lanes, 'mild'];
  }

  /** Half of `count` at most were never struck, where there are others: they may be out of reach. */
  #mix(ranked: readonly MatrixCell[], count: number): MatrixCell[] {
    const never = ranked.filter((cell) => this.strikes(cell) === 0);
    const others = ranked.filter((cell) => this.strikes(cell) > 0);
    const half = never.splice(0, Math.ceil(count / 2));
    return [...half, ...others, ...never].slice(0, count);
  }

  /** Takes what came of a run with these cells. */
  add(cells: readonly MatrixCell[], events: readonly ActorEvent[]): void {
    const struck = new Map<string, number>();
    for (const event of events) {
      if (event.type !== 'fault') continue;
      const key = `${event.kind} ${event.action} at ${parseFault(event.rule).point}`;
      struck.set(key, (struck.get(key) ?? 0) + event.count);
    }
    const reached = new Set(this.#cells.filter((cell) => this.strikes(cell) > 0).map(placeName));
    for (const cell of cells) {
      const count = struck.get(cellName(cell)) ?? 0;
      this.#strikes.set(cellName(cell), this.strikes(cell) + count);
      if (count > 0) reached.add(placeName(cell));
    }
    for (const place of new Set(cells.map(placeName)))
      if (reached.has(place)) this.#vain.delete(place);
      else this.#vain.set(place, (this.#vain.get(place) ?? 0) + 1);
  }
}

/** The kind that has most cells open in the devices' lane. */
function mostLeft(open: ReadonlySet<MatrixCell>): string | undefined {
  const left = new Map<string, number>();
  for (const cell of open) if (laneOf(cell) === 'device') left.set(cell.kind, (left.get(cell.kind) ?? 0) + 1);
  return [...left].sort((a, b) => b[1] - a[1])[0]?.[0];
}

function placeName({ kind, point }: MatrixCell): string {
  return `${kind} at ${point}`;
}

/** The rules of one run of so many seconds: the cells of a kind's lane take turns. */
export function planStrikes(cells: readonly MatrixCell[], seconds: number): FaultRule[] {
  const lanes = new Map<string, MatrixCell[]>();
  for (const cell of cells) {
    const name = `${cell.kind} ${laneOf(cell)}`;
    lanes.set(name, [...(lanes.get(name) ?? []), cell]);
  }
  return [...lanes.values()].flatMap((lane) =>
    lane.map((cell, i) => {
      const { cells: most, gapMs } = turnsOf(cell.kind, laneOf(cell));
      // Not sooner where there are fewer: a device that dies whenever it is about to obey one write leaves its vCPU in that for ever.
      const everyMs = gapMs * most;
      const times = Math.max(1, Math.floor((seconds * 1000 - FIRST_STRIKE_MS) / everyMs));
      return cellRule(cell, { atMs: FIRST_STRIKE_MS + i * gapMs, everyMs, times });
    }),
  );
}
