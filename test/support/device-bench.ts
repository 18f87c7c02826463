// A machine without vCPUs for tests of devices: real workers under a real supervisor, and a bus that plays the vCPUs. `bus`
// runs in the test's thread and blocks it, so it is for devices that live; `driver()` runs in a worker of its own, for tests
// that kill devices under way.
import { Worker } from 'node:worker_threads';
import { formatArena, planArena, type MachinePlan } from '#kernel/arena-plan.js';
import type { ActorEvent } from '#kernel/supervision/actor-event.js';
import type { ActorSpec } from '#kernel/supervision/child.js';
import { ActorSupervisor, type SupervisionLimits } from '#kernel/supervision/spawn.js';
import type { FaultPlan } from '#shared/ipc/fault-plan.js';
import { silentLogger } from '#shared/ipc/log.js';
import { BusClient } from '#shared/ipc/register-bus.js';
import { viewArena, type ArenaViews } from '#shared/memory/arena.js';
import { GuestMemory } from '#shared/memory/guest-memory.js';
import type { MachineLayout } from '#shared/memory/machine-layout.js';

export interface BenchActor {
  readonly name: string;
  readonly kind: string;
  /** The worker's JavaScript; actors of the product run from dist. */
  readonly entry: URL;
  readonly params?: unknown;
}

export interface BenchOptions {
  readonly actors: readonly BenchActor[];
  readonly plan: Partial<MachinePlan>;
  readonly faults?: FaultPlan;
  readonly intensity?: number;
  readonly limits?: Partial<SupervisionLimits>;
  /** Modules of a warm thread; none by default. */
  readonly spare?: readonly URL[];
}

export interface BusStep {
  readonly write?: boolean;
  readonly address: number;
  readonly value?: number;
  readonly size?: number;
}

/** The actor of the product called `kind`, as built. */
export function builtActor(kind: string): URL {
  return new URL(`../../dist/actors/${kind}/main.cjs`, import.meta.url);
}

export class DeviceBench {
  readonly memory: WebAssembly.Memory;
  readonly layout: MachineLayout;
  readonly views: ArenaViews;
  readonly ram: GuestMemory;
  readonly supervisor: ActorSupervisor;
  readonly escalations: string[] = [];
  readonly events: ActorEvent[] = [];
  readonly #drivers: Worker[] = [];
  #bus: BusClient | undefined;
  readonly #faults: FaultPlan | undefined;

  constructor(options: BenchOptions) {
    this.#faults = options.faults;
    const plan: MachinePlan = {
      vcpus: 1,
      ramBytes: 16 * 2 ** 20,
      actors: options.actors.map((a) => a.name),
      mailboxes: [],
      windows: [],
      pci: [],
      ...options.plan,
    };
    const planned = planArena(plan);
    this.layout = planned.layout;
    const pages = Math.ceil(planned.layout.arenaBytes / 65536);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.views = viewArena(this.memory);
    formatArena(this.views, planned, plan.pci);
    this.ram = new GuestMemory(this.memory, this.layout.ram);
    const spec = (actor: BenchActor): ActorSpec => ({
      name: actor.name,
      restart: 'permanent',
      shutdownMs: 2000,
      entry: actor.entry,
      layout: this.layout.actors[actor.name]!,
      seed: {
        name: actor.name,
        kind: actor.kind,
        memory: this.memory,
        layout: this.layout,
        params: actor.params ?? {},
        faults: options.faults,
        logLevel: 'silent',
      },
    });
    this.supervisor = new ActorSupervisor(
      {
        strategy: 'one_for_one',
        intensity: options.intensity ?? 100,
        periodMs: 10_000,
        spare: options.spare && { modules: options.spare, count: 1 },
      },
      options.actors.map(spec),
      {
        views: this.views,
        log: silentLogger,
        nowMs: () => performance.now(),
        tell: (event) => this.events.push(event),
        escalate: (message) => this.escalations.push(message),
      },
      options.limits,
    );
  }

  async start(): Promise<this> {
    await this.supervisor.start();
    await this.supervisor.resume();
    return this;
  }

  /** vCPU 0's register bus, in this thread. */
  get bus(): BusClient {
    this.#bus ??= new BusClient(this.views, this.layout, 0);
    return this.#bus;
  }

  /** A vCPU's register bus in a thread of its own: takes a script, gives the values that its reads saw. */
  driver(vcpu: number): (script: readonly BusStep[]) => Promise<number[]> {
    const worker = new Worker(new URL('actors/bus-driver.mjs', import.meta.url), {
      workerData: { memory: this.memory, layout: this.layout, vcpu, faults: this.#faults },
    });
    this.#drivers.push(worker);
    return (script) =>
      new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
        worker.postMessage(script);
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#drivers.map(async (w) => w.terminate()));
    await this.supervisor.stop();
  }

  async stop(): Promise<void> {
    await this[Symbol.asyncDispose]();
  }
}
