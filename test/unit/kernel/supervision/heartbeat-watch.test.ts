import { describe, expect, it } from 'vitest';
import { judgeHeartbeat, type HeartbeatRecord } from '#kernel/supervision/heartbeat-watch.js';
import { PHASE_IDLE, PHASE_PAUSED, PHASE_RUNNING } from '#shared/ipc/heartbeat.js';

const limits = { periodMs: 100, hangMs: 1000 };

function watch(samples: { count: number; phase: number; bell: number }[], turnMs = 100): string[] {
  let record: HeartbeatRecord | undefined;
  return samples.map((sample) => {
    const result = judgeHeartbeat(record, sample, turnMs, limits);
    record = result.record;
    return result.verdict;
  });
}

const still = (phase: number, bell: number, n: number) =>
  Array.from({ length: n }, () => ({ count: 5, phase, bell }));

describe('judgeHeartbeat', () => {
  it('suspects after half of the limit and condemns after all of it', () => {
    const verdicts = watch(still(PHASE_RUNNING, 0, 11));
    expect(verdicts.slice(0, 5)).toEqual(Array(5).fill('alive'));
    expect(verdicts.slice(5, 10)).toEqual(Array(5).fill('suspect'));
    expect(verdicts[10]).toBe('hang');
  });

  it('lets an actor sleep for ever, but not with a rung doorbell', () => {
    expect(new Set(watch(still(PHASE_IDLE, 0, 50)))).toEqual(new Set(['alive']));
    expect(new Set(watch(still(PHASE_PAUSED, 1, 50)))).toEqual(new Set(['alive']));
    expect(watch(still(PHASE_IDLE, 2, 11))[10]).toBe('hang');
  });

  it('counts its own turns, not the wall clock: a suspended host condemns nobody', () => {
    expect(watch(still(PHASE_RUNNING, 0, 3), 3_600_000)).toEqual(['alive', 'alive', 'alive']);
  });

  it('forgives with the first beat', () => {
    const samples = [...still(PHASE_RUNNING, 0, 9), { count: 6, phase: PHASE_RUNNING, bell: 0 }];
    expect(watch(samples)[9]).toBe('alive');
  });
});
