// Failpoints: named points in every actor at which a fault plan can break it, by count or by seed, replayable. Without a
// plan a point is a call of an empty function. The plan is data (JSON) and travels in the actor's seed.
// crash and exit end the thread without unwinding, throw unwinds, hang never returns, delay blocks; drop, duplicate and corrupt
// are handed back, for the caller to carry out where it means something.
import { createPrng, hashString } from '#shared/base/prng.js';

export type FaultAction = 'crash' | 'exit' | 'throw' | 'hang' | 'delay' | 'drop' | 'duplicate' | 'corrupt';

/** When a rule strikes: `at` the n-th hit (from 1), on `every` n-th, or with `probability` a hit. */
export interface FaultRule {
  /** Actor name ('virtio-blk-0') or kind ('virtio-blk'). Every actor when absent. */
  readonly actor?: string;
  readonly point: string;
  readonly action: FaultAction;
  readonly at?: number;
  readonly every?: number;
  readonly probability?: number;
  /** Strikes at most so many times a generation; 1 when absent and `at` is given, else no limit. */
  readonly limit?: number;
  /** Only in this generation of the actor (from 1). */
  readonly generation?: number;
  readonly delayMs?: number;
  readonly exitCode?: number;
}

export interface FaultPlan {
  readonly seed: number;
  readonly rules: readonly FaultRule[];
}

/** What the caller of a failpoint has to do: usually nothing. */
export type FaultVerdict = 'none' | 'drop' | 'duplicate' | 'corrupt';

export type Failpoint = (point: string) => FaultVerdict;

/** How a thread ends and blocks; the actor loop gives the real ones. */
export interface FaultEffects {
  exit(code: number): never;
  hang(): never;
  delay(ms: number): void;
}

/** As a process that aborts: 128 + SIGABRT. */
export const CRASH_EXIT_CODE = 134;

const noFault: Failpoint = () => 'none';

export class InjectedFault extends Error {
  constructor(point: string) {
    super(`injected fault at ${point}`);
    this.name = 'InjectedFault';
  }
}

function carryOut(rule: FaultRule, effects: FaultEffects): FaultVerdict {
  switch (rule.action) {
    case 'crash':
      return effects.exit(CRASH_EXIT_CODE);
    case 'exit':
      return effects.exit(rule.exitCode ?? 1);
    case 'throw':
      throw new InjectedFault(rule.point);
    case 'hang':
      return effects.hang();
    case 'delay':
      effects.delay(rule.delayMs ?? 10);
      return 'none';
    case 'drop':
    case 'duplicate':
    case 'corrupt':
      return rule.action;
  }
}

interface ArmedRule {
  readonly rule: FaultRule;
  readonly random: () => number;
  hits: number;
  strikes: number;
}

function strikesNow(armed: ArmedRule): boolean {
  const { rule } = armed;
  armed.hits++;
  const limit = rule.limit ?? (rule.at === undefined ? Infinity : 1);
  if (armed.strikes >= limit) return false;
  if (rule.at !== undefined) return armed.hits === rule.at;
  if (rule.every !== undefined) return armed.hits % rule.every === 0;
  if (rule.probability !== undefined) return armed.random() < rule.probability;
  return true;
}

/** The failpoint function of one generation of one actor. Same plan, same identity, same hits: same faults. */
export function createFailpoint(
  plan: FaultPlan | undefined,
  actor: { readonly name: string; readonly kind: string; readonly generation: number },
  effects: FaultEffects,
): Failpoint {
  const byPoint = new Map<string, ArmedRule[]>();
  for (const [i, rule] of (plan?.rules ?? []).entries()) {
    if (rule.actor !== undefined && rule.actor !== actor.name && rule.actor !== actor.kind) continue;
    if (rule.generation !== undefined && rule.generation !== actor.generation) continue;
    const seed = hashString(`${plan!.seed}/${actor.name}/${actor.generation}/${i}`);
    const armed = { rule, random: createPrng(seed).float, hits: 0, strikes: 0 };
    byPoint.set(rule.point, [...(byPoint.get(rule.point) ?? []), armed]);
  }
  if (byPoint.size === 0) return noFault;
  return (point) => {
    let verdict: FaultVerdict = 'none';
    for (const armed of byPoint.get(point) ?? []) {
      if (!strikesNow(armed)) continue;
      armed.strikes++;
      const answer = carryOut(armed.rule, effects);
      if (answer !== 'none') verdict = answer;
    }
    return verdict;
  };
}
