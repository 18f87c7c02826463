// The arena: the one shared memory of a machine, and how its control area is divided. Allocation happens once, in the
// kernel, before any actor lives; nothing is ever given back, so a bump pointer is all there is.
import type { Region } from '#shared/base/region.js';
import { assert } from '#shared/base/error.js';

/** Control words of different actors never share a line of this many bytes. */
export const CACHE_LINE_BYTES = 64;

/** Typed views over all of the arena; made once a thread. */
export interface ArenaViews {
  readonly buffer: SharedArrayBuffer;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
}

export function viewArena(memory: { readonly buffer: ArrayBufferLike }): ArenaViews {
  const buffer = memory.buffer as SharedArrayBuffer;
  return {
    buffer,
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    i32: new Int32Array(buffer),
    u32: new Uint32Array(buffer),
  };
}

/** Hands out regions from the arena's start upwards. */
export class ArenaAllocator {
  readonly #limitBytes: number;
  #end = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes handed out so far, padding included. */
  get usedBytes(): number {
    return this.#end;
  }

  /** `align`: a power of two, in bytes. */
  allocate(bytes: number, align: number = CACHE_LINE_BYTES): Region {
    const offset = Math.ceil(this.#end / align) * align;
    assert(offset + bytes <= this.#limitBytes, `arena of ${this.#limitBytes} bytes is full`);
    this.#end = offset + bytes;
    return { offset, bytes };
  }
}
