// Carries the supervisor's decisions out: starts actors as worker threads, watches their exits and heartbeats, restarts
// them with the next generation and the same identity (name, state page, mailboxes), and stops them in reverse order.
import { hostClock } from '#shared/base/clock.js';
import { TroupeError } from '#shared/base/error.js';
import type { ActorControl, ActorSeed } from '#shared/ipc/actor.js';
import { BELL_CONTROL, BELL_PING, doorbellIndex, peekDoorbell, ringDoorbell } from '#shared/ipc/doorbell.js';
import { PHASE_STARTING, heartbeatIndex, loadHeartbeat, loadPhase, setPhase } from '#shared/ipc/heartbeat.js';
import type { Logger } from '#shared/ipc/log.js';
import type { ActorLayout } from '#shared/memory/machine-layout.js';
import { ActorWorker } from './actor-worker.js';
import { judgeHeartbeat, type HeartbeatRecord } from './heartbeat-watch.js';
import {
  INITIAL_STATE,
  decideOnExit,
  describeExit,
  type ChildSpec,
  type Decision,
  type ExitReason,
  type SupervisorSpec,
  type SupervisorState,
} from './supervisor.js';

/** How to make an actor of which the supervisor knows only the name. */
export interface ActorSpec extends ChildSpec {
  readonly entry: URL;
  readonly layout: ActorLayout;
  /** Seed but for what changes with each generation. */
  readonly seed: Omit<ActorSeed, 'generation' | 'startPaused'>;
  /** Beyond the doorbell: ends the actor's own way of sleeping (a vCPU's PENDING word). */
  readonly kick?: () => void;
}

export interface SupervisionLimits {
  /** Period of the heartbeat watch. */
  readonly periodMs: number;
  /** Silence that ends an actor; 0 turns the watch off. */
  readonly hangMs: number;
  /** An actor must be ready by then. */
  readonly startMs: number;
  /** A control call must be answered by then. */
  readonly callMs: number;
}

export const DEFAULT_LIMITS: SupervisionLimits = {
  periodMs: 500,
  hangMs: 10_000,
  startMs: 30_000,
  callMs: 10_000,
};

export interface SupervisorHost {
  readonly i32: Int32Array;
  readonly log: Logger;
  /** The supervisor has stopped all of its children and gives up. */
  escalate(message: string): void;
}

/** What `status` tells of one actor. */
export interface ActorStatus {
  readonly name: string;
  readonly generation: number;
  readonly running: boolean;
  readonly lastExit: ExitReason | undefined;
}

interface Child {
  readonly spec: ActorSpec;
  generation: number;
  worker: ActorWorker | undefined;
  record: HeartbeatRecord | undefined;
  lastExit: ExitReason | undefined;
}

export class ActorSupervisor {
  readonly #spec: SupervisorSpec;
  readonly #host: SupervisorHost;
  readonly #limits: SupervisionLimits;
  readonly #children: readonly Child[];
  #state: SupervisorState = INITIAL_STATE;
  #paused = true;
  #stopping = false;
  /** Exits are dealt with one after the other. */
  #queue: Promise<void> = Promise.resolve();
  #watch: NodeJS.Timeout | undefined;
  #lastTurnMs = 0;

