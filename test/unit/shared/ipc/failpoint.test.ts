import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createFailpoint, InjectedFault, type FaultEffects } from '#shared/ipc/failpoint.js';

class Ended extends Error {}
const effects: FaultEffects = {
  exit: (code) => {
    throw new Ended(`exit ${code}`);
  },
  hang: () => {
    throw new Ended('hang');
  },
  delay: () => {},
};
const actor = { name: 'virtio-blk-0', kind: 'virtio-blk', generation: 1 };

describe('createFailpoint', () => {
  it('is the same empty function for everyone whom no rule names', () => {
    const none = createFailpoint(undefined, actor, effects);
    const other = createFailpoint(
      { seed: 1, rules: [{ actor: 'uart', point: 'p', action: 'crash' }] },
      actor,
      effects,
    );
    expect(other).toBe(none);
  });

  it('strikes at the named hit, once', () => {
    const fail = createFailpoint(
      { seed: 1, rules: [{ actor: 'virtio-blk', point: 'p', action: 'throw', at: 3 }] },
      actor,
      effects,
    );
    expect(fail('p')).toBe('none');
    expect(fail('q')).toBe('none');
    expect(fail('p')).toBe('none');
    expect(() => fail('p')).toThrow(InjectedFault);
    expect(fail('p')).toBe('none');
  });

  it('hands back what only the caller can do, and ends the thread for the rest', () => {
    const plan = (action: 'drop' | 'crash' | 'hang') => ({
      seed: 1,
      rules: [{ point: 'p', action, every: 2 }],
    });
    const drop = createFailpoint(plan('drop'), actor, effects);
    expect([drop('p'), drop('p'), drop('p'), drop('p')]).toEqual(['none', 'drop', 'none', 'drop']);
    const crash = createFailpoint(plan('crash'), actor, effects);
    crash('p');
    expect(() => crash('p')).toThrow('exit 134');
    const hang = createFailpoint(plan('hang'), actor, effects);
    hang('p');
    expect(() => hang('p')).toThrow('hang');
  });

  it('replays from its seed, and differs between generations', () => {
    const run = (seed: number, generation: number): string => {
      const rules = [{ point: 'p', action: 'drop' as const, probability: 0.5 }];
      const fail = createFailpoint({ seed, rules }, { ...actor, generation }, effects);
      return Array.from({ length: 64 }, () => fail('p')[0]).join('');
    };
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 100 }), (seed, generation) => {
        expect(run(seed, generation)).toBe(run(seed, generation));
        expect(run(seed, generation)).not.toBe(run(seed, generation + 1));
      }),
      { numRuns: 50 },
    );
  });
});
