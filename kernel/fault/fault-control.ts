// The faults of one machine: its plan, which grows while it runs; the clock that lets rules strike by time; and the tally of what
// has struck, which it reads from the arena.
import { TroupeError } from '#shared/base/error.js';
import {
  MAX_FAULT_RULES,
  checkFaultRule,
  grantFault,
  loadFaultStrikes,
  ruleNames,
  ruleTimes,
  type FaultPlan,
  type FaultRule,
} from '#shared/ipc/fault-plan.js';
import { formatFault } from '#shared/ipc/fault-text.js';
import type { MachineLayout } from '#shared/memory/machine-layout.js';
import type { ActorEvent } from '../supervision/actor-event.js';
import { checkVictims, type Victim } from './fault-victims.js';

/** Of the tally, while there are rules. */
const TALLY_MS = 50;

export interface FaultHost {
  readonly i32: Int32Array;
  readonly layout: MachineLayout;
  readonly actors: readonly Victim[];
  /** Host time, ms modulo 2^32 as the arena keeps it, to time since the machine's start. */
  sinceStartMs(hostMs: number): number;
  wake(actor: string): void;
  arm(actor: string, index: number, rule: FaultRule): void;
  tell(event: ActorEvent): void;
}

export class FaultControl {
  /** Handed out in seeds: grows with what is injected. */
  readonly plan: FaultPlan;
  readonly #rules: FaultRule[];
  readonly #host: FaultHost;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** By actor, then by rule: strikes that were told. */
  readonly #told = new Map<string, number[]>();
  #tally: NodeJS.Timeout | undefined;
  #running = false;

  /** `plan`: its rules must be a list that nobody else changes. */
  constructor(plan: { readonly seed: number; readonly rules: FaultRule[] }, host: FaultHost) {
    this.plan = plan;
    this.#rules = plan.rules;
    this.#host = host;
  }

  /** The machine runs: time starts. */
  start(): void {
    this.#running = true;
    this.#rules.forEach((rule, index) => this.#schedule(index, rule, 0));
    this.#startTally();
  }

  stop(): void {
    this.#running = false;
    clearInterval(this.#tally);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.tally();
  }

  /** A rule more, from now on; times in it count from now. Throws TroupeError `bad-config`. */
  inject(rule: FaultRule): void {
    checkFaultRule(rule);
    checkVictims(rule, this.#host.actors);
    if (this.#rules.length === MAX_FAULT_RULES)
      throw new TroupeError(
        'bad-config',
        'this machine has had its fill of faults',
        `${MAX_FAULT_RULES} at most`,
      );
    const index = this.#rules.push(rule) - 1;
    for (const { name } of this.#victims(rule)) {
      this.#host.arm(name, index, rule);
      if (rule.atMs === undefined) this.#host.wake(name);
    }
    if (!this.#running) return;
    this.#schedule(index, rule, 0);
    this.#startTally();
  }

  /** Tells of strikes that were not told yet. */
  tally(): void {
    const { i32, layout } = this.#host;
    this.#rules.forEach((rule, index) => {
      for (const { name, kind } of this.#victims(rule)) {
        const { strikes, lastMs } = loadFaultStrikes(i32, layout.actors[name]!.faults, index);
        const told = this.#told.get(name) ?? [];
        this.#told.set(name, told);
        const count = strikes - (told[index] ?? 0);
        if (count === 0) continue;
        told[index] = strikes;
        const atMs = this.#host.sinceStartMs(lastMs);
        const { action } = rule;
        this.#host.tell({ type: 'fault', atMs, actor: name, kind, action, rule: formatFault(rule), count });
      }
    });
  }

  #victims(rule: FaultRule): readonly Victim[] {
    return this.#host.actors.filter((actor) => ruleNames(rule, actor));
  }

  #startTally(): void {
    if (this.#tally !== undefined || this.#rules.length === 0) return;
    this.#tally = setInterval(() => this.tally(), TALLY_MS);
    this.#tally.unref();
  }

  #schedule(index: number, rule: FaultRule, strike: number): void {
    if (rule.atMs === undefined || strike >= ruleTimes(rule)) return;
    const delayMs = strike === 0 ? rule.atMs : rule.everyMs;
    if (delayMs === undefined) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      const { i32, layout } = this.#host;
      for (const { name } of this.#victims(rule)) {
        grantFault(i32, layout.actors[name]!.faults, index);
        this.#host.wake(name);
      }
      this.#schedule(index, rule, strike + 1);
    }, delayMs);
    timer.unref();
    this.#timers.add(timer);
  }
}