  constructor(
    spec: Omit<SupervisorSpec, 'children'>,
    actors: readonly ActorSpec[],
    host: SupervisorHost,
    limits: Partial<SupervisionLimits> = {},
  ) {
    this.#spec = { ...spec, children: actors };
    this.#host = host;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    const makeChild = (actor: ActorSpec): Child => ({
      spec: actor,
      generation: 0,
      worker: undefined,
      record: undefined,
      lastExit: undefined,
    });
    this.#children = actors.map(makeChild);
  }

  /** Starts all children, paused; resolves when all are ready. Rejects with the first failure; then stop() cleans up. */
  async start(): Promise<void> {
    for (const child of this.#children) this.#spawn(child);
    await Promise.all(this.#children.map((child) => this.#untilReady(child.worker!)));
    if (this.#limits.hangMs > 0) this.#startWatch();
  }

  /** Resolves when no child touches guest memory any more. */
  async pause(): Promise<void> {
    this.#paused = true;
    await this.#callAll('pause');
  }

  async resume(): Promise<void> {
    this.#paused = false;
    await this.#callAll('resume');
  }

  /** Stops all children, last started first, each within its shutdown time-out. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#watch);
    await this.#queue.catch(() => {});
    await this.#stopChildren([...this.#children].reverse());
  }

  /** Ends all threads at once, without asking them: for actors that keep nothing outside the arena. */
  async terminate(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#watch);
    await this.#queue.catch(() => {});
    const end = async (child: Child): Promise<void> => {
      const { worker } = child;
      if (worker === undefined) return;
      child.worker = undefined;
      await worker.end({ kind: 'shutdown' });
      child.lastExit ??= await worker.exited;
    };
    await Promise.all(this.#children.map(end));
  }

  /** A control call to one actor. */
  async call<K extends keyof ActorControl>(
    name: string,
    method: K,
    ...args: Parameters<ActorControl[K]>
  ): Promise<Awaited<ReturnType<ActorControl[K]>>> {
    const worker = this.#child(name).worker;
    if (worker === undefined) throw new TroupeError('not-running', `${name} is not running`);
    return worker.call(method, this.#limits.callMs, ...args);
  }

  /** Ends one actor's thread, as a crash would. Resolves when it is gone; the restart follows. */
  async kill(name: string): Promise<void> {
    await this.#child(name).worker?.end({ kind: 'killed' });
  }

  has(name: string): boolean {
    return this.#children.some((child) => child.spec.name === name);
  }

  status(): ActorStatus[] {
    return this.#children.map(({ spec, generation, worker, lastExit }) => ({
      name: spec.name,
      generation,
      running: worker !== undefined && !worker.gone,
      lastExit,
    }));
  }

  #child(name: string): Child {
    const child = this.#children.find((c) => c.spec.name === name);
    if (child === undefined) throw new TroupeError('bad-config', `there is no actor ${name}`);
    return child;
  }

  #spawn(child: Child): void {
    const { spec } = child;
    const { i32, log } = this.#host;
    child.generation++;
    child.record = undefined;
    setPhase(i32, heartbeatIndex(spec.layout.heartbeat), PHASE_STARTING);
    const seed: ActorSeed = { ...spec.seed, generation: child.generation, startPaused: this.#paused };
    const worker = new ActorWorker(spec.entry, seed, () => this.#ring(child, BELL_CONTROL));
    child.worker = worker;
    log.debug({ child: spec.name, childGeneration: child.generation }, 'actor spawned');
    void worker.exited.then((reason) => {
      if (child.worker !== worker || this.#stopping) return;
      this.#queue = this.#queue.then(() => this.#onExit(child, worker, reason));
    });
  }

  async #untilReady(worker: ActorWorker): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const fail = (): void => reject(new TroupeError('timeout', `${worker.name} did not start`));
      timer = setTimeout(fail, this.#limits.startMs);
    });
    try {
      await Promise.race([worker.ready, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #ring(child: Child, reasons: number): void {
    ringDoorbell(this.#host.i32, doorbellIndex(child.spec.layout.doorbell), reasons);
    child.spec.kick?.();
  }

  /** To every live child; one that dies meanwhile is its restart's business: the new one starts in the right state. */
  async #callAll(method: 'pause' | 'resume'): Promise<void> {
    const call = async ({ worker }: Child): Promise<void> => {
      if (worker === undefined || worker.gone) return;
      try {
        await worker.call(method, this.#limits.callMs);
      } catch (error) {
        if (!(error instanceof TroupeError && error.code === 'actor-failed')) throw error;
      }
    };
    await Promise.all(this.#children.map(call));
  }

  async #onExit(child: Child, worker: ActorWorker, reason: ExitReason): Promise<void> {
    if (child.worker !== worker || this.#stopping) return;
    child.lastExit = reason;
    const { name } = child.spec;
    const nowMs = hostClock.nowNs() / 1e6;
    const step = decideOnExit(this.#spec, this.#state, name, reason, nowMs);
    this.#state = step.state;
    const fields = {
      child: name,
      childGeneration: child.generation,
      reason: reason.kind,
      decision: step.decision.kind,
    };
    const stack = reason.kind === 'error' ? reason.stack : undefined;
    this.#host.log.warn(
      stack === undefined ? fields : { ...fields, stack },
      `${name} ${describeExit(reason)}`,
    );
    await this.#carryOut(step.decision);
  }

  async #carryOut(decision: Decision): Promise<void> {
    switch (decision.kind) {
      case 'ignore':
        return;
      case 'restart':
        await this.#stopChildren(decision.stop.map((name) => this.#child(name)));
        for (const name of decision.start) this.#spawn(this.#child(name));
        return;
      case 'escalate':
        this.#stopping = true;
        clearInterval(this.#watch);
        await this.#stopChildren([...this.#children].reverse());
        this.#host.escalate(decision.message);
    }
  }

  async #stopChildren(children: readonly Child[]): Promise<void> {
    for (const child of children) {
      const { worker } = child;
      if (worker === undefined) continue;
      child.worker = undefined;
      if (!worker.gone) await worker.shutDown(child.spec.shutdownMs);
      child.lastExit ??= await worker.exited;
    }
  }

  #startWatch(): void {
    this.#lastTurnMs = hostClock.nowNs() / 1e6;
    this.#watch = setInterval(() => {
      const nowMs = hostClock.nowNs() / 1e6;
      const turnMs = nowMs - this.#lastTurnMs;
      this.#lastTurnMs = nowMs;
      for (const child of this.#children) this.#watchOne(child, turnMs);
    }, this.#limits.periodMs);
    this.#watch.unref();
  }

  #watchOne(child: Child, turnMs: number): void {
    const { worker, spec } = child;
    if (worker === undefined || worker.gone) return;
    const heart = heartbeatIndex(spec.layout.heartbeat);
    const { i32 } = this.#host;
    const phase = loadPhase(i32, heart);
    const sample = {
      count: loadHeartbeat(i32, heart),
      phase,
      bell: peekDoorbell(i32, doorbellIndex(spec.layout.doorbell)),
    };
    const limits =
      phase === PHASE_STARTING ? { ...this.#limits, hangMs: this.#limits.startMs } : this.#limits;
    const { record, verdict } = judgeHeartbeat(child.record, sample, turnMs, limits);
    child.record = record;
    if (verdict === 'suspect') this.#ring(child, BELL_PING);
    if (verdict === 'hang') {
      child.record = undefined;
      void worker.end({ kind: 'hang' });
    }
  }
}
