// A machine that runs: its arena and its two supervisors (the vCPUs, which stand and fall together, and the devices, which
// are replaced one by one). Starts paused and complete, then lets the devices and last the vCPUs go; ends on what the guest
// asks, on a failure that supervision could not mend, or on stop(). Never on the data path.
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicNs } from '#shared/base/clock.js';
import { TroupeError } from '#shared/base/error.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import type { ActorControl } from '#shared/ipc/actor.js';
import type { Logger } from '#shared/ipc/log.js';
import {
  DEBUG_EXIT,
  POWEROFF,
  RESET,
  SHUTDOWN,
  takeMachineEvent,
  waitMachineEvent,
  type MachineEvent,
} from '#shared/ipc/machine-event.js';
import type { MailboxCounts } from '#shared/ipc/mailbox-layout.js';
import { viewArena, type ArenaViews } from '#shared/memory/arena.js';
import { KERNEL_NAME, mailboxName, vcpuName, type MachineLayout } from '#shared/memory/machine-layout.js';
import { uartOutputRing } from '#actors/uart/protocol.js';
import { UART_NAME, type BuiltMachine } from './builder.js';
import { writeBundle } from './diagnostic-bundle.js';
import { readEngineStatistics, type EngineStatistics } from './engine-statistics.js';
import { InputQueue } from './input-queue.js';
import { MailboxAudit } from './mailbox-audit.js';
import { OutputReader, type OutputListener } from './output-reader.js';
import { SerialOutput } from './serial-output.js';
import { FaultControl } from './fault/fault-control.js';
import type { ActorEvent } from './supervision/actor-event.js';
import type { ActorStatus } from './supervision/child.js';
import { ActorSupervisor, type SupervisorHost } from './supervision/spawn.js';

/** Why a machine ended. */
export type MachineExit =
  | { readonly kind: 'poweroff' }
  | { readonly kind: 'reset' }
  /** `code`: the exit code that QEMU would give, (value << 1) | 1. */
  | { readonly kind: 'debug-exit'; readonly code: number }
  | { readonly kind: 'triple-fault'; readonly vcpu: number }
  /** Supervision gave up. `bundle`: the folder with what is left of the machine. */
  | { readonly kind: 'failed'; readonly message: string; readonly bundle?: string }
  | { readonly kind: 'stopped' };

/** Of what happened to the actors, in a diagnostic bundle. */
const MAX_EVENTS = 1000;
/** A missed wake-up costs this much, no more. */
const EVENT_POLL_MS = 250;
/** For a vCPU's last word at the end. */
const STATISTICS_MS = 5000;

function exitOf(event: MachineEvent): MachineExit {
  switch (event.kind) {
    case POWEROFF:
      return { kind: 'poweroff' };
    case RESET:
      return { kind: 'reset' };
    case DEBUG_EXIT:
      return { kind: 'debug-exit', code: ((event.value << 1) | 1) & 0xff };
    case SHUTDOWN:
      return { kind: 'triple-fault', vcpu: event.value };
  }
}

function openSerial({ serial, layout, memory }: BuiltMachine): SerialOutput | undefined {
  const uart = layout.actors[UART_NAME];
  if (typeof serial !== 'number' || uart === undefined) return undefined;
  return new SerialOutput(uartOutputRing(memory.buffer, uart.statePage), serial);
}

export class Machine {
  readonly layout: MachineLayout;
  readonly memory: WebAssembly.Memory;
  readonly views: ArenaViews;
  readonly #log: Logger;
  readonly #release: () => void;
  readonly #counts: boolean;
  readonly #devices: ActorSupervisor;
  readonly #vcpus: ActorSupervisor;
  readonly #inputs = new Map<string, InputQueue>();
  readonly #outputs: OutputReader;
  readonly #serial: SerialOutput | undefined;
  readonly #exit: Promise<MachineExit>;
  readonly #faults: FaultControl;
  readonly #audit: MailboxAudit;
  readonly #bundleParent: string | undefined;
  /** The last of them, for the bundle. */
  readonly #events: ActorEvent[] = [];
  readonly #listeners = new Set<(event: ActorEvent) => void>();
  #startedNs = monotonicNs();
  #resolveExit: (exit: MachineExit) => void = () => {};
  #state: 'built' | 'running' | 'paused' | 'ending' | 'ended' = 'built';
  #ending: Promise<void> | undefined;

