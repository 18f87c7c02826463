// A driver for tests: brings a virtio-pci device up as a guest would, offers chains, and takes them back. It reaches the
// registers through a port that the test hands in (the device in this thread, or a register bus to a worker), and the rings in
// guest RAM directly. The simplest driver there is: descriptors are handed out by a free list, memory by a bump pointer.
import * as R from '#shared/ipc/vring.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import * as C from '#shared/virtio/constants.js';
import { featureSet, type FeatureSet } from '#shared/virtio/feature-set.js';

/** BAR 0 as the driver sees it, by offset, and the notification of a queue. */
export interface RegisterPort {
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
  notify(queue: number): void;
}

/** A buffer of a chain: bytes to read, or how many may be written. */
export type Buffer = Uint8Array | number;

export interface UsedChain {
  readonly head: number;
  readonly length: number;
}

interface PostedChain {
  readonly descriptors: readonly number[];
  readonly indirectTable: number;
  /** Guest-physical address and length of each buffer. */
  readonly buffers: readonly { readonly gpa: number; readonly bytes: number; readonly writable: boolean }[];
}

export const DEFAULT_FEATURES = featureSet(
  C.VIRTIO_F_VERSION_1,
  C.VIRTIO_F_INDIRECT_DESC,
  C.VIRTIO_F_EVENT_IDX,
  C.VIRTIO_F_RING_RESET,
);

const align16 = (n: number): number => (n + 15) & ~15;

function ringsBytes(size: number): number {
  return align16(R.descTableBytes(size)) + align16(R.availRingBytes(size)) + align16(R.usedRingBytes(size));
}

/** Rings of one queue, driver's side. */
export class DriverQueue {
  readonly ring: R.Ring;
  readonly gpa: { readonly desc: number; readonly avail: number; readonly used: number };
  readonly #v: ArenaViews;
  readonly #ram: GuestMemory;
  readonly #free: number[];
  readonly #posted = new Map<number, PostedChain>();
  readonly #alloc: (bytes: number) => number;
  #availIdx = 0;
  #usedIdx = 0;
  #oldAvail = 0;

  /** The rings go to `ringGpa`, {@link ringsBytes} long; buffers where `alloc` says. */
  constructor(
    v: ArenaViews,
    ram: GuestMemory,
    size: number,
    ringGpa: number,
    alloc: (bytes: number) => number,
  ) {
    this.#v = v;
    this.#ram = ram;
    this.#alloc = alloc;
    const desc = ringGpa;
    const avail = align16(desc + R.descTableBytes(size));
    const used = align16(avail + R.availRingBytes(size));
    this.gpa = { desc, avail, used };
    const base = ram.layout.ramOffset;
    this.ring = { desc: base + desc, avail: base + avail, used: base + used, size };
    this.#free = Array.from({ length: size }, (_, i) => i);
  }

  get outstanding(): number {
    return this.#posted.size;
  }

  get freeDescriptors(): number {
    return this.#free.length;
  }

  get availIdx(): number {
    return this.#availIdx;
  }

