import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { monotonicNs } from '#shared/base/clock.js';
import { FaultPoints, InjectedFault, type FaultEffects, type Failpoint } from '#shared/ipc/failpoint.js';
import {
  FAULT_COUNTERS_BYTES,
  grantFault,
  loadFaultStrikes,
  type FaultPlan,
  type FaultRule,
} from '#shared/ipc/fault-plan.js';

class Ended extends Error {}
const end = (how: string): never => {
  throw new Ended(how);
};
const effects: FaultEffects = {
  exit: (code) => end(`exit ${code}`),
  exhaustMemory: () => end('oom'),
  hang: (asleep) => end(asleep ? 'asleep' : 'circle'),
  delay: () => {},
};
const actor = { name: 'virtio-blk-0', kind: 'virtio-blk', generation: 1 };
const counters = { offset: 0, bytes: FAULT_COUNTERS_BYTES };
const makeCounters = (): Int32Array => new Int32Array(new SharedArrayBuffer(FAULT_COUNTERS_BYTES));

function points(rules: readonly FaultRule[], i32 = makeCounters(), generation = 1, seed = 1): Failpoint {
  const plan: FaultPlan = { seed, rules };
  return new FaultPoints(plan, { ...actor, generation }, effects, i32, counters).pass;
}

/** 'x' where a rule struck; the actor is replaced whenever it died. */
function strikes(rule: FaultRule, hits: number, seed = 1): string {
  const i32 = makeCounters();
  let generation = 1;
  let pass = points([rule], i32, generation, seed);
  return Array.from({ length: hits }, () => {
    try {
      return pass('loop') === 'none' ? '.' : 'x';
    } catch {
      pass = points([rule], i32, ++generation, seed);
      return 'x';
    }
  }).join('');
}

describe('FaultPoints', () => {
  afterEach(() => vi.restoreAllMocks());

  it('strikes nobody whom no rule names', () => {
    const pass = points([
      { actor: 'uart', action: 'throw', every: 1 },
      { action: 'throw', generation: 2 },
    ]);
    for (let i = 0; i < 10; i++) expect(pass('loop')).toBe('none');
  });

  it.each<[string, FaultRule, string]>([
    ['once', { action: 'crash' }, 'x.........'],
    ['once, after hits', { action: 'crash', after: 4 }, '...x......'],
    ['again and again', { action: 'crash', every: 3 }, '..x..x..x.'],
    ['again from a first', { action: 'crash', after: 2, every: 4 }, '.x...x...x'],
    ['a number of times', { action: 'crash', every: 2, times: 2 }, '.x.x......'],
  ])('strikes %s, counting across generations', (_name, rule, expected) => {
    expect(strikes(rule, 10)).toBe(expected);
  });

  it.each<[FaultRule, string]>([
    [{ action: 'crash' }, 'exit 134'],
    [{ action: 'exit', exitCode: 3 }, 'exit 3'],
    [{ action: 'oom' }, 'oom'],
    [{ action: 'hang' }, 'circle'],
    [{ action: 'hang', asleep: true }, 'asleep'],
  ])('carries out %j', (rule, how) => {
    expect(() => points([rule])('loop')).toThrow(how);
  });

  it('throws, and hands back what only a mailbox can do', () => {
    expect(() => points([{ action: 'throw' }])('loop')).toThrow(InjectedFault);
    const pass = points([{ action: 'drop', every: 1 }]);
    expect([pass('loop'), pass('message.send'), pass('message.receive')]).toEqual(['none', 'drop', 'drop']);
  });

  it('waits for its time', () => {
    const i32 = makeCounters();
    const pass = points([{ action: 'drop', point: 'loop', atMs: 5, everyMs: 5 }], i32);
    expect(pass('loop')).toBe('none');
    grantFault(i32, counters, 0);
    expect([pass('loop'), pass('loop')]).toEqual(['drop', 'none']);
    // Where nobody came by, times do not pile up.
    grantFault(i32, counters, 0);
    grantFault(i32, counters, 0);
    expect([pass('loop'), pass('loop')]).toEqual(['drop', 'none']);
    expect(loadFaultStrikes(i32, counters, 0).strikes).toBe(2);
  });

  it('spares one whose replacement was slow for as long when it strikes every so often, but for its start', () => {
    const i32 = makeCounters();
    const rules: FaultRule[] = [
      { action: 'drop', point: 'loop', atMs: 5, everyMs: 5 },
      { action: 'drop', point: 'start', atMs: 5, everyMs: 5 },
      { action: 'drop', point: 'loop', atMs: 5 },
    ];
    const now = vi.spyOn(performance, 'now').mockReturnValue(10_000);
    const successor = (downMs: number, some: readonly FaultRule[]): Failpoint => {
      const victim = { ...actor, generation: 2, predecessorEndedNs: monotonicNs() - downMs * 1e6 };
      return new FaultPoints({ seed: 1, rules: some }, victim, effects, i32, counters).pass;
    };
    const grant = (): void => rules.forEach((_, index) => grantFault(i32, counters, index));
    grant();
    expect(successor(499, rules.slice(0, 1))('loop')).toBe('drop');
    grant();
    const slow = successor(2000, rules.slice(0, 2));
    expect([slow('start'), slow('loop')]).toEqual(['drop', 'none']);
    now.mockReturnValue(11_999);
    expect(slow('loop')).toBe('none');
    now.mockReturnValue(12_001);
    expect(slow('loop')).toBe('drop');
    grant();
    expect(successor(2000, rules)('loop')).toBe('drop'); // the third is not one that strikes every so often
  });

  it('arms a rule later', () => {
    const i32 = makeCounters();
    const faults = new FaultPoints(undefined, actor, effects, i32, counters);
    let told = 0;
    faults.whenArmed(() => told++);
    expect(faults.pass('loop')).toBe('none');
    expect(told).toBe(0);
    faults.arm(7, { actor: 'virtio-blk', action: 'crash' });
    expect(() => faults.pass('loop')).toThrow('exit 134');
    expect(loadFaultStrikes(i32, counters, 7).strikes).toBe(1);
    faults.arm(8, { actor: 'virtio-blk', action: 'crash' });
    faults.whenArmed(() => told++);
    expect(told).toBe(2);
  });

  it('tells who leaves out points where one is wanted', () => {
    const faults = new FaultPoints(undefined, actor, effects, makeCounters(), counters);
    const wanted = (): boolean[] => [
      faults.hasRuleAt(['loop']),
      faults.hasRuleAt(['loop', 'request.completed']),
    ];
    expect(wanted()).toEqual([false, false]);
    faults.arm(0, { actor: 'virtio-blk', action: 'crash', atMs: 5, everyMs: 5 }); // the kernel wakes its victim
    faults.arm(1, { actor: 'uart', action: 'crash', after: 5 });
    expect(wanted()).toEqual([false, false]);
    faults.arm(2, { actor: 'virtio-blk', action: 'crash', point: 'request.completed', atMs: 5 });
    expect(wanted()).toEqual([false, true]);
    faults.arm(3, { actor: 'virtio-blk', action: 'crash', after: 5 });
    expect(wanted()).toEqual([true, true]);
  });

  it('replays from its seed, whoever dies when', () => {
    const rule: FaultRule = { action: 'crash', probability: 0.5 };
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        expect(strikes(rule, 64, seed)).toBe(strikes({ ...rule, action: 'drop', point: 'loop' }, 64, seed));
        expect(strikes(rule, 64, seed)).not.toBe(strikes(rule, 64, seed + 1));
      }),
      { numRuns: 50 },
    );
  });
});
