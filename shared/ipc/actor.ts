// The contract of an actor and the loop that runs it: one worker thread that drains its queues, sleeps on its doorbell, beats
// its heart and answers the kernel's control calls (comlink over the parent port) between two turns. Blocking work in
// poll() is fine; the loop of an actor with sockets or timers waits in the event loop instead (`eventLoop: true`).
// What must survive a restart lives in the state page; everything else here is a cache.
import * as Comlink from 'comlink';
import type { Region } from '#shared/base/region.js';
import { assert } from '#shared/base/error.js';
import { monotonicNs } from '#shared/base/clock.js';
import { GuestMemory } from '#shared/memory/guest-memory.js';
import { viewArena, type ArenaViews } from '#shared/memory/arena.js';
import { mailboxName, type MachineLayout } from '#shared/memory/machine-layout.js';
import {
  BELL_CONTROL,
  BELL_END,
  doorbellIndex,
  peekDoorbell,
  spinOnDoorbell,
  takeDoorbell,
  waitDoorbellAsync,
} from '#shared/ipc/doorbell.js';
import { CRASH_EXIT_CODE, FaultPoints, type Failpoint, type FaultEffects } from '#shared/ipc/failpoint.js';
import type { FailpointName } from '#shared/ipc/failpoint-catalogue.js';
import type { FaultPlan, FaultRule } from '#shared/ipc/fault-plan.js';
import {
  PHASE_CREATING,
  PHASE_HALTED,
  PHASE_IDLE,
  PHASE_PAUSED,
  PHASE_RUNNING,
  heartbeatIndex,
  noteWork,
  setPhase,
  stampHeartbeat,
} from '#shared/ipc/heartbeat.js';
import { appendTo, createActorLogger } from '#shared/ipc/actor-log.js';
import type { LogFormat, LogLevel, Logger } from '#shared/ipc/log.js';
import { MailboxReceiver, MailboxSender, type SenderOptions } from '#shared/ipc/mailbox.js';
import { portEndpoint, type ActorPort } from '#shared/ipc/port-endpoint.js';
import { blockThread } from '#shared/ipc/sleep.js';
import { RegisterServer, type RegisterHandler } from '#shared/ipc/register-bus.js';
import type { InterruptWire, KvmLink } from '#shared/x86/host-interrupts.js';
import { createTracer, type TraceSeed, type Tracer } from '#shared/ipc/trace.js';

/** What the kernel hands to a new worker; structured-cloneable. */
export interface ActorSeed {
  readonly name: string;
  readonly kind: string;
  /** 1 at first, one more after each restart. */
  readonly generation: number;
  /** Host monotonic ns at which the last one ended that polled; absent of the first generation. */
  readonly predecessorEndedNs?: number | undefined;
  readonly memory: WebAssembly.Memory;
  readonly layout: MachineLayout;
  /** The actor's own configuration, JSON. */
  readonly params: unknown;
  /** The machine is paused: poll nothing before resume(). */
  readonly startPaused?: boolean;
  readonly faults?: FaultPlan | undefined;
  readonly logLevel: LogLevel;
  /** File descriptor of the log; 2 when absent. */
  readonly logFd?: number | undefined;
  /** 'json' when absent. */
  readonly logFormat?: LogFormat | undefined;
  readonly trace?: TraceSeed | undefined;
  /** The machine runs on KVM. */
  readonly kvm?: KvmLink | undefined;
}

