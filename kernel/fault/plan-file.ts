// A fault plan in a file: YAML (or JSON, which YAML is a superset of).
//   seed: 42
//   faults:
//     - 'virtio-blk-0: crash at request.completed after 1000, every 500'
//     - { actor: vcpu-1, action: hang, atMs: 5000 }
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { TroupeError } from '#shared/base/error.js';
import { checkFaultPlan, type FaultPlan, type FaultRule } from '#shared/ipc/fault-plan.js';
import { parseFault } from '#shared/ipc/fault-text.js';

const FIELDS = new Set<string>([
  ...['actor', 'action', 'point', 'after', 'every', 'probability', 'atMs', 'everyMs', 'times', 'generation'],
  ...['delayMs', 'exitCode', 'asleep'],
]);

/** Reads and checks a plan. `rest`: what else the file says. Throws TroupeError `file-unreadable`, `bad-config` or `bad-flag`. */
export function readFaultPlan(
  path: string,
): FaultPlan & { readonly rest: Readonly<Record<string, unknown>> } {
  const { seed = 0, faults = [], ...rest } = readMapping(path);
  if (!Number.isInteger(seed)) throw badPlan(path, 'the seed is not a whole number', 'write seed: 42');
  if (!Array.isArray(faults)) throw badPlan(path, 'faults is not a list', "write - 'virtio-blk-0: crash'");
  const rules = faults.map((entry: unknown) => readRule(path, entry));
  const plan = { seed: seed as number, rules };
  checkFaultPlan(plan);
  return { ...plan, rest };
}

function readMapping(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new TroupeError('file-unreadable', `cannot read the plan ${path}: ${reason}`, 'check the path', {
      cause,
    });
  }
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    const first = (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
    throw badPlan(path, first, 'it has to be YAML');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badPlan(path, 'it is no mapping', 'write seed: and faults: lines');
  return value as Record<string, unknown>;
}

function readRule(path: string, entry: unknown): FaultRule {
  if (typeof entry === 'string') return parseFault(entry);
  if (typeof entry !== 'object' || entry === null)
    throw badPlan(path, `'${String(entry)}' is no fault`, "write - 'virtio-blk-0: crash'");
  const unknown = Object.keys(entry).find((field) => !FIELDS.has(field));
  if (unknown !== undefined) throw badPlan(path, `a fault has no field '${unknown}'`, [...FIELDS].join(', '));
  return entry as FaultRule;
}

function badPlan(path: string, message: string, hint: string): TroupeError {
  return new TroupeError('bad-config', `plan ${path}: ${message}`, hint);
}
