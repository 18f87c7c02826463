// What a chaos plan says beside its faults: how long the workload runs, and on which machine.
import { TroupeError } from '#shared/base/error.js';
import type { FaultPlan } from '#shared/ipc/fault-plan.js';
import { parseTimeMs } from '#shared/ipc/fault-text.js';
import { ENGINE_TIERS, type EngineTier } from '#actors/vcpu/protocol.js';
import { readFaultPlan } from '../fault/plan-file.js';

export interface ChaosPlan {
  readonly faults: FaultPlan;
  /** Of the workload in each run, in seconds. */
  readonly seconds: number;
  readonly smp: number;
  readonly memory: string;
  readonly diskMib: number;
  readonly tier: EngineTier | undefined;
  /** Restarts that the supervisors allow within ten seconds. */
  readonly intensity: number;
  readonly heartbeatMs: number;
  /** Warm threads in reserve. */
  readonly spares: number;
}

const DEFAULT_SECONDS = 20;
const MAX_SECONDS = 24 * 3600;

/** Reads a plan. Throws TroupeError `file-unreadable`, `bad-config` or `bad-flag`. */
export function readChaosPlan(path: string): ChaosPlan {
  const { rest, ...faults } = readFaultPlan(path);
  const known = ['duration', 'smp', 'memory', 'diskMib', 'tier', 'intensity', 'heartbeat', 'spares'];
  const unknown = Object.keys(rest).find((key) => !known.includes(key));
  const bad = (message: string, hint: string): TroupeError =>
    new TroupeError('bad-config', `plan ${path}: ${message}`, hint);
  if (unknown !== undefined)
    throw bad(`'${unknown}' is not known`, `use ${['seed', 'faults', ...known].join(', ')}`);
  const time = (key: string, fallbackMs: number): number => {
    const value = rest[key];
    if (value === undefined) return fallbackMs;
    const timeMs = parseTimeMs(String(value));
    if (timeMs === undefined || timeMs < 20)
      throw bad(`${key}: ${String(value)} is no time`, `write ${key}: 20s`);
    return timeMs;
  };
  const count = (key: string, fallback: number): number => {
    const value = rest[key] ?? fallback;
    if (!Number.isInteger(value) || (value as number) < 1)
      throw bad(`${key} is no whole number`, `write ${key}: 2`);
    return value as number;
  };
  const tier = ENGINE_TIERS.find((t) => t === rest['tier']);
  if (rest['tier'] !== undefined && tier === undefined)
    throw bad(`there is no tier '${String(rest['tier'])}'`, ENGINE_TIERS.join(', '));
  const seconds = Math.ceil(time('duration', DEFAULT_SECONDS * 1000) / 1000);
  if (seconds > MAX_SECONDS) throw bad('a run lasts longer than a day', 'use more runs');
  return {
    ...{ faults, seconds, smp: count('smp', 2), memory: String(rest['memory'] ?? '256M'), tier },
    ...{
      diskMib: count('diskMib', 8),
      intensity: count('intensity', 1000),
      spares: count('spares', 1),
      heartbeatMs: time('heartbeat', 500),
    },
  };
}
