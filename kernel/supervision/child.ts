// One actor under a supervisor: its specification, its present generation, and what is known of it.
import type { ActorSeed } from '#shared/ipc/actor.js';
import { BELL_END, clearDoorbell, doorbellIndex, peekDoorbell, ringDoorbell } from '#shared/ipc/doorbell.js';
import {
  PHASE_HALTED,
  PHASE_IDLE,
  PHASE_PAUSED,
  PHASE_CREATING,
  PHASE_STARTING,
  heartbeatIndex,
  loadHeartbeat,
  loadPhase,
} from '#shared/ipc/heartbeat.js';
import type { Region } from '#shared/base/region.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { ActorLayout } from '#shared/memory/machine-layout.js';
import { ActorMeter } from './actor-meter.js';
import type { ActorWorker } from './actor-worker.js';
import type { HeartbeatRecord, HeartbeatSample } from './heartbeat-watch.js';
import type { ChildSpec, ExitReason } from './supervisor.js';
import { readThreadTime } from './thread-time.js';

/** How to make an actor of which the supervisor knows only the name. */
export interface ActorSpec extends ChildSpec {
  readonly entry: URL;
  readonly layout: ActorLayout;
  /** Seed but for what changes with each generation. */
  readonly seed: Omit<ActorSeed, 'generation' | 'predecessorEndedNs' | 'startPaused'>;
  /** Beyond the doorbell: ends the actor's own way of sleeping (a vCPU's PENDING word). */
  readonly kick?: () => void;
  /** Asked when it has died: why no replacement could go on from what it left; undefined when one can. */
  readonly cannotGoOn?: () => string | undefined;
  /** A kill waits until the actor's state is whole. */
  readonly killGently?: boolean;
  /** JavaScript heap of its thread; DEFAULT_HEAP_MIB when absent. */
  readonly heapMib?: number;
  /** Of its thread: who is nicer than the others lets them go first. 0 when absent. */
  readonly nice?: number;
  /** Mailboxes to it. */
  readonly inboxes?: readonly Region[];
}

/** `down`: ended, and its supervisor does not restart it (yet). */
export type ActorState = 'starting' | 'running' | 'idle' | 'paused' | 'halted' | 'down';

/** What is told of one actor. */
export interface ActorStatus {
  readonly name: string;
  readonly kind: string;
  readonly state: ActorState;
  /** Its thread lives. */
  readonly running: boolean;
  /** 1 at first. */
  readonly generation: number;
  readonly restarts: number;
  /** Since it was last seen to turn its loop; an idle actor does so only when it is woken. */
  readonly heartbeatAgeMs: number;
  /** Messages not answered and virtio requests not done. */
  readonly queueDepth: number;
  readonly messagesPerSecond: number;
  /** Of one processor; 0 where the host does not tell. */
  readonly cpuPercent: number;
  readonly lastExit: ExitReason | undefined;
}

export class Child {
  readonly spec: ActorSpec;
  readonly meter: ActorMeter;
  generation = 0;
  worker: ActorWorker | undefined;
  record: HeartbeatRecord | undefined;
  lastExit: ExitReason | undefined;
  /** Host monotonic ns at which the last one ended that polled; undefined while one does. */
  endedNs: number | undefined;
  readonly #i32: Int32Array;
  readonly #heart: number;
  readonly #bell: number;

  constructor(spec: ActorSpec, views: ArenaViews) {
    this.spec = spec;
    this.#i32 = views.i32;
    this.#heart = heartbeatIndex(spec.layout.heartbeat);
    this.#bell = doorbellIndex(spec.layout.doorbell);
    this.meter = new ActorMeter(views, spec.layout, spec.inboxes ?? []);
  }

  get name(): string {
    return this.spec.name;
  }

  get kind(): string {
    return this.spec.seed.kind;
  }

  ring(reasons: number): void {
    ringDoorbell(this.#i32, this.#bell, reasons);
    this.spec.kick?.();
  }

  /** What was rung to end the last thread must not end the next one: it may have gone by force before it looked. */
  silenceEnd(): void {
    clearDoorbell(this.#i32, this.#bell, BELL_END);
  }

  sample(): HeartbeatSample {
    return {
      count: loadHeartbeat(this.#i32, this.#heart),
      phase: loadPhase(this.#i32, this.#heart),
      bell: peekDoorbell(this.#i32, this.#bell),
      thread: () => {
        const tid = this.worker?.tid;
        return tid === undefined ? undefined : readThreadTime(tid);
      },
    };
  }

  measure(nowMs: number): void {
    const tid = this.worker?.tid;
    this.meter.turn(nowMs, () => (tid === undefined ? 0 : (readThreadTime(tid)?.cpuMs ?? 0)));
  }

  status(): ActorStatus {
    const { worker, meter, generation } = this;
    return {
      name: this.name,
      kind: this.kind,
      state: this.#state(),
      running: worker !== undefined && !worker.gone,
      generation,
      restarts: Math.max(0, generation - 1),
      heartbeatAgeMs: Math.round(meter.heartbeatAgeMs),
      queueDepth: meter.queueDepth,
      messagesPerSecond: Math.round(meter.messagesPerSecond),
      cpuPercent: Math.round(meter.cpuPercent),
      lastExit: this.lastExit,
    };
  }

  #state(): ActorState {
    if (this.worker === undefined || this.worker.gone) return 'down';
    switch (loadPhase(this.#i32, this.#heart)) {
      case PHASE_STARTING:
      case PHASE_CREATING:
        return 'starting';
      case PHASE_IDLE:
        return 'idle';
      case PHASE_PAUSED:
        return 'paused';
      case PHASE_HALTED:
        return 'halted';
      default:
        return 'running';
    }
  }
}
