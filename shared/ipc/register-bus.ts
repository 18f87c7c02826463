// The register bus: how a vCPU reaches the registers of devices that live in other threads. A read is a call; a write is
// posted or a call, in the same ring, so the order of a vCPU's accesses to one device holds. What can be answered from
// the arena is: shadowed registers by load, virtio notifications by doorbell, MSI-X tables in place.
// A posted write of one vCPU comes before what another sends to the same device after it, as on a bus: a thread of the guest may
// have moved from the one to the other in between. So who sends first waits for what the others have posted.
// An unrouted read gives all ones, an unrouted write vanishes. Accesses of 8 bytes reach a device as two of 4, low first.
import type { Region } from '#shared/base/region.js';
import { ECAM_BASE, ECAM_BYTES, PCI_CONFIG_ADDRESS } from '#shared/acpi/platform.js';
import { BELL_CONFIG, BELL_QUEUE, doorbellIndex, ringDoorbell } from '#shared/ipc/doorbell.js';
import type { FaultSwitch } from '#shared/ipc/failpoint.js';
import { MailboxFollower } from '#shared/ipc/mailbox-follower.js';
import { MailboxReceiver, MailboxSender, type SenderOptions } from '#shared/ipc/mailbox.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import {
  mailboxName,
  vcpuName,
  type MachineLayout,
  type PciFunctionLayout,
  type RegisterWindow,
} from '#shared/memory/machine-layout.js';
import { PciConfigSpace } from '#shared/pci/config-space.js';

export const SPACE_PORT = 0;
export const SPACE_MMIO = 1;
export type BusSpace = typeof SPACE_PORT | typeof SPACE_MMIO;

/** Message kinds on the ring; the payload is offset u32, size u32, value u32. */
export const BUS_READ = 1;
export const BUS_WRITE = 2;
const PAYLOAD_BYTES = 12;

// PCI 3.0 §6.2.2 and §6.2.5: what decides where a BAR's window is.
const PCI_COMMAND = 0x04;
const PCI_COMMAND_IO = 1;
const PCI_COMMAND_MEMORY = 2;
const PCI_BAR_0 = 0x10;

/** Registers as an actor serves them. `size` is 1, 2 or 4; values are unsigned 32-bit numbers. */
export interface RegisterHandler {
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
}

interface Route {
  readonly window: RegisterWindow;
  /** The actor's register page, in bytes of the arena. */
  readonly registerPage: number;
  readonly bell: number;
  readonly doorbell: Region;
  readonly mailbox: Region | undefined;
  /** What the other vCPUs send to the actor. */
  readonly others: readonly MailboxFollower[];
  sender: MailboxSender | undefined;
}

/** The vCPU's end. Reads leave their result in {@link lo} and {@link hi}, so that nothing is allocated. */
export class BusClient {
  /** Bits 0–31 of the last read, unsigned. */
  lo = 0;
  /** Bits 32–63 of the last 8-byte read. */
  hi = 0;
  readonly #v: ArenaViews;
  readonly #view: DataView;
  readonly #layout: MachineLayout;
  readonly #options: SenderOptions;
  readonly #onWait: () => void;
  readonly #routes: readonly [Route[], Route[]];
  /** The route that the last lookup in each space found: accesses come in runs. */
  readonly #recent: [Route | undefined, Route | undefined] = [undefined, undefined];
  readonly #senders = new Map<string, MailboxSender>();
  readonly #config: PciConfigSpace;

