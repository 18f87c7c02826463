// What many chaos runs come to: faults by actor and kind, recoveries and how long they took, failures and their seeds.
import type { ActorEvent } from '../supervision/actor-event.js';
import type { ChaosRun } from './chaos-run.js';

export interface Quantiles {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface ChaosSummary {
  readonly runs: number;
  readonly passed: number;
  readonly faults: number;
  /** By 'actor action'. */
  readonly faultsBy: Readonly<Record<string, number>>;
  readonly exits: number;
  readonly restarts: number;
  /** From the exit of an actor to the first turn of its replacement, ms; by kind and over all. */
  readonly recoveryMs: Readonly<Record<string, Quantiles>>;
  readonly messagesMended: number;
  /** The longest time that a guest's console stood still, ms. */
  readonly stallMs: Quantiles;
  readonly failedSeeds: readonly number[];
}

const ALL = 'all';

export function quantilesOf(values: readonly number[]): Quantiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number): number =>
    sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? 0;
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

export function summarize(runs: readonly ChaosRun[]): ChaosSummary {
  const events = runs.flatMap((run) => run.events);
  const faultsBy: Record<string, number> = {};
  let faults = 0;
  for (const event of events) {
    if (event.type !== 'fault') continue;
    const key = `${event.actor} ${event.action}`;
    faultsBy[key] = (faultsBy[key] ?? 0) + event.count;
    faults += event.count;
  }
  const down = new Map<string, number[]>([[ALL, []]]);
  const restarts = events.filter(
    (e): e is ActorEvent & { type: 'actor:restart' } => e.type === 'actor:restart',
  );
  for (const { kind, downMs } of restarts) {
    down.get(ALL)!.push(downMs);
    down.set(kind, [...(down.get(kind) ?? []), downMs]);
  }
  return {
    runs: runs.length,
    passed: runs.filter((run) => run.passed).length,
    faults,
    faultsBy,
    exits: events.filter((event) => event.type === 'actor:exit').length,
    restarts: restarts.length,
    recoveryMs: Object.fromEntries([...down].map(([kind, values]) => [kind, quantilesOf(values)])),
    messagesMended: runs.reduce((sum, run) => sum + run.messagesMended, 0),
    stallMs: quantilesOf(runs.map((run) => run.longestStallMs)),
    failedSeeds: runs.filter((run) => !run.passed).map((run) => run.seed),
  };
}