  /** `bundleParent`: where a diagnostic bundle goes when supervision gives up; none is written when absent. */
  constructor(built: BuiltMachine, log: Logger, bundleParent?: string) {
    this.#bundleParent = bundleParent;
    this.layout = built.layout;
    this.memory = built.memory;
    this.views = viewArena(built.memory);
    this.#log = log;
    this.#counts = built.engineStatistics;
    this.#release = built.release ?? (() => {});
    const host: SupervisorHost = {
      views: this.views,
      log,
      nowMs: () => this.sinceStartMs(),
      tell: (event) => this.#tell(event),
      escalate: (message) => void this.#end({ kind: 'failed', message }),
    };
    const { intensity, periodMs, hangMs, heartbeatMs, spares } = built.supervision;
    const rules = { strategy: 'one_for_one', intensity, periodMs } as const;
    const limits = { hangMs, heartbeatMs };
    const spare = { modules: built.deviceModules, count: spares };
    this.#devices = new ActorSupervisor({ ...rules, spare }, built.devices, host, limits);
    const vcpuSpare = { modules: built.vcpuModules, count: 1, late: true };
    this.#vcpus = new ActorSupervisor({ ...rules, spare: vcpuSpare }, built.vcpus, host, limits);
    this.#faults = this.#makeFaults(built);
    this.#audit = new MailboxAudit(this.views, built.layout);
    this.#outputs = new OutputReader(this.views, built.layout);
    this.#serial = openSerial(built);
    this.#exit = new Promise((resolve) => {
      this.#resolveExit = resolve;
    });
  }

  /** Starts everything. When it rejects, nothing is left running. */
  async start(): Promise<void> {
    this.#startedNs = monotonicNs();
    try {
      await Promise.all([this.#devices.start(), this.#vcpus.start()]);
      await this.#devices.resume();
      await this.#vcpus.resume();
    } catch (error) {
      await this.#end({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
      throw error;
    }
    this.#state = 'running';
    this.#faults.start();
    this.#audit.start();
    this.#log.info({ vcpus: this.layout.vcpus.length }, 'machine started');
    void this.#watchEvents();
    this.#outputs.start();
    this.#serial?.start();
  }

  /** Quiesces: when it resolves, neither a vCPU nor a device touches guest memory. */
  async pause(): Promise<void> {
    this.#expect('running');
    this.#state = 'paused';
    await this.#vcpus.pause();
    await this.#devices.pause();
  }

  async resume(): Promise<void> {
    this.#expect('paused');
    await this.#devices.resume();
    await this.#vcpus.resume();
    this.#state = 'running';
  }

  /** Ends the machine, whatever the guest thinks of it. Resolves when all threads are gone. */
  async stop(): Promise<void> {
    await this.#end({ kind: 'stopped' });
  }

  /** Resolves when the machine has ended and all threads are gone. */
  async wait(): Promise<MachineExit> {
    return this.#exit;
  }

  /** Ends one actor's thread as a crash would, of a vCPU where its state is whole unless `force`; its supervisor goes on from there. */
  async kill(actor: string, force = false): Promise<void> {
    await this.#supervisorOf(actor).kill(actor, force);
  }

  /** A fault rule more; its times count from now. Throws TroupeError `bad-config`. */
  inject(rule: FaultRule): void {
    this.#expect('running');
    this.#faults.inject(rule);
  }

  /** `listener` hears of exits, restarts, escalations and faults; the result ends that. */
  onActorEvent(listener: (event: ActorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  status(): ActorStatus[] {
    return [...this.#vcpus.status(), ...this.#devices.status()];
  }

  /** What each mailbox has seen, by its name. */
  mailboxes(): ReadonlyMap<string, MailboxCounts> {
    return this.#audit.counts();
  }

  /** What the wasm engine did; undefined when it was not asked to tell or the machine runs on KVM. */
  engineStatistics(): EngineStatistics | undefined {
    return this.#counts ? readEngineStatistics(this.views.buffer, this.layout) : undefined;
  }

  async inspect(actor: string): Promise<Awaited<ReturnType<ActorControl['inspect']>>> {
    return this.#supervisorOf(actor).call(actor, 'inspect');
  }

  /** One actor's state; the machine is paused. A vCPU's is the same on both engines. */
  async saveActor(actor: string): Promise<Uint8Array> {
    this.#expect('paused');
    return this.#supervisorOf(actor).call(actor, 'save');
  }

  /** Gives an actor of a paused machine a saved state. */
  async restoreActor(actor: string, state: Uint8Array): Promise<void> {
    this.#expect('paused');
    await this.#supervisorOf(actor).call(actor, 'restore', state);
  }

  /** Bytes for a console actor, in order, without loss; queued here while it is behind. Resolves when it has room. `kind`: see its protocol.ts. */
  async sendInput(actor: string, kind: number, bytes: Uint8Array): Promise<void> {
    if (this.#state === 'ending' || this.#state === 'ended' || this.layout.actors[actor] === undefined)
      return;
    const perPort = `${KERNEL_NAME}/${kind & 0xff}`;
    const hasPorts = this.layout.mailboxes[mailboxName(perPort, actor)] !== undefined;
    const source = hasPorts ? perPort : KERNEL_NAME;
    const name = mailboxName(source, actor);
    let queue = this.#inputs.get(name);
    if (queue === undefined) {
      queue = new InputQueue(this.views, this.layout, actor, source);
      this.#inputs.set(name, queue);
    }
    await queue.push(kind, bytes);
  }

  /** Messages that `actor` sends to the kernel come to `listener`. */
  onOutput(actor: string, listener: OutputListener): void {
    this.#outputs.listen(actor, listener);
  }

  /** What the times of events count from. */
  sinceStartMs(): number {
    return (monotonicNs() - this.#startedNs) / 1e6;
  }

  #tell(event: ActorEvent): void {
    // What struck comes before what came of it.
    if (event.type === 'actor:exit') this.#faults.tally();
    if (this.#events.push(event) > MAX_EVENTS) this.#events.shift();
    for (const listener of this.#listeners) listener(event);
  }

  #makeFaults(built: BuiltMachine): FaultControl {
    return new FaultControl(built.faults, {
      i32: this.views.i32,
      layout: this.layout,
      actors: [...built.vcpus, ...built.devices].map(({ name, seed }) => ({ name, kind: seed.kind })),
      sinceStartMs: (hostMs) => this.sinceStartMs() - ((Math.floor(monotonicNs() / 1e6) - hostMs) >>> 0),
      wake: (actor) => this.#supervisorOf(actor).wake(actor),
      arm: (actor, index, rule) => this.#supervisorOf(actor).arm(actor, index, rule),
      tell: (event) => this.#tell(event),
    });
  }

  #supervisorOf(actor: string): ActorSupervisor {
    return this.#vcpus.has(actor) ? this.#vcpus : this.#devices;
  }

  #expect(state: 'running' | 'paused'): void {
    if (this.#state === state) return;
    throw new TroupeError('not-running', `the machine is ${this.#state}, not ${state}`);
  }

  async #watchEvents(): Promise<void> {
    const region = this.layout.shared.machineEvent;
    const { i32 } = this.views;
    while (this.#state !== 'ending' && this.#state !== 'ended') {
      await waitMachineEvent(i32, region, EVENT_POLL_MS);
      const event = takeMachineEvent(i32, region);
      if (event !== undefined) await this.#end(exitOf(event));
    }
  }

  async #end(exit: MachineExit): Promise<void> {
    this.#ending ??= this.#tearDown(exit);
    await this.#ending;
  }

  async #tearDown(exit: MachineExit): Promise<void> {
    this.#state = 'ending';
    this.#log.info({ exit: exit.kind }, 'machine ends');
    this.#faults.stop();
    this.#audit.stop();
    for (const queue of this.#inputs.values()) queue.close();
    if (this.#counts) await this.#gatherStatistics();
    await this.#vcpus.terminate();
    await this.#devices.stop();
    await this.#outputs.close();
    await this.#serial?.close();
    this.#release();
    this.#state = 'ended';
    this.#resolveExit(exit.kind === 'failed' ? this.#writeBundle(exit) : exit);
  }

  /** A vCPU that answers has written its counters. */
  async #gatherStatistics(): Promise<void> {
    const answers = this.layout.vcpus.map(async (_, i) => this.#vcpus.call(vcpuName(i), 'inspect'));
    await Promise.race([Promise.allSettled(answers), delay(STATISTICS_MS, undefined, { ref: false })]);
  }

  #writeBundle(exit: MachineExit & { kind: 'failed' }): MachineExit {
    if (this.#bundleParent === undefined) return exit;
    try {
      const bundle = writeBundle(this.#bundleParent, this.views, this.layout, {
        reason: exit.message,
        actors: this.status(),
        events: this.#events,
        faults: this.#faults.plan,
        mailboxes: this.mailboxes(),
      });
      return { ...exit, bundle };
    } catch (error) {
      this.#log.error({ error: String(error) }, 'no diagnostic bundle');
      return exit;
    }
  }
}
