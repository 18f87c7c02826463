// A virtio actor's behaviour in the test's own thread, over a real arena: registers, doorbell word and MSI-X as a vCPU would use
// them, but served at once. It can be killed at any failpoint (the point throws, the behaviour is dropped, a new
// generation is made from the arena), which is what a restart after a crash is.
import { formatArena, planArena, type MailboxPlan } from '#kernel/arena-plan.js';
import { createPrng } from '#shared/base/prng.js';
import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import { InjectedFault, type FaultVerdict } from '#shared/ipc/failpoint.js';
import { silentLogger, type Logger } from '#shared/ipc/log.js';
import { MailboxReceiver, MailboxSender } from '#shared/ipc/mailbox.js';
import { BELL_CONFIG, BELL_QUEUE, doorbellIndex, ringDoorbell, takeDoorbell } from '#shared/ipc/doorbell.js';
import { heartbeatIndex, loadWork } from '#shared/ipc/heartbeat.js';
import type { RegisterHandler, RegisterServer } from '#shared/ipc/register-bus.js';
import { viewArena, type ArenaViews } from '#shared/memory/arena.js';
import { GuestMemory } from '#shared/memory/guest-memory.js';
import { mailboxName, type MachineLayout, type PciFunctionLayout } from '#shared/memory/machine-layout.js';
import { PciConfigSpace } from '#shared/pci/config-space.js';
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';
import { hostBridgePlan } from '#shared/pci/host-bridge.js';
import { PCI_COMMAND, PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE } from '#shared/pci/registers.js';
import { MSIX_CAPABILITY_OFFSET, PENDING_QUEUES_OFFSET } from '#shared/virtio/pci-layout.js';
import * as L from '#shared/x86/lapic-layout.js';
import { MockDriver, type RegisterPort } from './mock-driver.js';

export const ACTOR = 'device';
const BDF = 1 << 3;
/** Vector of MSI-X entry n is this + n. */
export const FIRST_VECTOR = 0x40;

export interface InProcessOptions {
  readonly create: (ctx: ActorContext) => ActorBehaviour;
  readonly plan: PciFunctionPlan;
  readonly params?: unknown;
  readonly mailboxes?: readonly MailboxPlan[];
  readonly log?: Logger;
}

export class InProcessDevice {
  readonly memory: WebAssembly.Memory;
  readonly layout: MachineLayout;
  readonly views: ArenaViews;
  readonly ram: GuestMemory;
  readonly pci: PciFunctionLayout;
  readonly config: PciConfigSpace;
  readonly driver: MockDriver;
  generation = 0;
  /** Hits of failpoints in all, and the hit that kills next. */
  hits = 0;
  killAtHit = Infinity;
  readonly pointsSeen = new Set<string>();
  readonly #options: InProcessOptions;
  #behaviour!: ActorBehaviour;
  #registers!: RegisterHandler;
  #reasons = 0;

  constructor(options: InProcessOptions) {
    this.#options = options;
    const planned = planArena({
      vcpus: 1,
      ramBytes: 16 * 2 ** 20,
      actors: [ACTOR],
      mailboxes: options.mailboxes ?? [],
      windows: [],
      pci: [hostBridgePlan('kernel'), options.plan],
    });
    this.layout = planned.layout;
    const pages = Math.ceil(this.layout.arenaBytes / 65536);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.views = viewArena(this.memory);
    formatArena(this.views, planned, [hostBridgePlan('kernel'), options.plan]);
    this.ram = new GuestMemory(this.memory, this.layout.ram);
    this.pci = this.layout.pci[1]!;
    this.config = new PciConfigSpace(this.views, this.layout, {
      readMmio: (address, size) => this.port.read(address - this.pci.bars[0]!.address, size),
      writeMmio: (address, size, value) => this.port.write(address - this.pci.bars[0]!.address, size, value),
    });
    this.#enableLapic();
    this.#enableMsix();
    this.#spawn();
    this.driver = new MockDriver(this.views, this.ram, this.port);
  }

  /** BAR 0, served at once; a device that dies serves it again in its next generation, as a mailbox would make it. */
  readonly port: RegisterPort = {
    read: (offset, size) => this.#survive(() => this.#registers.read(offset, size)),
    write: (offset, size, value) => this.#survive(() => this.#registers.write(offset, size, value)),
    notify: (queue) => {
      const word = (this.layout.actors[ACTOR]!.registerPage.offset + PENDING_QUEUES_OFFSET) >>> 2;
      Atomics.or(this.views.i32, word, 1 << queue);
    },
  };

  /** Polls until the device has nothing to do; deaths included. Bounded. */
  settle(limit = 10_000): void {
    for (let turn = 0; turn < limit; turn++) if (!this.poll()) return;
    throw new Error('the device does not come to rest');
  }

