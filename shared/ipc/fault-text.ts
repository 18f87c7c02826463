// The language of `--fault`, of fault plans and of `troupe fault`:
//   rule   = actor ":" action { clause }           clauses may be set apart by commas
//   action = crash | throw | exit [CODE] | oom | hang [asleep] | delay [TIME] | drop | duplicate | corrupt
//   clause = "at" POINT | ("at" | "after") TIME | "after" COUNT | "every" (COUNT | TIME) | PERCENT
//          | "times" COUNT | "always" | "generation" COUNT
// TIME is 500us, 50ms, 5s or 2m; PERCENT 1% or 0.5%; actor a name, a kind, or * for all.
import { TroupeError } from '#shared/base/error.js';
import { FAULT_ACTIONS, checkFaultRule, type FaultAction, type FaultRule } from '#shared/ipc/fault-plan.js';

const EXAMPLE = "write it as 'virtio-blk-0: crash at request.completed after 1000, every 500'";
const UNIT_MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

type Draft = { -readonly [K in keyof FaultRule]: FaultRule[K] };

function badFault(text: string, message: string, hint = EXAMPLE): TroupeError {
  return new TroupeError('bad-flag', `fault '${text}': ${message}`, hint);
}

/** '50ms' → 50; undefined when it is no time. */
export function parseTimeMs(word: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(us|ms|s|m)$/.exec(word);
  return match === null ? undefined : Number(match[1]) * UNIT_MS[match[2]!]!;
}

function parsePercent(word: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)%$/.exec(word);
  return match === null ? undefined : Number(match[1]) / 100;
}

/** 'actor: action clauses' → a rule, checked. Throws TroupeError `bad-flag` or `bad-config`. */
export function parseFault(text: string): FaultRule {
  const colon = text.indexOf(':');
  if (colon < 1) throw badFault(text, 'it names no actor');
  return parseFaultOf(text.slice(0, colon).trim(), text.slice(colon + 1), text);
}

/** The part behind the colon, for an actor that is named elsewhere (`troupe fault GUEST ACTOR KIND …`). */
export function parseFaultOf(actor: string, action: string, text = `${actor}: ${action}`): FaultRule {
  const words = action.split(/[\s,]+/).filter((word) => word !== '');
  const name = words.shift();
  const found = FAULT_ACTIONS.find((a) => a === name);
  if (found === undefined) {
    throw badFault(text, `'${name ?? ''}' is no fault`, `use one of ${FAULT_ACTIONS.join(', ')}`);
  }
  const rule: Draft = actor === '*' ? { action: found } : { actor, action: found };
  takeArgument(rule, found, words);
  while (words.length > 0) takeClause(rule, words, text);
  checkFaultRule(rule, `'${text}'`);
  return rule;
}

function takeArgument(rule: Draft, action: FaultAction, words: string[]): void {
  const word = words[0] ?? '';
  const timeMs = parseTimeMs(word);
  if (action === 'delay' && timeMs !== undefined) rule.delayMs = timeMs;
  else if (action === 'exit' && /^\d+$/.test(word)) rule.exitCode = Number(word);
  else if (action === 'hang' && word === 'asleep') rule.asleep = true;
  else return;
  words.shift();
}

function takeClause(rule: Draft, words: string[], text: string): void {
  const word = words.shift()!;
  const percent = parsePercent(word);
  if (percent !== undefined) {
    if (percent > 1) throw badFault(text, `${word} is more than always`, 'use 100% at most');
    rule.probability = percent;
    return;
  }
  if (word === 'always') {
    rule.every ??= 1;
    return;
  }
  const value = words.shift();
  if (value === undefined) throw badFault(text, endMessage(rule, word), EXAMPLE);
  const timeMs = parseTimeMs(value);
  const count = /^\d+$/.test(value) ? Number(value) : undefined;
  if ((word === 'at' || word === 'after') && timeMs !== undefined) rule.atMs = timeMs;
  else if (word === 'at' && count === undefined) rule.point = value;
  else if (word === 'every' && timeMs !== undefined) {
    rule.everyMs = timeMs;
    rule.atMs ??= timeMs;
  } else if (count !== undefined && isCounted(word)) rule[word] = count;
  else throw badFault(text, `'${word} ${value}' is not understood`);
}

function endMessage(rule: Draft, word: string): string {
  if (word === 'at' || isCounted(word)) return `what comes behind '${word}'?`;
  return rule.action === 'delay' && /^\d/.test(word)
    ? `'${word}' is no time: give it as 50ms`
    : `'${word}' is not understood`;
}

function isCounted(word: string): word is 'after' | 'every' | 'times' | 'generation' {
  return word === 'after' || word === 'every' || word === 'times' || word === 'generation';
}

/** A rule in the language that {@link parseFault} reads. */
export function formatFault(rule: FaultRule): string {
  const words: string[] = [`${rule.actor ?? '*'}: ${rule.action}`];
  if (rule.action === 'delay' && rule.delayMs !== undefined) words.push(`${rule.delayMs}ms`);
  if (rule.action === 'exit' && rule.exitCode !== undefined) words.push(`${rule.exitCode}`);
  if (rule.asleep === true) words.push('asleep');
  if (rule.point !== undefined) words.push(`at ${rule.point}`);
  if (rule.atMs !== undefined) words.push(`after ${rule.atMs}ms`);
  if (rule.everyMs !== undefined) words.push(`every ${rule.everyMs}ms`);
  for (const word of ['after', 'every'] as const)
    if (rule[word] !== undefined) words.push(`${word} ${rule[word]}`);
  if (rule.probability !== undefined) words.push(`${rule.probability * 100}%`);
  for (const word of ['times', 'generation'] as const)
    if (rule[word] !== undefined) words.push(`${word} ${rule[word]}`);
  return words.join(' ');
}
