// How often each cell of the kill matrix was struck, over many runs, and which cells a run should take: those that were struck least.
import { parseFault } from '#shared/ipc/fault-text.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import type { ActorEvent } from '../supervision/actor-event.js';
import { cellName, cellRule, isDeadly, type MatrixCell } from './kill-matrix.js';

/** Runs that a cell takes part in without being struck before it counts as out of reach. */
const VAIN_RUNS = 6;
/** Of each kind in a run: cells that end the actor, and cells that do not. */
const DEADLY_CELLS = 5;
const MILD_CELLS = 4;

/** A death each so many ms: kinds with many cells die more often, so that all have enough at about the same time. */
const DEADLY_MS: Readonly<Record<string, number>> = { vcpu: 4000, chipset: 1500, compiler: 1200, uart: 900 };
const OTHERS_DEADLY_MS = 400;
const MILD_MS = 20;
const FIRST_STRIKE_MS = 500;

export class StrikeTally {
  readonly #cells: readonly MatrixCell[];
  readonly #strikes = new Map<string, number>();
  readonly #vain = new Map<string, number>();

  constructor(cells: readonly MatrixCell[]) {
    this.#cells = cells;
  }

  strikes(cell: MatrixCell): number {
    return this.#strikes.get(cellName(cell)) ?? 0;
  }

  wanting(least: number): MatrixCell[] {
    return this.#cells.filter((cell) => this.strikes(cell) < least);
  }

  /** Cells that were struck less than `least` times and may still be. */
  open(least: number): MatrixCell[] {
    return this.wanting(least).filter((cell) => (this.#vain.get(cellName(cell)) ?? 0) < VAIN_RUNS);
  }

  /** The cells for one run, of each kind: those that were struck least, drawn among equals. */
  draw(least: number, below: (bound: number) => number): MatrixCell[] {
    const open = new Set(this.open(least));
    const kinds = [...new Set(this.#cells.map((cell) => cell.kind))];
    return kinds.flatMap((kind) =>
      [true, false].flatMap((deadly) => {
        const ranked = this.#cells
          .filter((cell) => cell.kind === kind && isDeadly(cell) === deadly)
          .filter((cell) => open.has(cell) || this.strikes(cell) > 0)
          .map((cell) => ({ cell, strikes: this.strikes(cell), lot: below(2 ** 20) }))
          .sort((a, b) => a.strikes - b.strikes || a.lot - b.lot)
          .map(({ cell }) => cell);
        return this.#mix(ranked, deadly ? DEADLY_CELLS : MILD_CELLS);
      }),
    );
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
    for (const name of cells.map(cellName)) {
      const count = struck.get(name) ?? 0;
      this.#strikes.set(name, (this.#strikes.get(name) ?? 0) + count);
      if (count === 0) this.#vain.set(name, (this.#vain.get(name) ?? 0) + 1);
    }
  }
}

/** The rules of one run of so many seconds: the cells of a kind take turns. */
export function planStrikes(cells: readonly MatrixCell[], seconds: number): FaultRule[] {
  const lanes = new Map<string, MatrixCell[]>();
  for (const cell of cells) {
    const lane = `${cell.kind} ${isDeadly(cell)}`;
    lanes.set(lane, [...(lanes.get(lane) ?? []), cell]);
  }
  return [...lanes.values()].flatMap((lane) =>
    lane.map((cell, i) => {
      const gapMs = isDeadly(cell) ? (DEADLY_MS[cell.kind] ?? OTHERS_DEADLY_MS) : MILD_MS;
      const everyMs = gapMs * lane.length;
      const times = Math.max(1, Math.floor((seconds * 1000 - FIRST_STRIKE_MS) / everyMs));
      return cellRule(cell, { atMs: FIRST_STRIKE_MS + i * gapMs, everyMs, times });
    }),
  );
}