export interface ActorContext {
  readonly name: string;
  readonly kind: string;
  readonly generation: number;
  readonly memory: WebAssembly.Memory;
  readonly views: ArenaViews;
  readonly layout: MachineLayout;
  readonly ram: GuestMemory;
  readonly params: unknown;
  readonly log: Logger;
  readonly statePage: Region;
  readonly registerPage: Region;
  readonly doorbell: Region;
  /** Give to BusClient and MailboxSender. */
  readonly senderOptions: SenderOptions;
  /** See shared/ipc/failpoint.ts; act on 'drop', 'duplicate' and 'corrupt' where they mean something. */
  readonly failpoint: Failpoint;
  /** Whoever leaves out failpoints on a path must ask before: see {@link FaultPoints.hasRuleAt}. */
  readonly hasFaultAt: (points: readonly FailpointName[]) => boolean;
  /** Absent without --trace. */
  readonly trace?: Tracer | undefined;
  /** Of a machine on KVM: its names in this process, and the wire for createInterruptFabric. */
  readonly kvm?: KvmLink | undefined;
  readonly wire?: InterruptWire | undefined;
  /** Shows life during long work; the loop does it each turn. */
  beat(): void;
  /** A virtio request is done and `depth` more wait: for the kernel's table of actors. */
  noteWork(depth: number): void;
  /** The loop serves the mailboxes `vcpu-N->this` with it from now on, before each poll. */
  serveRegisters(handler: RegisterHandler): RegisterServer;
  /** Opens the mailbox `from->this`; the actor peeks in poll, the loop arms it before sleep. */
  receiveFrom(from: string): MailboxReceiver;
  /** Opens the mailbox `this->to`. */
  sendTo(to: string): MailboxSender;
}

/** What an actor does. After `pause()` has answered, it touches no guest memory until `resume()`. */
export interface ActorBehaviour {
  /** Drains queues once, bounded work. `reasons`: the doorbell's BELL_* bits since the last poll. True when it did something. */
  poll(reasons: number): boolean;
  /** When poll wants to run again at the latest, in ns of monotonicNs(); Infinity for no deadline. */
  nextDeadlineNs?(): number;
  /** Takes the place of the sleep on the doorbell (a vCPU sleeps on its PENDING word, a disk serves its queue meanwhile); control calls must end it. */
  waitForWork?(timeoutMs: number): void;
  pause(): void | Promise<void>;
  resume(): void;
  save(): Uint8Array;
  restore(state: Uint8Array): void;
  /** Back to the state at power-on, state page included. */
  reset(): void;
  halt(): void | Promise<void>;
  /** For monitors and tests: anything structured-cloneable. */
  inspect?(): unknown;
}

/** What the kernel may call, through comlink. */
export interface ActorControl {
  pause(): Promise<void>;
  resume(): void;
  save(): Uint8Array;
  restore(state: Uint8Array): void;
  reset(): void;
  halt(): Promise<void>;
  inspect(): unknown;
  /** A fault rule more, by its index in the machine's plan. */
  arm(index: number, rule: FaultRule): void;
}

/** What an actor says over its port besides comlink's answers: it is up and polls. */
export interface ActorReady {
  readonly troupe: 'ready';
  readonly generation: number;
}

/** What main.ts hands in: two names of node:worker_threads, and how the thread reaches KVM where it may. */
export interface ActorThread {
  readonly parentPort: ActorPort | null;
  readonly workerData: unknown;
  readonly connectKvm?: (link: KvmLink) => InterruptWire;
}

/** A sleep never lasts longer than this, so that a lost wake-up costs a second and not a machine. */
const SLEEP_LIMIT_MS = 1000;
/** Of a piece of memory that a fault hoards, in doubles: V8 does not move pieces of that size about. */
const HOARD_ENTRIES = 100_000;

let provided: Pick<ActorThread, 'parentPort' | 'workerData'> | undefined;

/** For a thread that learns late which actor it is: stands for what main.ts hands to {@link runActor}. */
export function provideThread(thread: typeof provided): void {
  provided = thread;
}

/** The seed of the actor that this thread is to be; for a main.ts that loads no more than its actor needs. */
export function actorSeed(ownThread: ActorThread): ActorSeed {
  return (provided ?? ownThread).workerData as ActorSeed;
}

/** Runs an actor in this thread until it halts. `create` gets the context and opens its queues. */
export function runActor(
  ownThread: ActorThread,
  create: (context: ActorContext) => ActorBehaviour,
  options: { readonly eventLoop?: boolean } = {},
): void {
  const thread = { ...ownThread, ...provided };
  const port = thread.parentPort;
  assert(port !== null, 'an actor runs in a worker');
  const seed = actorSeed(ownThread);
  const loop = new ActorLoop(seed, create, options.eventLoop ?? false, ownThread.connectKvm);
  Comlink.expose(loop.control, portEndpoint(port));
  port.postMessage({ troupe: 'ready', generation: seed.generation } satisfies ActorReady);
  void loop.run().then(() => port.close());
}

type LoopState = 'running' | 'paused' | 'halted';

