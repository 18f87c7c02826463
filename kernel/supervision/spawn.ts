// Carries the supervisor's decisions out: starts actors as worker threads, watches their exits and heartbeats, restarts
// them with the next generation and the same identity (name, state page, mailboxes), and stops them in reverse order.
import { hostClock } from '#shared/base/clock.js';
import { TroupeError } from '#shared/base/error.js';
import type { ActorControl, ActorSeed } from '#shared/ipc/actor.js';
import { BELL_CONTROL, BELL_END, BELL_PING } from '#shared/ipc/doorbell.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import { PHASE_STARTING, heartbeatIndex, setPhase } from '#shared/ipc/heartbeat.js';
import type { Logger } from '#shared/ipc/log.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { ActorEvent } from './actor-event.js';
import { ActorThread, SpareThreads } from './actor-thread.js';
import { ActorWorker } from './actor-worker.js';
import { Child, type ActorSpec, type ActorStatus } from './child.js';
import { TURNS_PER_PERIOD, judgeHeartbeat } from './heartbeat-watch.js';
import {
  INITIAL_STATE,
  decideOnExit,
  describeExit,
  type Decision,
  type ExitReason,
  type SupervisorSpec,
  type SupervisorState,
} from './supervisor.js';

export interface SupervisionLimits {
  /** An actor that runs in a circle is found within two of these; 0 turns the watch off. */
  readonly heartbeatMs: number;
  /** Silence that ends an actor of which nothing is known, or that is inside the host; 0 turns the watch off. */
  readonly hangMs: number;
  /** An actor must be ready by then. */
  readonly startMs: number;
  /** A control call must be answered by then. */
  readonly callMs: number;
}

export const DEFAULT_LIMITS: SupervisionLimits = {
  heartbeatMs: 500,
  hangMs: 10_000,
  startMs: 30_000,
  callMs: 10_000,
};

/** Enough for any device; what runs away is ended, soon. */
const DEFAULT_HEAP_MIB = 64;
/** A machine's first moments are its guest's. */
const SPARE_AFTER_MS = 2000;
/** A gentle kill becomes one by force after this. */
const GENTLE_KILL_MS = 1000;

export interface SupervisorHost {
  readonly views: ArenaViews;
  readonly log: Logger;
  /** Since the machine's start. */
  nowMs(): number;
  tell(event: ActorEvent): void;
  /** The supervisor has stopped all of its children and gives up. */
  escalate(message: string): void;
}

export interface SupervisorOptions extends Omit<SupervisorSpec, 'children'> {
  /** Warm threads in reserve; none when absent. */
  readonly spare?: SparePlan | undefined;
}

/** Spares become the actors whose heap is no larger than the smallest of all. */
export interface SparePlan {
  /** Of the actors that they may become. */
  readonly modules: readonly URL[];
  readonly count: number;
  /** Only once an actor has died: of those that are large and seldom do. */
  readonly late?: boolean;
}

export class ActorSupervisor {
  readonly #spec: SupervisorSpec;
  readonly #host: SupervisorHost;
  readonly #limits: SupervisionLimits;
  readonly #children: readonly Child[];
  readonly #spare: SpareThreads | undefined;
  readonly #preparesLate: boolean = false;
  #state: SupervisorState = INITIAL_STATE;
  #paused = true;
  #stopping = false;
  /** Exits are dealt with one after the other. */
  #queue: Promise<void> = Promise.resolve();
  #watch: NodeJS.Timeout | undefined;
  #lastTurnMs = 0;

  constructor(
    options: SupervisorOptions,
    actors: readonly ActorSpec[],
    host: SupervisorHost,
    limits: Partial<SupervisionLimits> = {},
  ) {
    const { spare, ...spec } = options;
    this.#spec = { ...spec, children: actors };
    this.#host = host;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#children = actors.map((actor) => new Child(actor, host.views));
    if (spare !== undefined) {
      const heapMib = Math.min(...actors.map((actor) => actor.heapMib ?? DEFAULT_HEAP_MIB));
      this.#spare = new SpareThreads({ name: 'spare', preload: spare.modules, heapMib }, spare.count);
      this.#preparesLate = spare.late === true;
    }
  }