  poll(): boolean {
    const reasons = this.#reasons;
    this.#reasons = 0;
    return this.#survive(() => this.#behaviour.poll(reasons));
  }

  /** As the actor's loop does before it sleeps: true when the device served something itself, in the place of the sleep. */
  serveAsleep(): boolean {
    const { doorbell, heartbeat } = this.layout.actors[ACTOR]!;
    const beats = heartbeatIndex(heartbeat);
    const before = loadWork(this.views.i32, beats);
    ringDoorbell(this.views.i32, doorbellIndex(doorbell), BELL_QUEUE);
    this.#survive(() => this.#behaviour.waitForWork?.(0));
    this.#reasons |= takeDoorbell(this.views.i32, doorbellIndex(doorbell));
    return loadWork(this.views.i32, beats) !== before;
  }

  /** The guest wrote config space or the MSI-X table. */
  ringConfig(): void {
    this.#reasons |= BELL_CONFIG;
  }

  /** Ends the generation as a kill would, and makes the next. */
  restart(): void {
    this.#spawn();
  }

  get behaviour(): ActorBehaviour {
    return this.#behaviour;
  }

  /** Takes the interrupt of an MSI-X entry, if it is requested. */
  takeInterrupt(entry: number): boolean {
    const vector = FIRST_VECTOR + entry;
    const word = (this.layout.vcpus[0]!.lapic.offset + L.LAPIC_IRR + 4 * (vector >>> 5)) >>> 2;
    const bit = 1 << (vector & 31);
    return (Atomics.and(this.views.i32, word, ~bit) & bit) !== 0;
  }

  #enableLapic(): void {
    const lapic = this.layout.vcpus[0]!.lapic.offset;
    this.views.u32[(lapic + L.LAPIC_MODE) >>> 2] = L.LAPIC_MODE_X2APIC;
    this.views.u32[(lapic + L.LAPIC_SVR) >>> 2] = L.SVR_APIC_ENABLED;
  }

  #enableMsix(): void {
    for (let entry = 0; entry < 32; entry++) {
      const at = (this.pci.msix.offset + 16 * entry) >>> 2;
      this.views.u32[at] = 0xfee0_0000;
      this.views.u32[at + 1] = 0;
      this.views.u32[at + 2] = FIRST_VECTOR + entry;
      this.views.u32[at + 3] = 0;
    }
    this.config.write(BDF, PCI_COMMAND, 2, 6);
    this.config.write(BDF, MSIX_CAPABILITY_OFFSET + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
  }

  #survive<T>(work: () => T): T {
    for (;;) {
      try {
        return work();
      } catch (error) {
        if (!(error instanceof InjectedFault)) throw error;
        this.#spawn();
      }
    }
  }

  #spawn(): void {
    for (;;) {
      this.generation++;
      try {
        this.#behaviour = this.#options.create(this.#context());
        return;
      } catch (error) {
        if (!(error instanceof InjectedFault)) throw error;
      }
    }
  }

  #context(): ActorContext {
    const own = this.layout.actors[ACTOR]!;
    const mailbox = (from: string, to: string) => this.layout.mailboxes[mailboxName(from, to)]!;
    return {
      name: ACTOR,
      kind: ACTOR,
      generation: this.generation,
      memory: this.memory,
      views: this.views,
      layout: this.layout,
      ram: this.ram,
      params: this.#options.params ?? {},
      log: this.#options.log ?? silentLogger,
      statePage: own.statePage,
      registerPage: own.registerPage,
      doorbell: own.doorbell,
      senderOptions: { generation: this.generation },
      noteWork: () => {},
      failpoint: (point) => this.#hit(point),
      hasFaultAt: () => false,
      beat: () => {},
      serveRegisters: (handler) => {
        this.#registers = handler;
        return undefined as unknown as RegisterServer;
      },
      receiveFrom: (from) => new MailboxReceiver(this.views, mailbox(from, ACTOR)),
      sendTo: (to) =>
        new MailboxSender(this.views, mailbox(ACTOR, to), this.layout.actors[to]!.doorbell, {
          generation: this.generation,
        }),
    };
  }

  #hit(point: string): FaultVerdict {
    this.pointsSeen.add(point);
    this.hits++;
    if (this.hits === this.killAtHit) {
      this.killAtHit = Infinity;
      throw new InjectedFault(point);
    }
    return 'none';
  }
}

/** Kills the device every so many failpoint hits, at random but replayable. Call `next` after every step. */
export function killNow(device: InProcessDevice, seed: number, meanHits: number): { next(): void } {
  const prng = createPrng(seed);
  const next = (): void => {
    if (device.killAtHit === Infinity) device.killAtHit = device.hits + 1 + prng.below(2 * meanHits);
  };
  next();
  return { next };
}
