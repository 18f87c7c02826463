// Failpoints: named points in every actor at which a fault plan can break it, by count, by time or by seed, replayable. Without a
// rule for it an actor's point is one comparison. Rules travel in the actor's seed; one injected later is armed by a control
// call. Same seed, same actor, same hit: same fault. crash, exit and oom end the thread without unwinding, throw unwinds, hang
// never returns, delay blocks; drop, duplicate and corrupt are handed back, for the mailbox to carry out.
import { monotonicNs } from '#shared/base/clock.js';
import { createPrng, hashString } from '#shared/base/prng.js';
import type { Region } from '#shared/base/region.js';
import type { FailpointName } from '#shared/ipc/failpoint-catalogue.js';
import {
  FAULT_GRANTED,
  FAULT_HITS,
  FAULT_STRIKES,
  FAULT_TIME,
  faultWord,
  ruleNames,
  rulePoints,
  ruleTimes,
  type FaultPlan,
  type FaultRule,
} from '#shared/ipc/fault-plan.js';

/** What the caller of a failpoint has to do: usually nothing. */
export type FaultVerdict = 'none' | 'drop' | 'duplicate' | 'corrupt';

export type Failpoint = (point: FailpointName) => FaultVerdict;

/** Failpoints for who passes one so often that a call would show: it passes none before it is told to. */
export interface FaultSwitch {
  readonly pass: Failpoint;
  /** Calls `listener` once some rule names the actor: at once, or when one is injected. */
  whenArmed(listener: () => void): void;
}

/** How a thread ends and blocks; the actor loop gives the real ones. */
export interface FaultEffects {
  exit(code: number): never;
  exhaustMemory(): never;
  hang(asleep: boolean): never;
  delay(ms: number): void;
}

/** As a process that aborts: 128 + SIGABRT. */
export const CRASH_EXIT_CODE = 134;

/**
 * A replacement that took so long was slow, or several died before one ran. What strikes every so often then spares the actor as long as that
 * took: struck again at once, for ever, it would get nothing done.
 */
const SLOW_MS = 500;

/** Spreads hit numbers over the generator's seeds: 2^32 divided by the golden ratio. */
const HIT_STRIDE = 0x9e3779b1;

export class InjectedFault extends Error {
  constructor(point: string) {
    super(`injected fault at ${point}`);
    this.name = 'InjectedFault';
  }
}

/** Whose failpoints they are. */
export interface FaultVictim {
  readonly name: string;
  readonly kind: string;
  readonly generation: number;
  /** Host monotonic ns at which the last one ended that polled; absent of the first generation. */
  readonly predecessorEndedNs?: number | undefined;
}

interface ArmedRule {
  readonly rule: FaultRule;
  /** Of its counters, in i32. */
  readonly word: number;
  readonly seed: number;
}

/** The failpoints of one generation of one actor. */
export class FaultPoints implements FaultSwitch {
  #armed = false;
  readonly #listeners: (() => void)[] = [];
  /** Passes a point. Bound: may be handed around. */
  readonly pass: Failpoint;
  readonly #actor: FaultVictim;
  readonly #effects: FaultEffects;
  readonly #seed: number;
  readonly #i32: Int32Array;
  readonly #counters: Region;
  readonly #sparedUntilNs: number;
  #byPoint: Map<string, ArmedRule[]> | undefined;

  /** `counters`: of this actor, in the arena that `i32` views; FAULT_COUNTERS_BYTES. */
  constructor(
    plan: FaultPlan | undefined,
    actor: FaultVictim,
    effects: FaultEffects,
    i32: Int32Array,
    counters: Region,
  ) {
    this.#actor = actor;
    this.#effects = effects;
    this.#seed = plan?.seed ?? 0;
    this.#i32 = i32;
    this.#counters = counters;
    const bornNs = monotonicNs();
    const downNs = bornNs - (actor.predecessorEndedNs ?? bornNs);
    this.#sparedUntilNs = downNs < SLOW_MS * 1e6 ? 0 : bornNs + downNs;
    plan?.rules.forEach((rule, index) => this.arm(index, rule));
    this.pass = (point) =>
      this.#byPoint === undefined ? 'none' : this.#strike(this.#byPoint.get(point), point);
  }