  /** `from`: the sending actor, vcpu-N; a test may be any sender that the layout has mailboxes for. */
  constructor(v: ArenaViews, layout: MachineLayout, from: string | number, options: SenderOptions = {}) {
    this.#v = v;
    this.#view = new DataView(v.buffer);
    this.#layout = layout;
    this.#options = options;
    this.#onWait = options.onWait ?? (() => {});
    const sender = typeof from === 'number' ? vcpuName(from) : from;
    const makeRoute = (window: RegisterWindow): Route => {
      const actor = layout.actors[window.actor];
      if (actor === undefined) throw new Error(`register window names no actor: ${window.actor}`);
      return {
        window,
        registerPage: actor.registerPage.offset,
        bell: doorbellIndex(actor.doorbell),
        doorbell: actor.doorbell,
        mailbox: layout.mailboxes[mailboxName(sender, window.actor)],
        others: othersOf(v, layout, sender, window.actor),
        sender: undefined,
      };
    };
    this.#config = new PciConfigSpace(v, layout, {
      readMmio: (address, size) => {
        this.read(SPACE_MMIO, address, size);
        return this.lo;
      },
      writeMmio: (address, size, value) => this.write(SPACE_MMIO, address, size, value, 0),
    });
    const of = (space: string): Route[] => layout.windows.filter((w) => w.space === space).map(makeRoute);
    this.#routes = [of('port'), of('mmio')];
  }

  /** Reads `size` (1, 2, 4 or 8) bytes at a port or guest-physical address into {@link lo} and {@link hi}. */
  read(space: BusSpace, address: number, size: number): void {
    if (this.#isConfig(space, address, size)) {
      this.lo = this.#readConfig(space, address, Math.min(size, 4));
      this.hi = size === 8 ? this.#readConfig(space, address + 4, 4) : 0;
      return;
    }
    const route = this.#find(space, address);
    if (route === undefined) {
      this.lo = size === 1 ? 0xff : size === 2 ? 0xffff : 0xffff_ffff;
      this.hi = 0xffff_ffff;
      return;
    }
    const at = address - this.#start(route.window);
    if (size <= 4) {
      this.lo = this.#read4(route, at, size);
      this.hi = 0;
      return;
    }
    this.lo = this.#read4(route, at, 4);
    this.hi = this.#read4(route, at + 4, 4);
  }

  /** Writes the low `size` bytes of hi:lo. Returns when the write stands in the device's ring, or was obeyed (`write: 'call'`). */
  write(space: BusSpace, address: number, size: number, lo: number, hi: number): void {
    if (this.#isConfig(space, address, size)) {
      this.#writeConfig(space, address, Math.min(size, 4), lo);
      if (size === 8) this.#writeConfig(space, address + 4, 4, hi);
      return;
    }
    const route = this.#find(space, address);
    if (route === undefined) return;
    const at = address - this.#start(route.window);
    if (size <= 4) {
      this.#write4(route, at, size, lo);
      return;
    }
    this.#write4(route, at, 4, lo);
    this.#write4(route, at + 4, 4, hi);
  }

  /** PCI configuration space is served here, in the vCPU's thread. */
  #isConfig(space: BusSpace, address: number, size: number): boolean {
    if (space === SPACE_MMIO) return address >= ECAM_BASE && address + size <= ECAM_BASE + ECAM_BYTES;
    return (address & ~7) === PCI_CONFIG_ADDRESS && this.#config.claimsPort(address, size);
  }

  #readConfig(space: BusSpace, address: number, size: number): number {
    if (space === SPACE_MMIO) return this.#config.readEcam(address - ECAM_BASE, size);
    return this.#config.readPort(address, size);
  }

  #writeConfig(space: BusSpace, address: number, size: number, value: number): void {
    if (space === SPACE_MMIO) this.#config.writeEcam(address - ECAM_BASE, size, value);
    else this.#config.writePort(address, size, value);
  }

  #find(space: BusSpace, address: number): Route | undefined {
    const recent = this.#recent[space];
    if (recent !== undefined && this.#covers(recent.window, address)) return recent;
    for (const route of this.#routes[space]) {
      if (!this.#covers(route.window, address)) continue;
      this.#recent[space] = route;
      return route;
    }
    return undefined;
  }

  #covers(window: RegisterWindow, address: number): boolean {
    const at = address - this.#start(window);
    return at >= 0 && at < window.length;
  }

  /** Where the window starts now; NaN, which covers nothing, while its BAR does not decode. */
  #start(window: RegisterWindow): number {
    const bar = window.bar;
    if (bar === undefined) return window.start;
    return barAddress(this.#view, this.#layout.pci[bar.function]!, bar.index) + bar.offset;
  }

  #read4(route: Route, at: number, size: number): number {
    const { window } = route;
    if (window.memory !== undefined) return this.#load(window.memory.offset + at, size);
    if (window.doorbell !== undefined) return 0;
    const shadow = window.shadow;
    if (shadow !== undefined && at >= shadow.start && at + size <= shadow.start + shadow.length) {
      return this.#load(route.registerPage + shadow.offset + (at - shadow.start), size);
    }
    const sender = this.#sender(route);
    this.#waitForOthers(route);
    const payload = sender.reserve();
    const word = payload >>> 2;
    this.#v.u32[word] = window.base + at;
    this.#v.u32[word + 1] = size;
    this.#v.u32[word + 2] = 0;
    sender.call(payload, BUS_READ, PAYLOAD_BYTES);
    const value = this.#v.u32[word + 2]!;
    return size === 4 ? value : value & (size === 2 ? 0xffff : 0xff);
  }

  #write4(route: Route, at: number, size: number, value: number): void {
    const { window } = route;
    if (window.memory !== undefined) {
      this.#store(window.memory.offset + at, size, value);
      // An MSI-X vector may have been unmasked while its message was pending.
      ringDoorbell(this.#v.i32, route.bell, BELL_CONFIG);
      return;
    }
    if (window.doorbell !== undefined) {
      const { pending, stride } = window.doorbell;
      const queue = stride === 0 ? value & 0xffff : Math.floor(at / stride);
      if (queue < 32) {
        Atomics.or(this.#v.i32, (route.registerPage + pending) >>> 2, 1 << queue);
        ringDoorbell(this.#v.i32, route.bell, BELL_QUEUE);
      }
      return;
    }
    const sender = this.#sender(route);
    this.#waitForOthers(route);
    const payload = sender.reserve();
    const word = payload >>> 2;
    this.#v.u32[word] = window.base + at;
    this.#v.u32[word + 1] = size;
    this.#v.u32[word + 2] = value;
    if (window.write === 'call') sender.call(payload, BUS_WRITE, PAYLOAD_BYTES);
    else sender.post(payload, BUS_WRITE, PAYLOAD_BYTES);
  }

  /** One sender per actor, however many windows lead there: that keeps the order. */
  #sender(route: Route): MailboxSender {
    if (route.sender !== undefined) return route.sender;
    let sender = this.#senders.get(route.window.actor);
    if (sender === undefined) {
      if (route.mailbox === undefined) throw new Error(`no mailbox to ${route.window.actor}`);
      sender = new MailboxSender(this.#v, route.mailbox, route.doorbell, this.#options);
      this.#senders.set(route.window.actor, sender);
    }
    route.sender = sender;
    return sender;
  }

  #waitForOthers({ others }: Route): void {
    for (let i = 0; i < others.length; i++) others[i]!.waitServed(this.#onWait);
  }

  #load(offset: number, size: number): number {
    if (size === 4) return this.#view.getUint32(offset, true);
    return size === 2 ? this.#view.getUint16(offset, true) : this.#view.getUint8(offset);
  }

  #store(offset: number, size: number, value: number): void {
    if (size === 4) this.#view.setUint32(offset, value, true);
    else if (size === 2) this.#view.setUint16(offset, value, true);
    else this.#view.setUint8(offset, value);
  }
}

