// A supervisor as OTP has it, as a pure decision: given the specification, what happened before and which child exited
// with which reason, what is to be stopped, what started, or does the failure go up? (OTP design principles, "Supervisor
// Behaviour".) No threads and no clock here: spawn.ts carries the decisions out.
//
//   restart     normal or shutdown exit   any other exit
//   permanent   restart                   restart
//   transient   nothing                   restart
//   temporary   nothing                   nothing
//
// More than `intensity` restarts within `periodMs` escalate. On a restart one_for_one replaces the child, one_for_all all
// children, rest_for_one the child and those started after it; a temporary child that is stopped so stays stopped, a transient
// one that had ended its work is started again with the others.
// A supervisor that escalates ends all of its children, and is itself a child that failed, of the supervisor above it.

export type RestartType = 'permanent' | 'transient' | 'temporary';
export type Strategy = 'one_for_one' | 'one_for_all' | 'rest_for_one';

export interface ChildSpec {
  readonly name: string;
  readonly restart: RestartType;
  /** How long a stop may take before the thread is ended by force. */
  readonly shutdownMs: number;
}

export interface SupervisorSpec {
  readonly strategy: Strategy;
  readonly intensity: number;
  readonly periodMs: number;
  /** In start order; they stop in the opposite one. */
  readonly children: readonly ChildSpec[];
}

export type ExitReason =
  /** The actor ended by itself, its work done. */
  | { readonly kind: 'normal' }
  /** Its supervisor stopped it. */
  | { readonly kind: 'shutdown' }
  | { readonly kind: 'error'; readonly message: string; readonly stack?: string | undefined }
  | { readonly kind: 'exit'; readonly code: number }
  /** No heartbeat; `sign`: what told that it hung. */
  | { readonly kind: 'hang'; readonly sign: string }
  /** A test or a user ended the thread. */
  | { readonly kind: 'killed' };

export function describeExit(reason: ExitReason): string {
  switch (reason.kind) {
    case 'normal':
      return 'ended';
    case 'shutdown':
      return 'was stopped';
    case 'error':
      return `failed: ${reason.message}`;
    case 'exit':
      return `exited with code ${reason.code}`;
    case 'hang':
      return `hung: ${reason.sign}`;
    case 'killed':
      return 'was killed';
  }
}

/** What a supervisor remembers: the times of its restarts that still count, and which children are not there. */
export interface SupervisorState {
  readonly restartTimesMs: readonly number[];
  /** Temporary ones, for good. */
  readonly gone: ReadonlySet<string>;
  /** Transient ones whose work was done. */
  readonly ended: ReadonlySet<string>;
}

export const INITIAL_STATE: SupervisorState = { restartTimesMs: [], gone: new Set(), ended: new Set() };

export type Decision =
  | { readonly kind: 'ignore' }
  /** Stop `stop` in this order, then start `start` in this order (the child that exited among them). */
  | { readonly kind: 'restart'; readonly stop: readonly string[]; readonly start: readonly string[] }
  | { readonly kind: 'escalate'; readonly message: string };

export interface Step {
  readonly state: SupervisorState;
  readonly decision: Decision;
}

function wantsRestart(restart: RestartType, reason: ExitReason): boolean {
  switch (restart) {
    case 'permanent':
      return true;
    case 'transient':
      return reason.kind !== 'normal' && reason.kind !== 'shutdown';
    case 'temporary':
      return false;
  }
}

function affectedBy(spec: SupervisorSpec, index: number): readonly ChildSpec[] {
  switch (spec.strategy) {
    case 'one_for_one':
      return [spec.children[index]!];
    case 'one_for_all':
      return spec.children;
    case 'rest_for_one':
      return spec.children.slice(index);
  }
}

/** Decides what follows from the exit of `name` at `nowMs`. */
export function decideOnExit(
  spec: SupervisorSpec,
  state: SupervisorState,
  name: string,
  reason: ExitReason,
  nowMs: number,
): Step {
  const index = spec.children.findIndex((child) => child.name === name);
  const child = spec.children[index];
  if (child === undefined || state.gone.has(name) || state.ended.has(name))
    return { state, decision: { kind: 'ignore' } };
  if (!wantsRestart(child.restart, reason)) {
    const absent = child.restart === 'temporary' ? 'gone' : 'ended';
    return {
      state: { ...state, [absent]: new Set([...state[absent], name]) },
      decision: { kind: 'ignore' },
    };
  }
  const restartTimesMs = [...state.restartTimesMs.filter((t) => nowMs - t <= spec.periodMs), nowMs];
  if (restartTimesMs.length > spec.intensity) {
    const message = `${name} ${describeExit(reason)}; more than ${spec.intensity} restarts in ${spec.periodMs} ms`;
    return { state: { ...state, restartTimesMs }, decision: { kind: 'escalate', message } };
  }
  const present = affectedBy(spec, index).filter((c) => !state.gone.has(c.name));
  const start = present.filter((c) => c.restart !== 'temporary').map((c) => c.name);
  const stop = present.map((c) => c.name).filter((n) => n !== name && !state.ended.has(n));
  const gone = new Set([...state.gone, ...stop.filter((n) => !start.includes(n))]);
  const ended = new Set([...state.ended].filter((n) => !start.includes(n)));
  return {
    state: { restartTimesMs, gone, ended },
    decision: { kind: 'restart', stop: stop.reverse(), start },
  };
}
