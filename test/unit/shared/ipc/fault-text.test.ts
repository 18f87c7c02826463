import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FAILPOINTS } from '#shared/ipc/failpoint-catalogue.js';
import { FAULT_ACTIONS, MESSAGE_ACTIONS, type FaultRule } from '#shared/ipc/fault-plan.js';
import { formatFault, parseFault, parseFaultOf } from '#shared/ipc/fault-text.js';

describe('parseFault', () => {
  it.each<[string, FaultRule]>([
    [
      'virtio-blk-0: crash at request.completed after 1000, every 500',
      { actor: 'virtio-blk-0', action: 'crash', point: 'request.completed', after: 1000, every: 500 },
    ],
    ['vcpu-1: hang at 5s', { actor: 'vcpu-1', action: 'hang', atMs: 5000 }],
    [
      'vcpu: hang asleep after 1.5s every 2m',
      { actor: 'vcpu', action: 'hang', asleep: true, atMs: 1500, everyMs: 120_000 },
    ],
    ['uart: delay 50ms always', { actor: 'uart', action: 'delay', delayMs: 50, every: 1 }],
    ['*: drop 1%', { action: 'drop', probability: 0.01 }],
    [
      'virtio-rng: exit 3 generation 2 times 4',
      { actor: 'virtio-rng', action: 'exit', exitCode: 3, generation: 2, times: 4 },
    ],
    ['chipset: oom every 10s', { actor: 'chipset', action: 'oom', atMs: 10_000, everyMs: 10_000 }],
  ])('reads %s', (text, rule) => {
    expect(parseFault(text)).toEqual(rule);
  });

  it.each([
    ['crash', /names no actor/],
    ['uart: explode', /'explode' is no fault/],
    ['uart: crash at nowhere', /no failpoint 'nowhere'/],
    ['uart: crash after', /what comes behind 'after'/],
    ['uart: crash sometimes 3', /'sometimes 3' is not understood/],
    ['uart: drop at flush', /drop needs a message/],
    ['uart: crash every 0', /every is 0/],
    ['uart: drop 200%', /200% is more than always/],
    ['uart: delay 50', /'50' is no time: give it as 50ms/],
    ['uart: crash soon', /'soon' is not understood/],
    ['uart: crash at nowhere', /^fault 'uart: crash at nowhere': /],
  ])('refuses %s', (text, message) => {
    expect(() => parseFault(text)).toThrow(message);
  });

  it('reads what it writes', () => {
    const count = fc.option(fc.integer({ min: 1, max: 1e6 }), { nil: undefined });
    const time = fc.option(fc.integer({ min: 1, max: 1e6 }), { nil: undefined });
    const rules = fc
      .record({
        actor: fc.option(fc.constantFrom('vcpu-0', 'virtio-blk'), { nil: undefined }),
        action: fc.constantFrom(...FAULT_ACTIONS),
        point: fc.option(fc.constantFrom(...Object.keys(FAILPOINTS)), { nil: undefined }),
        after: count,
        every: count,
        atMs: time,
        everyMs: time,
        probability: fc.option(
          fc.integer({ min: 0, max: 100 }).map((n) => n / 100),
          { nil: undefined },
        ),
        times: count,
        generation: count,
      })
      .map(({ point, everyMs, ...rule }) => ({
        ...rule,
        ...(MESSAGE_ACTIONS.has(rule.action) ? {} : { point }),
        ...(rule.atMs === undefined ? {} : { everyMs }),
      }));
    fc.assert(
      fc.property(rules, (draft) => {
        const rule = Object.fromEntries(
          Object.entries(draft).filter(([, v]) => v !== undefined),
        ) as unknown as FaultRule;
        const again = parseFault(formatFault(rule));
        expect({ ...again, probability: again.probability?.toFixed(6) }).toEqual({
          ...rule,
          probability: rule.probability?.toFixed(6),
        });
      }),
    );
  });

  it('takes the actor from elsewhere', () => {
    expect(parseFaultOf('virtio-blk-0', 'delay 50ms')).toEqual({
      actor: 'virtio-blk-0',
      action: 'delay',
      delayMs: 50,
    });
  });
});