function othersOf(v: ArenaViews, layout: MachineLayout, sender: string, actor: string): MailboxFollower[] {
  return layout.vcpus.flatMap((_, i) => {
    const region = vcpuName(i) === sender ? undefined : layout.mailboxes[mailboxName(vcpuName(i), actor)];
    return region === undefined ? [] : [new MailboxFollower(v, region)];
  });
}

/** The address that a BAR decodes at present, NaN when its decoding is off. Reads the shadow of config space. */
export function barAddress(view: DataView, pci: PciFunctionLayout, index: number): number {
  const config = pci.config.offset;
  const command = view.getUint16(config + PCI_COMMAND, true);
  const low = view.getUint32(config + PCI_BAR_0 + 4 * index, true);
  if ((low & 1) !== 0) return (command & PCI_COMMAND_IO) !== 0 ? (low & ~3) >>> 0 : NaN;
  if ((command & PCI_COMMAND_MEMORY) === 0) return NaN;
  const high = (low & 6) === 4 ? view.getUint32(config + PCI_BAR_0 + 4 * index + 4, true) : 0;
  return high * 0x1_0000_0000 + ((low & ~0xf) >>> 0);
}

/** Accesses served before the actor's loop gets its turn again. */
const BATCH_LIMIT = 256;

/** The actor's end: serves the mailboxes of all vCPUs. */
export class RegisterServer {
  /** Of the access in hand: who sent it, and its number; an actor that must not act twice keeps it in its state page. */
  source = '';
  sequence = 0;
  readonly #v: ArenaViews;
  readonly #sources: readonly { readonly name: string; readonly receiver: MailboxReceiver }[];
  readonly #handler: RegisterHandler;

  /** `actor`: the serving actor's name; its sources are all `vcpu-N->actor` mailboxes of the layout. */
  constructor(
    v: ArenaViews,
    layout: MachineLayout,
    actor: string,
    handler: RegisterHandler,
    faults?: FaultSwitch,
  ) {
    this.#v = v;
    this.#handler = handler;
    this.#sources = layout.vcpus
      .map((_, i) => ({ name: vcpuName(i), region: layout.mailboxes[mailboxName(vcpuName(i), actor)] }))
      .filter((s): s is { name: string; region: Region } => s.region !== undefined)
      .map(({ name, region }) => ({ name, receiver: new MailboxReceiver(v, region, faults) }));
  }

  /** Serves what waits, at most a bounded batch; true when there was something. */
  poll(): boolean {
    let served = 0;
    for (const { name, receiver } of this.#sources) {
      while (served < BATCH_LIMIT) {
        const payload = receiver.peek();
        if (payload < 0) break;
        this.source = name;
        this.sequence = receiver.sequence;
        const { kind } = receiver;
        this.#serve(kind, payload >>> 2);
        receiver.complete(kind === BUS_READ ? PAYLOAD_BYTES : 0);
        served++;
      }
    }
    return served > 0;
  }

  /** Before sleep; true when something arrived meanwhile. The actor loop calls it. */
  arm(): boolean {
    let arrived = false;
    for (const { receiver } of this.#sources) if (receiver.arm()) arrived = true;
    return arrived;
  }

  #serve(kind: number, word: number): void {
    const u32 = this.#v.u32;
    const offset = u32[word]!;
    const size = u32[word + 1]!;
    if (kind === BUS_READ) u32[word + 2] = this.#handler.read(offset, size);
    else if (kind === BUS_WRITE) this.#handler.write(offset, size, u32[word + 2]!);
  }
}
