// Which heads (region-request.ts) there may be regions for: a bit for each hash, in the compiler's state page, so that a vCPU asks for
// what is likely to be there. Bits are only ever set; one too many costs a message.

import type { Region } from '../base/region.js';

export class HeadFilter {
  readonly #bits: Int32Array;

  /** `region`: the words of the bits; zero at the machine's start. */
  constructor(buffer: ArrayBufferLike, region: Region) {
    this.#bits = new Int32Array(buffer, region.offset, region.bytes >>> 2);
  }

  add(head: number): void {
    const bit = head % (this.#bits.length * 32);
    this.#bits[bit >>> 5]! |= 1 << (bit & 31);
  }

  has(head: number): boolean {
    const bit = head % (this.#bits.length * 32);
    return (this.#bits[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }
}
