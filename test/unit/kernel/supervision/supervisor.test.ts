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

const SEQUENCES = 10_000;

const reason: fc.Arbitrary<ExitReason> = fc.constantFrom<ExitReason>(
  { kind: 'normal' },
  { kind: 'shutdown' },
  { kind: 'error', message: 'x' },
  { kind: 'exit', code: 3 },
  { kind: 'hang', sign: '' },
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

/** One supervisor, by the rules of OTP, written from OTP's manual without a look at the decision code. */
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
    for (const child of all.slice(from, to)) {
      // supervisor.erl keeps the specification of a transient child that ended: it starts with the rest.
      if (child.restart !== 'temporary') this.alive.add(child.name);
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
      { numRuns: SEQUENCES },
    );
  });

  it('stops in the opposite of start order and starts in it', () => {
    const children = ['a', 'b', 'c', 'd'].map((name): ChildSpec => ({
      name,
      restart: 'permanent',
      shutdownMs: 1,
    }));
    const spec: SupervisorSpec = { strategy: 'rest_for_one', intensity: 1, periodMs: 10, children };
    const { decision } = decideOnExit(spec, INITIAL_STATE, 'b', { kind: 'hang', sign: '' }, 0);
    expect(decision).toEqual({ kind: 'restart', stop: ['d', 'c'], start: ['b', 'c', 'd'] });
  });

  it('forgets restarts that are older than the period', () => {
    const children: ChildSpec[] = [{ name: 'a', restart: 'permanent', shutdownMs: 1 }];
    const spec: SupervisorSpec = { strategy: 'one_for_one', intensity: 1, periodMs: 10, children };
    const first = decideOnExit(spec, INITIAL_STATE, 'a', { kind: 'killed' }, 0);
    expect(decideOnExit(spec, first.state, 'a', { kind: 'killed' }, 10).decision.kind).toBe('escalate');
    expect(decideOnExit(spec, first.state, 'a', { kind: 'killed' }, 11).decision.kind).toBe('restart');
  });

  it(
    'nests: a supervisor that gives up is a child that failed, of the one above',
    { timeout: 120_000 },
    () => {
      const tree = fc.record({
        outer: specification,
        inner: fc.array(specification, { minLength: 5, maxLength: 5 }),
      });
      const event = fc.record({
        outer: fc.nat(4),
        inner: fc.nat(4),
        why: reason,
        waitMs: fc.integer({ min: 0, max: 60 }),
      });
      fc.assert(
        fc.property(tree, fc.array(event, { maxLength: 40 }), ({ outer, inner }, events) => {
          const model = new ModelNest(outer, inner);
          const nest = new DecidedNest(outer, inner);
          let now = 0;
          for (const { outer: o, inner: i, why, waitMs } of events) {
            now += waitMs;
            const supervisor = outer.children[o % outer.children.length]!.name;
            const spec = inner[Number(supervisor.slice(1))]!;
            const child = spec.children[i % spec.children.length]!.name;
            model.exit(supervisor, child, why, now);
            nest.exit(supervisor, child, why, now);
            expect(nest.dead).toBe(model.dead);
            if (model.dead) return;
            expect(nest.living()).toEqual(model.living());
          }
        }),
        { numRuns: SEQUENCES },
      );
    },
  );
});

const GAVE_UP: ExitReason = { kind: 'error', message: 'gave up' };

/** Two levels by the rules: each child of the outer supervisor is a supervisor that starts whole. */
class ModelNest {
  readonly #outer: ModelTree;
  readonly #specs: readonly SupervisorSpec[];
  readonly #trees = new Map<string, ModelTree>();

  constructor(outer: SupervisorSpec, specs: readonly SupervisorSpec[]) {
    this.#outer = new ModelTree(outer);
    this.#specs = specs;
    for (const { name } of outer.children) this.#start(name);
  }

  get dead(): boolean {
    return this.#outer.dead;
  }

  exit(supervisor: string, child: string, why: ExitReason, now: number): void {
    const tree = this.#trees.get(supervisor);
    if (tree === undefined || !tree.alive.has(child)) return;
    tree.exit(child, why, now);
    if (!tree.dead) return;
    const before = new Set(this.#outer.alive);
    this.#outer.exit(supervisor, GAVE_UP, now);
    this.#trees.delete(supervisor);
    if (this.#outer.dead) return;
    // Which of them are new follows from the strategy alone.
    const all = this.#outer.spec.children.map((c) => c.name);
    const { strategy } = this.#outer.spec;
    const from = strategy === 'one_for_all' ? 0 : all.indexOf(supervisor);
    const to = strategy === 'one_for_one' ? from + 1 : all.length;
    for (const [i, name] of all.entries()) {
      if (!this.#outer.alive.has(name)) this.#trees.delete(name);
      else if (!before.has(name) || (i >= from && i < to && this.#outer.alive.has(supervisor)))
        this.#start(name);
    }
  }

  living(): string[] {
    return [...this.#trees].flatMap(([name, tree]) => [...tree.alive].map((c) => `${name}/${c}`)).sort();
  }

  #start(name: string): void {
    this.#trees.set(name, new ModelTree(this.#specs[Number(name.slice(1))]!));
  }
}

/** The same, out of decideOnExit alone. */
class DecidedNest {
  dead = false;
  readonly #outer: SupervisorSpec;
  readonly #specs: readonly SupervisorSpec[];
  #outerState = INITIAL_STATE;
  readonly #inner = new Map<string, { state: typeof INITIAL_STATE; alive: Set<string> }>();

  constructor(outer: SupervisorSpec, specs: readonly SupervisorSpec[]) {
    this.#outer = outer;
    this.#specs = specs;
    for (const { name } of outer.children) this.#start(name);
  }

  exit(supervisor: string, child: string, why: ExitReason, now: number): void {
    const tree = this.#inner.get(supervisor);
    if (tree === undefined || !tree.alive.delete(child)) return;
    const { state, decision } = decideOnExit(this.#spec(supervisor), tree.state, child, why, now);
    tree.state = state;
    if (decision.kind === 'restart') {
      for (const n of decision.stop) expect(tree.alive.delete(n)).toBe(true);
      for (const n of decision.start) tree.alive.add(n);
    } else if (decision.kind === 'escalate') {
      this.#inner.delete(supervisor);
      this.#escalate(supervisor, now);
    }
  }

  living(): string[] {
    return [...this.#inner].flatMap(([name, { alive }]) => [...alive].map((c) => `${name}/${c}`)).sort();
  }

  #escalate(supervisor: string, now: number): void {
    const step = decideOnExit(this.#outer, this.#outerState, supervisor, GAVE_UP, now);
    this.#outerState = step.state;
    const { decision } = step;
    if (decision.kind === 'escalate') this.dead = true;
    if (decision.kind !== 'restart') return;
    for (const n of decision.stop) expect(this.#inner.delete(n)).toBe(true);
    for (const n of decision.start) this.#start(n);
  }

  #spec(name: string): SupervisorSpec {
    return this.#specs[Number(name.slice(1))]!;
  }

  #start(name: string): void {
    this.#inner.set(name, {
      state: INITIAL_STATE,
      alive: new Set(this.#spec(name).children.map((c) => c.name)),
    });
  }
}
