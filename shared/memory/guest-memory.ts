// Guest RAM as devices, loaders and virtqueues see it: guest-physical addresses over a part of the arena.
// The layout is the PC's: RAM from 0 up to at most 3 GiB, a hole for MMIO to 4 GiB, the rest above.
// An address outside RAM is the guest's error, so it is a value (-1, undefined, false), never a throw.
// No write here marks the dirty bitmap or invalidates translated code: that is the caller's.

/** Where RAM above the MMIO hole starts. */
export const HIGH_RAM_START = 0x1_0000_0000;
/** RAM below the MMIO hole is at most this long. */
export const LOW_RAM_LIMIT = 0xc000_0000;

/** Where RAM lies in the arena, and how it is split by the MMIO hole; all in bytes. */
export interface GuestMemoryLayout {
  readonly ramOffset: number;
  readonly lowBytes: number;
  readonly highBytes: number;
}

/** Splits `ramBytes` of RAM at the MMIO hole. */
export function splitRam(ramOffset: number, ramBytes: number): GuestMemoryLayout {
  const lowBytes = Math.min(ramBytes, LOW_RAM_LIMIT);
  return { ramOffset, lowBytes, highBytes: ramBytes - lowBytes };
}

/** Guest-physical accessors over shared memory. Integers are little endian and need no alignment. */
export class GuestMemory {
  readonly layout: GuestMemoryLayout;
  readonly highRamStart = HIGH_RAM_START;
  /** All of the arena, for callers that keep offsets from {@link arenaOffset}. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #ramOffset: number;
  readonly #lowBytes: number;
  readonly #highEnd: number;

  /** `memory`: a WebAssembly.Memory or its buffer. Throws a RangeError when the layout does not fit into the memory: that is our bug. */
  constructor(memory: { readonly buffer: ArrayBufferLike } | SharedArrayBuffer, layout: GuestMemoryLayout) {
    const buffer = 'buffer' in memory ? memory.buffer : memory;
    const { ramOffset, lowBytes, highBytes } = layout;
    if (lowBytes > LOW_RAM_LIMIT || ramOffset + lowBytes + highBytes > buffer.byteLength) {
      throw new RangeError(`RAM of ${lowBytes}+${highBytes} bytes at ${ramOffset} is outside the arena`);
    }
    this.layout = layout;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.#ramOffset = ramOffset;
    this.#lowBytes = lowBytes;
    this.#highEnd = HIGH_RAM_START + highBytes;
  }

  /** RAM in bytes, low and high. */
  get ramBytes(): number {
    return this.layout.lowBytes + this.layout.highBytes;
  }

  /**
   * The arena offset of [gpa, gpa + length), or -1 when any byte of it is not RAM or it crosses the hole.
   * An empty range is valid where a byte would be, and at the end of RAM.
   */
  arenaOffset(gpa: number, length: number): number {
    const end = gpa + length;
    if (gpa >= 0 && length >= 0 && end <= this.#lowBytes) return this.#ramOffset + gpa;
    if (gpa >= HIGH_RAM_START && length >= 0 && end <= this.#highEnd) {
      return this.#ramOffset + this.#lowBytes + (gpa - HIGH_RAM_START);
    }
    return -1;
  }

  /** A view of RAM, no copy; undefined when outside RAM. */
  slice(gpa: number, length: number): Uint8Array | undefined {
    const offset = this.arenaOffset(gpa, length);
    return offset < 0 ? undefined : this.bytes.subarray(offset, offset + length);
  }

  /** The value, or -1 outside RAM; so do {@link readU16} and {@link readU32}. */
  readU8(gpa: number): number {
    const offset = this.arenaOffset(gpa, 1);
    return offset < 0 ? -1 : this.view.getUint8(offset);
  }

  readU16(gpa: number): number {
    const offset = this.arenaOffset(gpa, 2);
    return offset < 0 ? -1 : this.view.getUint16(offset, true);
  }

  readU32(gpa: number): number {
    const offset = this.arenaOffset(gpa, 4);
    return offset < 0 ? -1 : this.view.getUint32(offset, true);
  }

  /** Allocates a bigint; use {@link readAddress} or two {@link readU32} on a hot path. */
  readU64(gpa: number): bigint | undefined {
    const offset = this.arenaOffset(gpa, 8);
    return offset < 0 ? undefined : this.view.getBigUint64(offset, true);
  }

  /**
   * A u64 as a number, or -1 outside RAM. Exact below 2^53; a larger value is rounded but stays at or above
   * 2^53, so as a guest-physical address it is outside RAM all the same.
   */
  readAddress(gpa: number): number {
    const offset = this.arenaOffset(gpa, 8);
    if (offset < 0) return -1;
    return this.view.getUint32(offset + 4, true) * 0x1_0000_0000 + this.view.getUint32(offset, true);
  }

  /** Writes the low 8 bits; false outside RAM, as all writes. */
  writeU8(gpa: number, value: number): boolean {
    const offset = this.arenaOffset(gpa, 1);
    if (offset < 0) return false;
    this.view.setUint8(offset, value);
    return true;
  }

  writeU16(gpa: number, value: number): boolean {
    const offset = this.arenaOffset(gpa, 2);
    if (offset < 0) return false;
    this.view.setUint16(offset, value, true);
    return true;
  }

  writeU32(gpa: number, value: number): boolean {
    const offset = this.arenaOffset(gpa, 4);
    if (offset < 0) return false;
    this.view.setUint32(offset, value, true);
    return true;
  }

  writeU64(gpa: number, value: bigint): boolean {
    const offset = this.arenaOffset(gpa, 8);
    if (offset < 0) return false;
    this.view.setBigUint64(offset, value, true);
    return true;
  }

  /** A u64 in two halves, without a bigint. */
  writeU64LoHi(gpa: number, lo: number, hi: number): boolean {
    const offset = this.arenaOffset(gpa, 8);
    if (offset < 0) return false;
    this.view.setUint32(offset, lo, true);
    this.view.setUint32(offset + 4, hi, true);
    return true;
  }

  /** Copies all of `source` to `gpa`; writes nothing and says false when any byte falls outside RAM. */
  copyIn(gpa: number, source: Uint8Array): boolean {
    const offset = this.arenaOffset(gpa, source.length);
    if (offset < 0) return false;
    this.bytes.set(source, offset);
    return true;
  }

  /** Fills all of `target` from `gpa`; leaves it alone and says false when any byte falls outside RAM. */
  copyOut(gpa: number, target: Uint8Array): boolean {
    const offset = this.arenaOffset(gpa, target.length);
    if (offset < 0) return false;
    target.set(this.bytes.subarray(offset, offset + target.length));
    return true;
  }

  /** Fills a range with one byte value; false when any byte falls outside RAM. */
  fill(gpa: number, length: number, value: number): boolean {
    const offset = this.arenaOffset(gpa, length);
    if (offset < 0) return false;
    this.bytes.fill(value, offset, offset + length);
    return true;
  }
}
