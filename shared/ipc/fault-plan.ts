// A fault plan as data (JSON): rules that say which actor breaks how, where and when. How often a rule was met and has struck is
// counted in the arena, so the count goes on across an actor's generations. A fault strikes once, unless the rule says
// `every`, a probability, or how many `times`.
import { TroupeError } from '#shared/base/error.js';
import type { Region } from '#shared/base/region.js';
import { FAILPOINTS } from '#shared/ipc/failpoint-catalogue.js';

/** What can be done to an actor (the first six) and to a message (the last four). */
export const FAULT_ACTIONS = [
  'crash',
  'throw',
  'exit',
  'oom',
  'hang',
  'delay',
  'drop',
  'duplicate',
  'corrupt',
] as const;
export type FaultAction = (typeof FAULT_ACTIONS)[number];

/** Of these a message is the victim: they mean something at the points message.*. */
export const MESSAGE_ACTIONS: ReadonlySet<FaultAction> = new Set(['drop', 'duplicate', 'corrupt']);
const MESSAGE_POINTS: readonly string[] = ['message.send', 'message.receive', 'message.answer'];
const DEFAULT_MESSAGE_POINTS = MESSAGE_POINTS.slice(0, 2);

export interface FaultRule {
  /** Actor name ('virtio-blk-0') or kind ('virtio-blk'). Every actor when absent. */
  readonly actor?: string;
  readonly action: FaultAction;
  /** Default: `loop`; of drop, duplicate and corrupt `message.send` and `message.receive`. */
  readonly point?: string;
  /** The first hit that can strike, from 1; default 1, with `every` that many. */
  readonly after?: number;
  /** Strikes at each so many hits from the first on. */
  readonly every?: number;
  /** Of a hit, 0 to 1. */
  readonly probability?: number;
  /** The rule sleeps until then: ms since the machine's start. It then strikes at the next hit. */
  readonly atMs?: number;
  /** Again after each so many ms; only with `atMs`. */
  readonly everyMs?: number;
  /** Strikes at most so many times; Infinity when absent and `every`, `everyMs` or `probability` is given, else 1. */
  readonly times?: number;
  /** Only in this generation of the actor (from 1). */
  readonly generation?: number;
  /** Of `delay`; 10 when absent. */
  readonly delayMs?: number;
  /** Of `exit`; 1 when absent. */
  readonly exitCode?: number;
  /** Of `hang`: sleeps for ever instead of running in a circle. */
  readonly asleep?: boolean;
}

export interface FaultPlan {
  readonly seed: number;
  readonly rules: readonly FaultRule[];
}

/** Rules of one machine, those injected while it runs among them. */
export const MAX_FAULT_RULES = 256;

// What the arena counts of one rule in one actor, in 32-bit words.
export const FAULT_HITS = 0;
export const FAULT_STRIKES = 1;
/** Of a rule with atMs: strikes up to which time allows them; written by the kernel. */
export const FAULT_GRANTED = 2;
/** Of the last strike: ms of the monotonic clock, modulo 2^32. */
export const FAULT_TIME = 3;
export const FAULT_WORDS = 4;
export const FAULT_COUNTERS_BYTES = MAX_FAULT_RULES * FAULT_WORDS * 4;

/** Word index of a rule's counters in a view of the arena. */
export function faultWord(counters: Region, rule: number): number {
  return (counters.offset >>> 2) + rule * FAULT_WORDS;
}

/** Points at which a rule is looked at. */
export function rulePoints(rule: FaultRule): readonly string[] {
  if (rule.point !== undefined) return [rule.point];
  return MESSAGE_ACTIONS.has(rule.action) ? DEFAULT_MESSAGE_POINTS : ['loop'];
}

export function ruleTimes(rule: FaultRule): number {
  if (rule.times !== undefined) return rule.times;
  const again = rule.every ?? rule.everyMs ?? rule.probability;
  return again === undefined ? 1 : Infinity;
}

export function ruleNames(rule: FaultRule, actor: { readonly name: string; readonly kind: string }): boolean {
  return rule.actor === undefined || rule.actor === actor.name || rule.actor === actor.kind;
}

/** Throws TroupeError `bad-config` that names what is wrong with a rule. `what`: the rule as its author wrote it. */
export function checkFaultRule(rule: FaultRule, what = JSON.stringify(rule)): void {
  const bad = (message: string, hint: string): never => {
    throw new TroupeError('bad-config', `fault ${what}: ${message}`, hint);
  };
  if (!FAULT_ACTIONS.includes(rule.action))
    bad(`'${String(rule.action)}' is no fault`, `use one of ${FAULT_ACTIONS.join(', ')}`);
  if (rule.point !== undefined && !Object.hasOwn(FAILPOINTS, rule.point))
    bad(`there is no failpoint '${rule.point}'`, 'docs/failpoints.md lists them');
  if (MESSAGE_ACTIONS.has(rule.action) && !MESSAGE_POINTS.includes(rule.point ?? 'message.send'))
    bad(`${rule.action} needs a message`, `leave the point out or use ${MESSAGE_POINTS.join(' or ')}`);
  if (rule.action === 'duplicate' && rule.point === 'message.answer')
    bad('an answer cannot come twice', 'use drop or corrupt there');
  const atLeast = (field: keyof FaultRule, least: number): void => {
    const value = rule[field];
    if (value === undefined || (typeof value === 'number' && value >= least)) return;
    bad(`${field} is ${String(value)}`, `give a number from ${least}`);
  };
  for (const field of ['after', 'every', 'times', 'generation'] as const) atLeast(field, 1);
  for (const field of ['atMs', 'delayMs', 'probability', 'exitCode'] as const) atLeast(field, 0);
  atLeast('everyMs', 1);
  if ((rule.probability ?? 0) > 1) bad('the probability is above 1', 'give 1% as 0.01');
  if (rule.everyMs !== undefined && rule.atMs === undefined) bad('everyMs without atMs', 'give both');
}

/** Throws TroupeError `bad-config`. */
export function checkFaultPlan(plan: FaultPlan): void {
  if (plan.rules.length > MAX_FAULT_RULES)
    throw new TroupeError(
      'bad-config',
      `${plan.rules.length} faults are too many`,
      `use ${MAX_FAULT_RULES} at most`,
    );
  for (const rule of plan.rules) checkFaultRule(rule);
}

/**
 * Lets a rule with atMs strike once more, at its next hit; one that has not struck since the last time is let strike once, not twice.
 * Pairs with the load of FAULT_GRANTED in failpoint.ts.
 */
export function grantFault(i32: Int32Array, counters: Region, rule: number): void {
  const word = faultWord(counters, rule);
  Atomics.store(i32, word + FAULT_GRANTED, Atomics.load(i32, word + FAULT_STRIKES) + 1);
}

/** Strikes of a rule so far, and when the last was: ms of the monotonic clock, modulo 2^32. */
export function loadFaultStrikes(
  i32: Int32Array,
  counters: Region,
  rule: number,
): { readonly strikes: number; readonly lastMs: number } {
  const word = faultWord(counters, rule);
  const strikes = Atomics.load(i32, word + FAULT_STRIKES);
  return { strikes, lastMs: i32[word + FAULT_TIME]! >>> 0 };
}