  /** A rule more, by its index in the machine's plan. Nothing happens when it names another actor or generation. */
  arm(index: number, rule: FaultRule): void {
    const { name, generation } = this.#actor;
    if (!ruleNames(rule, this.#actor)) return;
    if (rule.generation !== undefined && rule.generation !== generation) return;
    const seed = hashString(`${this.#seed}/${name}/${index}`);
    this.#byPoint ??= new Map();
    if (!this.#armed) for (const listener of this.#listeners) listener();
    this.#armed = true;
    for (const point of rulePoints(rule)) {
      const armed = { rule, word: faultWord(this.#counters, index), seed };
      this.#byPoint.set(point, [...(this.#byPoint.get(point) ?? []), armed]);
    }
  }

  /**
   * Is there a rule for one of these points? One that strikes by time at the loop does not count: the kernel wakes the actor for it, whose
   * loop then passes.
   */
  hasRuleAt(points: readonly FailpointName[]): boolean {
    const byPoint = this.#byPoint;
    if (byPoint === undefined) return false;
    const counts = (point: FailpointName, { rule }: ArmedRule): boolean =>
      point !== 'loop' || rule.atMs === undefined;
    return points.some((point) => byPoint.get(point)?.some((armed) => counts(point, armed)) === true);
  }

  whenArmed(listener: () => void): void {
    if (this.#armed) listener();
    else this.#listeners.push(listener);
  }

  #strike(rules: readonly ArmedRule[] | undefined, point: string): FaultVerdict {
    let verdict: FaultVerdict = 'none';
    for (const armed of rules ?? []) {
      if (!this.#strikesNow(armed, point)) continue;
      const { word, rule } = armed;
      // Counted first: what follows may not return.
      this.#i32[word + FAULT_TIME] = monotonicNs() / 1e6;
      Atomics.add(this.#i32, word + FAULT_STRIKES, 1);
      const answer = this.#carryOut(rule, point);
      if (answer !== 'none') verdict = answer;
    }
    return verdict;
  }

  #strikesNow({ rule, word, seed }: ArmedRule, point: string): boolean {
    const i32 = this.#i32;
    const strikes = i32[word + FAULT_STRIKES]!;
    if (rule.atMs !== undefined && strikes >= Atomics.load(i32, word + FAULT_GRANTED)) return false;
    const spares = rule.everyMs !== undefined && point !== 'start';
    if (spares && monotonicNs() < this.#sparedUntilNs) return false;
    const hit = (i32[word + FAULT_HITS]! + 1) >>> 0;
    i32[word + FAULT_HITS] = hit;
    if (strikes >= ruleTimes(rule)) return false;
    const first = rule.after ?? rule.every ?? 1;
    if (hit < first) return false;
    if (rule.every !== undefined && (hit - first) % rule.every !== 0) return false;
    if (rule.probability === undefined) return true;
    return createPrng(seed ^ Math.imul(hit, HIT_STRIDE)).float() < rule.probability;
  }

  #carryOut(rule: FaultRule, point: string): FaultVerdict {
    const effects = this.#effects;
    switch (rule.action) {
      case 'crash':
        return effects.exit(CRASH_EXIT_CODE);
      case 'exit':
        return effects.exit(rule.exitCode ?? 1);
      case 'oom':
        return effects.exhaustMemory();
      case 'throw':
        throw new InjectedFault(point);
      case 'hang':
        return effects.hang(rule.asleep ?? false);
      case 'delay':
        effects.delay(rule.delayMs ?? 10);
        return 'none';
      case 'drop':
      case 'duplicate':
      case 'corrupt':
        return rule.action;
    }
  }
}
