import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  INITIAL_STATE,
  decideOnExit,
  type ChildSpec,
  type ExitReason,
  type Strategy,
  type SupervisorSpec,
} from '#kernel/supervision/supervisor.js';

const reason: fc.Arbitrary<ExitReason> = fc.constantFrom<ExitReason>(
  { kind: 'normal' },
  { kind: 'shutdown' },
  { kind: 'error', message: 'x' },
  { kind: 'exit', code: 3 },
  { kind: 'hang' },
  { kind: 'killed' },
);
const specification: fc.Arbitrary<SupervisorSpec> = fc.record({
  strategy: fc.constantFrom<Strategy>('one_for_one', 'one_for_all', 'rest_for_one'),
  intensity: fc.integer({ min: 0, max: 4 }),
  periodMs: fc.integer({ min: 1, max: 100 }),
  children: fc
    .array(fc.constantFrom('permanent', 'transient', 'temporary'), { minLength: 1, maxLength: 5 })
    .map((types) => types.map((restart, i) => ({ name: `c${i}`, restart, shutdownMs: 1 }) as ChildSpec)),
});

/** A tree that obeys the decisions, written from OTP's manual without a look at the decision code. */
class ModelTree {
  alive: Set<string>;
  restarts: number[] = [];
  dead = false;
  readonly spec: SupervisorSpec;

  constructor(spec: SupervisorSpec) {
    this.spec = spec;
    this.alive = new Set(spec.children.map((c) => c.name));
  }

  exit(name: string, why: ExitReason, now: number): void {
    const all = this.spec.children;
    const index = all.findIndex((c) => c.name === name);
    const restart = all[index]!.restart;
    this.alive.delete(name);
    const abnormal = why.kind !== 'normal' && why.kind !== 'shutdown';
    if (restart === 'temporary' || (restart === 'transient' && !abnormal)) return;
    this.restarts = this.restarts.filter((t) => now - t <= this.spec.periodMs);
    this.restarts.push(now);
    if (this.restarts.length > this.spec.intensity) {
      this.dead = true;
      return;
    }
    const from = this.spec.strategy === 'one_for_all' ? 0 : index;
    const to = this.spec.strategy === 'one_for_one' ? index + 1 : all.length;
    for (const child of all.slice(from, to)) {
      if (child.name !== name && child.restart === 'temporary') this.alive.delete(child.name);
    }
    this.alive.add(name);
  }
}

describe('decideOnExit', () => {
  it('keeps the same children alive and escalates at the same time as a model of OTP', () => {
    const event = fc.record({ child: fc.nat(4), why: reason, waitMs: fc.integer({ min: 0, max: 60 }) });
    fc.assert(
      fc.property(specification, fc.array(event, { maxLength: 40 }), (spec, events) => {
        const model = new ModelTree(spec);
        let state = INITIAL_STATE;
        const alive = new Set(spec.children.map((c) => c.name));
        let now = 0;
        for (const { child, why, waitMs } of events) {
          now += waitMs;
          const name = spec.children[child % spec.children.length]!.name;
          if (!alive.has(name)) continue;
          model.exit(name, why, now);
          alive.delete(name);
          const step = decideOnExit(spec, state, name, why, now);
          state = step.state;
          expect(step.decision.kind === 'escalate').toBe(model.dead);
          if (model.dead) return;
          if (step.decision.kind === 'restart') {
            for (const n of step.decision.stop) expect(alive.delete(n)).toBe(true);
            for (const n of step.decision.start) alive.add(n);
          }
          expect([...alive].sort()).toEqual([...model.alive].sort());
        }
      }),
      { numRuns: 500 },
    );
  });

  it('stops in the opposite of start order and starts in it', () => {
    const children = ['a', 'b', 'c', 'd'].map((name): ChildSpec => ({
      name,
      restart: 'permanent',
      shutdownMs: 1,
    }));
    const spec: SupervisorSpec = { strategy: 'rest_for_one', intensity: 1, periodMs: 10, children };
    const { decision } = decideOnExit(spec, INITIAL_STATE, 'b', { kind: 'hang' }, 0);
    expect(decision).toEqual({ kind: 'restart', stop: ['d', 'c'], start: ['b', 'c', 'd'] });
  });

  it('forgets restarts that are older than the period', () => {
    const children: ChildSpec[] = [{ name: 'a', restart: 'permanent', shutdownMs: 1 }];
    const spec: SupervisorSpec = { strategy: 'one_for_one', intensity: 1, periodMs: 10, children };
    const first = decideOnExit(spec, INITIAL_STATE, 'a', { kind: 'killed' }, 0);
    expect(decideOnExit(spec, first.state, 'a', { kind: 'killed' }, 10).decision.kind).toBe('escalate');
    expect(decideOnExit(spec, first.state, 'a', { kind: 'killed' }, 11).decision.kind).toBe('restart');
  });
});
