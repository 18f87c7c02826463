// Whom a fault rule can strike in a machine. One that can strike nobody is a slip of its author's.
import { TroupeError } from '#shared/base/error.js';
import { FAILPOINTS } from '#shared/ipc/failpoint-catalogue.js';
import { ruleNames, rulePoints, type FaultRule } from '#shared/ipc/fault-plan.js';
import { formatFault } from '#shared/ipc/fault-text.js';

export interface Victim {
  readonly name: string;
  readonly kind: string;
}

const KINDS: ReadonlyMap<string, readonly string[] | 'all'> = new Map(
  Object.entries(FAILPOINTS).map(([point, { kinds }]) => [point, kinds]),
);
const KNOWN_KINDS = new Set([...KINDS.values()].flatMap((kinds) => (kinds === 'all' ? [] : kinds)));

/** Throws TroupeError `bad-config` when no actor has that name or kind, or none of them passes the point. */
export function checkVictims(rule: FaultRule, actors: readonly Victim[]): void {
  const bad = (message: string, hint: string): never => {
    throw new TroupeError('bad-config', `fault '${formatFault(rule)}': ${message}`, hint);
  };
  const victims = actors.filter((actor) => ruleNames(rule, actor));
  if (victims.length === 0)
    bad(`there is no actor ${rule.actor}`, `there are ${actors.map((actor) => actor.name).join(', ')}`);
  const passes = ({ kind }: Victim, point: string): boolean => {
    const kinds = KINDS.get(point);
    return kinds === undefined || kinds === 'all' || kinds.includes(kind) || !KNOWN_KINDS.has(kind);
  };
  if (rulePoints(rule).some((point) => victims.some((victim) => passes(victim, point)))) return;
  const passed = [...KINDS.keys()].filter((point) => victims.some((victim) => passes(victim, point)));
  bad(`${rule.actor} never passes ${rulePoints(rule).join(' or ')}`, `it passes ${passed.join(', ')}`);
}
