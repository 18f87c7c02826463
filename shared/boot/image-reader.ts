// Bounded little-endian reads from a kernel image, which anyone may have written: every read outside the image is
// a TroupeError('bad-kernel') that names what was read, so that no parser needs a length check of its own.
import { TroupeError } from '#shared/base/error.js';

export class ImageReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(offset: number, what: string): number {
    return this.#view.getUint8(this.#check(offset, 1, what));
  }

  u16(offset: number, what: string): number {
    return this.#view.getUint16(this.#check(offset, 2, what), true);
  }

  u32(offset: number, what: string): number {
    return this.#view.getUint32(this.#check(offset, 4, what), true);
  }

  u64(offset: number, what: string): bigint {
    return this.#view.getBigUint64(this.#check(offset, 8, what), true);
  }

  /** A u64 that must be exact as a number: sizes, file offsets, physical addresses. */
  size64(offset: number, what: string): number {
    const value = this.u64(offset, what);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw badKernel(`its ${what} is absurd (${value})`);
    return Number(value);
  }

  /** A view of the image, no copy. */
  slice(offset: number, length: number, what: string): Uint8Array {
    this.#check(offset, length, what);
    return this.bytes.subarray(offset, offset + length);
  }

  #check(offset: number, length: number, what: string): number {
    if (offset < 0 || length < 0 || offset + length > this.bytes.length) {
      throw badKernel(`it is truncated: its ${what} ends at byte ${offset + length} of ${this.bytes.length}`);
    }
    return offset;
  }
}

/** The error for a kernel image that cannot be used, and why. */
export function badKernel(reason: string): TroupeError {
  return new TroupeError(
    'bad-kernel',
    `the kernel image cannot be used: ${reason}`,
    'give --kernel a 64-bit Linux bzImage, an ELF kernel with a PVH note, or a multiboot1 kernel',
  );
}

/** The error for RAM that ends below what the kernel needs. */
export function tooLittleMemory(neededBytes: number, what: string): TroupeError {
  const mib = Math.ceil(neededBytes / 0x10_0000);
  return new TroupeError(
    'too-little-memory',
    `${what} needs at least ${mib} MiB of memory`,
    `give the machine more, for example --memory ${mib}M`,
  );
}