class ActorLoop {
  readonly control: ActorControl;
  readonly #seed: ActorSeed;
  readonly #eventLoop: boolean;
  readonly #i32: Int32Array;
  readonly #bell: number;
  readonly #heart: number;
  readonly #registerServers: RegisterServer[] = [];
  readonly #receivers: MailboxReceiver[] = [];
  readonly #behaviour: ActorBehaviour;
  readonly #faults: FaultPoints;
  #state: LoopState;
  /** Why the doorbell rang, as far as the actor has not been told. */
  #reasons = 0;
  #leavePause: () => void = () => {};

  constructor(
    seed: ActorSeed,
    create: (context: ActorContext) => ActorBehaviour,
    eventLoop: boolean,
    connectKvm: ActorThread['connectKvm'],
  ) {
    const own = seed.layout.actors[seed.name];
    assert(own !== undefined, `layout knows ${seed.name}`);
    const views = viewArena(seed.memory);
    this.#seed = seed;
    this.#eventLoop = eventLoop;
    this.#i32 = views.i32;
    this.#bell = doorbellIndex(own.doorbell);
    this.#heart = heartbeatIndex(own.heartbeat);
    this.#faults = new FaultPoints(seed.faults, seed, threadEffects(), views.i32, own.faults);
    this.#state = seed.startPaused === true ? 'paused' : 'running';
    // A beat: what loading the modules took counts no more.
    stampHeartbeat(this.#i32, this.#heart);
    setPhase(this.#i32, this.#heart, PHASE_CREATING);
    this.#faults.pass('start');
    this.#behaviour = create(this.#makeContext(views, connectKvm));
    setPhase(this.#i32, this.#heart, PHASE_RUNNING);
    this.control = this.#makeControl();
  }

  /** Until halted. Rejects with whatever the actor throws: that ends the thread, and the supervisor decides. */
  async run(): Promise<void> {
    while (this.#state !== 'halted') {
      const wish = this.#serve();
      if (wish === 'yield') await yieldToEventLoop();
      else if (wish === 'sleep') await this.#sleepInEventLoop();
      else if (this.#state === 'paused') await this.#stayPaused();
    }
    setPhase(this.#i32, this.#heart, PHASE_HALTED);
  }

  /** Turns until one needs Node's event loop, or the actor runs no more. */
  #serve(): 'yield' | 'sleep' | 'stop' {
    for (;;) {
      stampHeartbeat(this.#i32, this.#heart);
      const reasons = takeDoorbell(this.#i32, this.#bell) | this.#reasons;
      this.#reasons = 0;
      if ((reasons & BELL_END) !== 0) process.exit(CRASH_EXIT_CODE);
      if ((reasons & BELL_CONTROL) !== 0 || this.#state !== 'running') {
        this.#reasons = reasons & ~BELL_CONTROL;
        return (reasons & BELL_CONTROL) !== 0 ? 'yield' : 'stop';
      }
      this.#faults.pass('loop');
      let busy = false;
      for (const server of this.#registerServers) if (server.poll()) busy = true;
      if (this.#behaviour.poll(reasons)) busy = true;
      if (busy && this.#eventLoop) return 'yield';
      if (!busy && !this.#sleep()) return 'sleep';
    }
  }

  /** Milliseconds for which there is nothing to do; 0 when there is something. */
  #idleMs(): number {
    // Arm first and look at one word afterwards: from here on every message rings the doorbell.
    let arrived = false;
    for (const server of this.#registerServers) if (server.arm()) arrived = true;
    for (const receiver of this.#receivers) if (receiver.arm()) arrived = true;
    // The last one: a kick that poll() took away with the rest of a PENDING word rang before it kicked.
    if (arrived || peekDoorbell(this.#i32, this.#bell) !== 0) return 0;
    const deadlineNs = this.#behaviour.nextDeadlineNs?.() ?? Infinity;
    return Math.min((deadlineNs - monotonicNs()) / 1e6, SLEEP_LIMIT_MS);
  }

  /** False when the event loop must do it instead. */
  #sleep(): boolean {
    const timeoutMs = this.#idleMs();
    if (timeoutMs <= 0) return true;
    if (this.#behaviour.waitForWork === undefined && this.#eventLoop) return false;
    setPhase(this.#i32, this.#heart, PHASE_IDLE);
    if (this.#behaviour.waitForWork !== undefined) this.#behaviour.waitForWork(timeoutMs);
    else spinOnDoorbell(this.#i32, this.#bell, timeoutMs);
    setPhase(this.#i32, this.#heart, PHASE_RUNNING);
    return true;
  }

  async #sleepInEventLoop(): Promise<void> {
    const timeoutMs = this.#idleMs();
    if (timeoutMs <= 0) return;
    setPhase(this.#i32, this.#heart, PHASE_IDLE);
    await waitDoorbellAsync(this.#i32, this.#bell, timeoutMs);
    setPhase(this.#i32, this.#heart, PHASE_RUNNING);
  }

  async #stayPaused(): Promise<void> {
    setPhase(this.#i32, this.#heart, PHASE_PAUSED);
    await new Promise<void>((resolve) => {
      this.#leavePause = resolve;
    });
    setPhase(this.#i32, this.#heart, PHASE_RUNNING);
  }

  #makeControl(): ActorControl {
    const behaviour = this.#behaviour;
    return {
      pause: async () => {
        if (this.#state !== 'running') return;
        this.#state = 'paused';
        await behaviour.pause();
      },
      resume: () => {
        if (this.#state !== 'paused') return;
        behaviour.resume();
        this.#state = 'running';
        this.#leavePause();
      },
      save: () => behaviour.save(),
      restore: (state) => behaviour.restore(state),
      reset: () => behaviour.reset(),
      halt: async () => {
        await behaviour.halt();
        this.#state = 'halted';
        this.#leavePause();
      },
      inspect: () => behaviour.inspect?.(),
      arm: (index, rule) => this.#faults.arm(index, rule),
    };
  }

  #makeContext(views: ArenaViews, connectKvm: ActorThread['connectKvm']): ActorContext {
    const { name, kind, generation, memory, layout, params, trace, kvm } = this.#seed;
    const own = layout.actors[name]!;
    const beat = (): void => stampHeartbeat(this.#i32, this.#heart);
    const senderOptions: SenderOptions = { generation, onWait: beat, faults: this.#faults };
    const mailbox = (from: string, to: string): Region => {
      const region = layout.mailboxes[mailboxName(from, to)];
      assert(region !== undefined, `layout has a mailbox ${mailboxName(from, to)}`);
      return region;
    };
    return {
      name,
      kind,
      generation,
      memory,
      views,
      layout,
      ram: new GuestMemory(memory, layout.ram),
      params,
      log: createActorLogger(this.#seed),
      statePage: own.statePage,
      registerPage: own.registerPage,
      doorbell: own.doorbell,
      senderOptions,
      failpoint: this.#faults.pass,
      hasFaultAt: (points) => this.#faults.hasRuleAt(points),
      trace: createTracer(trace, name, views.i32, layout.shared.traceBudget, (line) =>
        appendTo(trace!.fd, line),
      ),
      kvm,
      wire: kvm && connectKvm?.(kvm),
      beat,
      noteWork: (depth) => noteWork(this.#i32, this.#heart, depth),
      serveRegisters: (handler) => {
        const server = new RegisterServer(views, layout, name, handler, this.#faults);
        this.#registerServers.push(server);
        return server;
      },
      receiveFrom: (from) => {
        const receiver = new MailboxReceiver(views, mailbox(from, name), this.#faults);
        this.#receivers.push(receiver);
        return receiver;
      },
      sendTo: (to) => {
        const receiver = layout.actors[to];
        assert(receiver !== undefined, `layout knows ${to}`);
        return new MailboxSender(views, mailbox(name, to), receiver.doorbell, senderOptions);
      },
    };
  }
}

/** Long enough for messages that were posted before the doorbell rang. */
async function yieldToEventLoop(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
  await new Promise<void>((resolve) => setImmediate(resolve));
}

function threadEffects(): FaultEffects {
  return {
    exit: (code) => process.exit(code),
    exhaustMemory: () => {
      const hoard: number[][] = [];
      for (;;) hoard.push(new Array<number>(HOARD_ENTRIES).fill(0.5));
    },
    hang: (asleep) => {
      for (;;) if (asleep) blockThread(SLEEP_LIMIT_MS);
    },
    delay: blockThread,
  };
}
