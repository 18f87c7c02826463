// Serves KVM's exits for ports and MMIO straight from the kvm_run page, which lies in the arena: nothing is copied or
// allocated. Linux Documentation/virt/kvm/api.rst, "The kvm_run structure".

import type { ArenaViews } from '#shared/memory/arena.js';
import * as K from '#native/kvm-constants.js';
import type { MachineBus } from '../machine-bus.js';

// struct kvm_run, of KVM_EXIT_IO.
const IO_DIRECTION = K.RUN_EXIT;
const IO_SIZE = K.RUN_EXIT + 1;
const IO_PORT = K.RUN_EXIT + 2;
const IO_COUNT = K.RUN_EXIT + 4;
const IO_DATA_OFFSET = K.RUN_EXIT + 8;
const IO_OUT = 1;
// Of KVM_EXIT_MMIO.
const MMIO_ADDRESS = K.RUN_EXIT;
const MMIO_DATA = K.RUN_EXIT + 8;
const MMIO_LENGTH = K.RUN_EXIT + 16;
const MMIO_IS_WRITE = K.RUN_EXIT + 20;

const TWO_32 = 0x1_0000_0000;

export class ExitDecoder {
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #run: number;
  readonly #bus: MachineBus;

  /** `run`: the kvm_run page's offset in the arena. */
  constructor(views: ArenaViews, run: number, bus: MachineBus) {
    this.#u8 = views.u8;
    this.#u16 = views.u16;
    this.#u32 = views.u32;
    this.#run = run;
    this.#bus = bus;
  }

  /** KVM_EXIT_IO: one access, or the run of a string instruction. */
  servePort(): void {
    const run = this.#run;
    const size = this.#u8[run + IO_SIZE]!;
    const port = this.#u16[(run + IO_PORT) >>> 1]!;
    const out = this.#u8[run + IO_DIRECTION] === IO_OUT;
    let at = run + this.#u32[(run + IO_DATA_OFFSET) >>> 2]!;
    for (let left = this.#u32[(run + IO_COUNT) >>> 2]!; left > 0; left--, at += size) {
      if (out) this.#bus.portWrite(port, size, this.#load(at, size));
      else this.#store(at, size, this.#bus.portRead(port, size));
    }
  }

  /** KVM_EXIT_MMIO; gives the guest-physical address. A length that is no power of two is made of bytes. */
  serveMmio(): number {
    const run = this.#run;
    const word = run >>> 2;
    const address =
      this.#u32[word + (MMIO_ADDRESS >> 2)]! + this.#u32[word + (MMIO_ADDRESS >> 2) + 1]! * TWO_32;
    const length = this.#u32[word + (MMIO_LENGTH >> 2)]!;
    const write = this.#u8[run + MMIO_IS_WRITE] !== 0;
    const whole = length === 4 || length === 1 || length === 2 || length === 8;
    if (!whole) this.#serveBytes(address, length, write);
    else if (write) this.#write(address, length);
    else {
      this.#bus.read(address, length);
      this.#u32[word + (MMIO_DATA >> 2)] = this.#bus.low;
      this.#u32[word + (MMIO_DATA >> 2) + 1] = this.#bus.high;
    }
    return address;
  }

  #write(address: number, length: number): void {
    const data = (this.#run + MMIO_DATA) >>> 2;
    const low = this.#u32[data]!;
    const mask = length === 1 ? 0xff : length === 2 ? 0xffff : 0xffff_ffff;
    this.#bus.write(address, length, (low & mask) >>> 0, length === 8 ? this.#u32[data + 1]! : 0);
  }

  #serveBytes(address: number, length: number, write: boolean): void {
    const data = this.#run + MMIO_DATA;
    for (let i = 0; i < Math.min(length, 8); i++) {
      if (write) {
        this.#bus.write(address + i, 1, this.#u8[data + i]!, 0);
      } else {
        this.#bus.read(address + i, 1);
        this.#u8[data + i] = this.#bus.low;
      }
    }
  }

  #load(at: number, size: number): number {
    if (size === 4) return this.#u32[at >>> 2]!;
    return size === 2 ? this.#u16[at >>> 1]! : this.#u8[at]!;
  }

  #store(at: number, size: number, value: number): void {
    if (size === 4) this.#u32[at >>> 2] = value;
    else if (size === 2) this.#u16[at >>> 1] = value;
    else this.#u8[at] = value;
  }
}