  /** Makes a chain available, readable buffers first; returns its head, or −1 when descriptors are short. */
  post(buffers: readonly Buffer[], indirect = false): number {
    const needed = indirect ? 1 : buffers.length;
    if (this.#free.length < needed) return -1;
    const placed = buffers.map((buffer) => {
      const bytes = typeof buffer === 'number' ? buffer : buffer.length;
      const gpa = this.#alloc(bytes);
      if (typeof buffer !== 'number') this.#ram.copyIn(gpa, buffer);
      return { gpa, bytes, writable: typeof buffer === 'number' };
    });
    const descriptors = this.#free.splice(0, needed);
    let indirectTable = 0;
    if (indirect) {
      indirectTable = this.#alloc(16 * buffers.length);
      const table = { ...this.ring, desc: this.#ram.layout.ramOffset + indirectTable };
      this.#chain(
        table,
        placed.map((_, i) => i),
        placed,
      );
      const flags = R.VIRTQ_DESC_F_INDIRECT;
      R.writeDesc(this.#v, this.ring, descriptors[0]!, indirectTable, 0, 16 * buffers.length, flags, 0);
    } else {
      this.#chain(this.ring, descriptors, placed);
    }
    const head = descriptors[0]!;
    this.#posted.set(head, { descriptors, indirectTable, buffers: placed });
    R.writeAvailEntry(this.#v, this.ring, this.#availIdx, head);
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    R.publishAvailIdx(this.#v, this.ring, this.#availIdx);
    return head;
  }

  /** Does the device want to hear of what was posted since the last call? */
  needsNotify(): boolean {
    const old = this.#oldAvail;
    this.#oldAvail = this.#availIdx;
    return R.needsEvent(R.loadAvailEvent(this.#v, this.ring), this.#availIdx, old);
  }

  /** The next used chain, if there is one; its buffers stay readable by {@link written} until then. */
  take(): (UsedChain & { readonly data: Uint8Array }) | undefined {
    if (R.loadUsedIdx(this.#v, this.ring) === this.#usedIdx) return undefined;
    const head = R.readUsedId(this.#v, this.ring, this.#usedIdx);
    const length = R.readUsedLen(this.#v, this.ring, this.#usedIdx);
    const chain = this.#posted.get(head);
    if (chain === undefined) throw new Error(`the device used ${head}, which was not offered`);
    this.#posted.delete(head);
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    this.#free.push(...chain.descriptors);
    const parts = chain.buffers.filter((b) => b.writable).map((b) => this.#ram.slice(b.gpa, b.bytes)!);
    return { head, length, data: Uint8Array.from(parts.flatMap((part) => [...part])) };
  }

  /** Asks for an interrupt with the next used chain; true when one is there already. */
  armUsed(): boolean {
    R.storeUsedEvent(this.#v, this.ring, this.#usedIdx);
    return R.loadUsedIdx(this.#v, this.ring) !== this.#usedIdx;
  }

  #chain(ring: R.Ring, indices: readonly number[], placed: PostedChain['buffers']): void {
    placed.forEach(({ gpa, bytes, writable }, i) => {
      const last = i === placed.length - 1;
      const flags = (writable ? R.VIRTQ_DESC_F_WRITE : 0) | (last ? 0 : R.VIRTQ_DESC_F_NEXT);
      R.writeDesc(this.#v, ring, indices[i]!, gpa, 0, bytes, flags, last ? 0 : indices[i + 1]!);
    });
  }
}

const FIRST_RING_GPA = 0x1_0000;

export class MockDriver {
  readonly queues: DriverQueue[] = [];
  readonly #v: ArenaViews;
  readonly #ram: GuestMemory;
  readonly #port: RegisterPort;
  #nextGpa: number;
  #nextRing = FIRST_RING_GPA;
  readonly #limitGpa: number;
  readonly #firstGpa: number;

  /** Buffers lie in [firstGpa, limitGpa): a ring of allocations, so that a long test never runs out. Rings lie below. */
  constructor(
    v: ArenaViews,
    ram: GuestMemory,
    port: RegisterPort,
    firstGpa = 0x10_0000,
    limitGpa = 0x80_0000,
  ) {
    this.#v = v;
    this.#ram = ram;
    this.#port = port;
    this.#firstGpa = this.#nextGpa = firstGpa;
    this.#limitGpa = limitGpa;
  }

  readonly alloc = (bytes: number): number => {
    if (this.#nextGpa + bytes > this.#limitGpa) this.#nextGpa = this.#firstGpa;
    const gpa = this.#nextGpa;
    this.#nextGpa = align16(gpa + bytes);
    return gpa;
  };

  get status(): number {
    return this.#port.read(0x14, 1);
  }

  get needsReset(): boolean {
    return (this.status & C.VIRTIO_STATUS_DEVICE_NEEDS_RESET) !== 0;
  }

  get queueCount(): number {
    return this.#port.read(0x12, 2);
  }

  config(offset: number, size: number): number {
    return this.#port.read(0x2000 + offset, size);
  }

  offered(): FeatureSet {
    const half = (select: number): number => {
      this.#port.write(0x00, 4, select);
      return this.#port.read(0x04, 4);
    };
    return { lo: half(0), hi: half(1) };
  }

  reset(): void {
    this.#port.write(0x14, 1, 0);
    this.queues.length = 0;
    this.#nextRing = FIRST_RING_GPA;
  }

  /** Negotiates and sets up all queues; false when the device does not take the features. */
  start(features: FeatureSet, queueSize = 16): boolean {
    this.reset();
    const { ACK, DRIVER, OK, FEATURES } = STATUS;
    this.#port.write(0x14, 1, ACK | DRIVER);
    [features.lo, features.hi].forEach((word, select) => {
      this.#port.write(0x08, 4, select);
      this.#port.write(0x0c, 4, word);
    });
    this.#port.write(0x14, 1, ACK | DRIVER | FEATURES);
    if ((this.status & FEATURES) === 0) return false;
    this.#port.write(0x10, 2, 0);
    for (let i = 0; i < this.queueCount; i++) this.startQueue(i, queueSize);
    this.#port.write(0x14, 1, ACK | DRIVER | FEATURES | OK);
    return true;
  }

  startQueue(index: number, queueSize: number): void {
    this.#port.write(0x16, 2, index);
    const size = Math.min(queueSize, this.#port.read(0x18, 2));
    const queue = new DriverQueue(this.#v, this.#ram, size, this.#nextRing, this.alloc);
    this.#ram.fill(this.#nextRing, ringsBytes(size), 0);
    this.#nextRing += ringsBytes(size);
    this.#port.write(0x18, 2, size);
    this.#port.write(0x1a, 2, index + 1);
    [queue.gpa.desc, queue.gpa.avail, queue.gpa.used].forEach((gpa, i) => {
      this.#port.write(0x20 + 8 * i, 4, gpa);
      this.#port.write(0x24 + 8 * i, 4, 0);
    });
    this.#port.write(0x1c, 2, 1);
    this.queues[index] = queue;
  }

  notify(index: number): void {
    this.#port.notify(index);
  }
}

const STATUS = {
  ACK: C.VIRTIO_STATUS_ACKNOWLEDGE,
  DRIVER: C.VIRTIO_STATUS_DRIVER,
  OK: C.VIRTIO_STATUS_DRIVER_OK,
  FEATURES: C.VIRTIO_STATUS_FEATURES_OK,
} as const;