  /** Starts all children, paused; resolves when all are ready. Rejects with the first failure; then stop() cleans up. */
  async start(): Promise<void> {
    for (const child of this.#children) this.#spawn(child);
    await Promise.all(this.#children.map((child) => this.#untilReady(child.worker!)));
    this.#startWatch();
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
    await this.#beginStop();
    await this.#stopChildren([...this.#children].reverse());
  }

  /** Ends all threads at once, without asking them: for actors that keep nothing outside the arena. */
  async terminate(): Promise<void> {
    await this.#beginStop();
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

  /**
   * Ends one actor's thread, as a crash would; of a vCPU where its state is whole, unless it does not get there or `force` says
   * at once. Resolves when it is gone; the restart follows.
   */
  async kill(name: string, force = false): Promise<void> {
    const child = this.#child(name);
    const { worker, spec } = child;
    if (worker === undefined) return;
    if (spec.killGently === true && !force)
      await worker.endItself({ kind: 'killed' }, () => child.ring(BELL_END), GENTLE_KILL_MS);
    else await worker.end({ kind: 'killed' });
  }

  /** Hands a fault rule to a live actor; one that dies meanwhile, or does not listen, has it from its next seed. */
  arm(name: string, index: number, rule: FaultRule): void {
    const { worker } = this.#child(name);
    worker?.call('arm', this.#limits.callMs, index, rule).catch(() => {});
  }

  /** Wakes one actor for a turn of its loop. */
  wake(name: string): void {
    this.#child(name).ring(BELL_PING);
  }

  has(name: string): boolean {
    return this.#children.some((child) => child.name === name);
  }

  status(): ActorStatus[] {
    return this.#children.map((child) => child.status());
  }

  async #beginStop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#watch);
    await this.#spare?.close();
    await this.#queue.catch(() => {});
  }

  #child(name: string): Child {
    const child = this.#children.find((c) => c.name === name);
    if (child === undefined) throw new TroupeError('bad-config', `there is no actor ${name}`);
    return child;
  }

  #spawn(child: Child): void {
    const { spec } = child;
    const { views, log } = this.#host;
    child.generation++;
    child.record = undefined;
    child.silenceEnd();
    setPhase(views.i32, heartbeatIndex(spec.layout.heartbeat), PHASE_STARTING);
    const { generation, endedNs } = child;
    const seed: ActorSeed = {
      ...spec.seed,
      generation,
      predecessorEndedNs: endedNs,
      startPaused: this.#paused,
    };
    const heapMib = spec.heapMib ?? DEFAULT_HEAP_MIB;
    const spare =
      this.#spare !== undefined && heapMib <= this.#spare.heapMib ? this.#spare.take() : undefined;
    const thread = spare ?? new ActorThread({ name: spec.name, preload: [], heapMib });
    const worker = new ActorWorker(thread, spec, seed, () => child.ring(BELL_CONTROL));
    child.worker = worker;
    log.debug({ child: spec.name, childGeneration: child.generation }, 'actor spawned');
    void worker.exited.then((reason) => {
      if (child.worker !== worker || this.#stopping) return;
      this.#queue = this.#queue.then(() => this.#onExit(child, worker, reason));
    });
    if (child.generation > 1) void this.#tellRestart(child, worker);
  }

  async #tellRestart(child: Child, worker: ActorWorker): Promise<void> {
    try {
      await worker.ready;
    } catch {
      return; // its exit is dealt with elsewhere
    }
    this.#spare?.prepare();
    const atMs = this.#host.nowMs();
    const nowNs = hostClock.nowNs();
    const downMs = (nowNs - (child.endedNs ?? nowNs)) / 1e6;
    if (!worker.gone) child.endedNs = undefined;
    const { generation, fromSpare } = worker;
    this.#host.tell({
      type: 'actor:restart',
      atMs,
      actor: child.name,
      kind: child.kind,
      generation,
      downMs,
      fromSpare,
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
    const { name, kind, generation } = child;
    const atMs = this.#host.nowMs();
    const nowNs = hostClock.nowNs();
    child.endedNs ??= nowNs;
    const step = decideOnExit(this.#spec, this.#state, name, reason, nowNs / 1e6);
    this.#state = step.state;
    const message = `${name} ${describeExit(reason)}`;
    const fields = {
      child: name,
      childGeneration: generation,
      reason: reason.kind,
      decision: step.decision.kind,
    };
    const stack = reason.kind === 'error' ? reason.stack : undefined;
    this.#host.log.warn(stack === undefined ? fields : { ...fields, stack }, message);
    this.#host.tell({ type: 'actor:exit', atMs, actor: name, kind, generation, reason, message });
    const obstacle = child.spec.cannotGoOn?.();
    if (obstacle === undefined) await this.#carryOut(step.decision);
    else await this.#carryOut({ kind: 'escalate', message: `${message}; ${obstacle}` });
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
        await this.#spare?.close();
        await this.#stopChildren([...this.#children].reverse());
        this.#host.tell({
          type: 'actor:escalate',
          atMs: this.#host.nowMs(),
          message: decision.message,
        });
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
    const { heartbeatMs, hangMs } = this.#limits;
    this.#lastTurnMs = this.#host.nowMs();
    this.#watch = setInterval(
      () => {
        const nowMs = this.#host.nowMs();
        const turnMs = nowMs - this.#lastTurnMs;
        this.#lastTurnMs = nowMs;
        if (!this.#preparesLate && nowMs > SPARE_AFTER_MS) this.#spare?.prepare();
        for (const child of this.#children) {
          child.measure(nowMs);
          if (heartbeatMs > 0 && hangMs > 0) this.#watchOne(child, turnMs);
        }
      },
      (heartbeatMs > 0 ? heartbeatMs : DEFAULT_LIMITS.heartbeatMs) / TURNS_PER_PERIOD,
    );
    this.#watch.unref();
  }

  #watchOne(child: Child, turnMs: number): void {
    const { worker } = child;
    if (worker === undefined || worker.gone) return;
    const { record, verdict, sign = '' } = judgeHeartbeat(child.record, child.sample(), turnMs, this.#limits);
    child.record = record;
    if (verdict === 'suspect') child.ring(BELL_PING);
    if (verdict === 'hang') {
      child.record = undefined;
      void worker.end({ kind: 'hang', sign });
    }
  }
}
