// A driver that breaks every rule, from a seed: wild queue programming, descriptors, indices, feature bits, status writes, MSI-X
// entries and config space. It starts from a device that is set up well, so that its blows land deep.
import type { Prng } from '#shared/base/prng.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import type { PciConfigSpace } from '#shared/pci/config-space.js';
import type { FeatureSet } from '#shared/virtio/feature-set.js';
import type { MockDriver, RegisterPort } from './mock-driver.js';

/** What a wild driver needs of the device under attack. */
export interface Target {
  readonly ram: GuestMemory;
  readonly config: PciConfigSpace;
  readonly driver: MockDriver;
  readonly port: RegisterPort;
  readonly features: FeatureSet;
  writeMsix(offset: number, value: number): void;
  /** Lets the device do what it has to do. */
  settle(): void;
}

const BDF = 1 << 3;

export class WildDriver {
  readonly #t: Target;
  readonly #prng: Prng;
  readonly #actions: readonly (() => void)[];

  constructor(target: Target, prng: Prng) {
    this.#t = target;
    this.#prng = prng;
    this.#actions = [
      () => this.#writeCommon(),
      () => this.#writeDescriptor(),
      () => this.#writeDescriptor(),
      () => this.#postWild(),
      () => this.#postWild(),
      () => this.#moveIndex(),
      () => this.#scribble(),
      () => this.#writeMsix(),
      () => this.#writeConfig(),
      () => this.#readAnything(),
      () => this.#t.port.notify(this.#prng.below(this.#queueCount + 1)),
    ];
  }

  /** One round of the attack: now and then from a fresh start. */
  round(): void {
    const { driver, features } = this.#t;
    if (this.#prng.below(16) === 0 || driver.queues.length === 0) {
      this.restoreBus();
      driver.start(this.#prng.below(4) === 0 ? this.#wildFeatures() : features, 1 << this.#prng.below(6));
    }
    const actions = 1 + this.#prng.below(4);
    for (let i = 0; i < actions; i++) this.#actions[this.#prng.below(this.#actions.length)]!();
    for (let queue = 0; queue < this.#queueCount; queue++) this.#t.port.notify(queue);
    this.#t.settle();
  }

  /** Config space as firmware left it. */
  restoreBus(): void {
    this.#t.config.write(BDF, 0x04, 2, 6);
    this.#t.config.write(BDF, 0x42, 2, 0x8000);
  }

  get #queueCount(): number {
    return Math.max(1, this.#t.driver.queues.length);
  }

  #wildFeatures(): FeatureSet {
    return { lo: this.#prng.u32(), hi: this.#prng.u32() };
  }

  /** Mostly near what matters: edges of RAM, of the hole, of 32 and 64 bits. */
  #address(): number {
    const ramBytes = this.#t.ram.ramBytes;
    const edges = [0, ramBytes, 0xc000_0000, 0xfee0_0000, 0xffff_ffff, 0x8_0000, ramBytes - 16];
    if (this.#prng.below(3) > 0) return this.#prng.below(ramBytes);
    return Math.max(0, edges[this.#prng.below(edges.length)]! + this.#prng.below(64) - 32);
  }

  #length(): number {
    const choices = [0, 1, 8, 16, 17, 512, 4096, 65536, 0xffff_ffff, this.#t.ram.ramBytes];
    return choices[this.#prng.below(choices.length)]!;
  }

  #someQueue() {
    const { queues } = this.#t.driver;
    return queues[this.#prng.below(queues.length)];
  }

  #writeCommon(): void {
    const field = [
      0x00, 0x08, 0x0c, 0x10, 0x14, 0x16, 0x18, 0x1a, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x34, 0x3a,
    ];
    const offset =
      this.#prng.below(8) === 0 ? this.#prng.below(0x4000) : field[this.#prng.below(field.length)]!;
    const small = this.#prng.below(2) === 0;
    const size = [1, 2, 4][this.#prng.below(3)]!;
    if (offset + size <= 0x3000)
      this.#t.port.write(offset, size, small ? this.#prng.below(40) : this.#prng.u32());
  }

  #writeDescriptor(table?: number, entries?: number): void {
    const queue = this.#someQueue();
    if (queue === undefined) return;
    const at = (table ?? queue.gpa.desc) + 16 * this.#prng.below(entries ?? queue.ring.size);
    const { ram } = this.#t;
    ram.writeU32(at, this.#address());
    ram.writeU32(at + 4, this.#prng.below(8) === 0 ? this.#prng.u32() : 0);
    ram.writeU32(at + 8, this.#length());
    ram.writeU16(at + 12, this.#prng.below(8));
    ram.writeU16(
      at + 14,
      this.#prng.below(8) === 0 ? this.#prng.below(65536) : this.#prng.below(queue.ring.size),
    );
  }

  /** A chain that may be good, with parts that may not. */
  #postWild(): void {
    const queue = this.#someQueue();
    if (queue === undefined) return;
    const { ram } = this.#t;
    const idx = ram.readU16(queue.gpa.avail + 2);
    const head = this.#prng.below(queue.ring.size);
    const chain = 1 + this.#prng.below(4);
    for (let i = 0; i < chain; i++) {
      const at = queue.gpa.desc + 16 * ((head + i) % queue.ring.size);
      ram.writeU32(at, this.#prng.below(ram.ramBytes - 0x2_0000) & ~3);
      ram.writeU32(at + 4, 0);
      ram.writeU32(at + 8, [1, 16, 512, 4096][this.#prng.below(4)]!);
      const indirect = this.#prng.below(6) === 0 ? 4 : 0;
      ram.writeU16(at + 12, (i + 1 < chain && indirect === 0 ? 1 : 0) | (i > 0 ? 2 : 0) | indirect);
      ram.writeU16(at + 14, (head + i + 1) % queue.ring.size);
      // A request header that is near a real one.
      ram.writeU32(ram.readU32(at), this.#prng.below(16));
      ram.writeU32(ram.readU32(at) + 8, this.#prng.below(80));
    }
    ram.writeU16(queue.gpa.avail + 4 + 2 * (idx % queue.ring.size), head);
    ram.writeU16(queue.gpa.avail + 2, idx + 1);
  }

  #moveIndex(): void {
    const queue = this.#someQueue();
    if (queue === undefined) return;
    const { ram } = this.#t;
    const step = this.#prng.below(2) === 0 ? this.#prng.below(4) : this.#prng.below(65536);
    const target = this.#prng.below(4) === 0 ? queue.gpa.used : queue.gpa.avail;
    ram.writeU16(target + 2, ram.readU16(target + 2) + step);
  }

  #scribble(): void {
    const queue = this.#someQueue();
    const near =
      queue === undefined ? 0 : [queue.gpa.desc, queue.gpa.avail, queue.gpa.used][this.#prng.below(3)]!;
    for (let i = 0; i < 16; i++) this.#t.ram.writeU32(near + 4 * this.#prng.below(64), this.#prng.u32());
  }

  #writeMsix(): void {
    this.#t.writeMsix(
      4 * this.#prng.below(1024),
      this.#prng.below(2) === 0 ? this.#prng.u32() : this.#prng.below(2),
    );
  }

  #writeConfig(): void {
    const { config } = this.#t;
    config.write(BDF, this.#prng.below(0x100), [1, 2, 4][this.#prng.below(3)]!, this.#prng.u32());
    config.write(this.#prng.below(65536), this.#prng.below(4096), 4, this.#prng.u32());
    config.writePort(0xcf8 + this.#prng.below(2) * 4, 4, this.#prng.u32());
  }

  #readAnything(): void {
    this.#t.port.read(this.#prng.below(0x3000), [1, 2, 4][this.#prng.below(3)]!);
    this.#t.config.read(this.#prng.below(65536), this.#prng.below(4100), 4);
    this.#t.config.readPort(0xcfc + this.#prng.below(4), 1);
  }
}
