// A raw disk image: byte n of the disk is byte n of the file. Blocking calls on views of guest RAM (no copy). Node has no
// fallocate, so zeroing writes zeros, but only where the file does not read zero already: holes stay holes.
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, readvSync, writevSync } from 'node:fs';
import type { BlockBackend } from '#shared/block/backend.js';
import { SECTOR_BYTES } from '#shared/virtio/blk.js';

/** UIO_MAXIOV. */
const MAX_VIEWS = 1024;
const ZERO_CHUNK_BYTES = 256 * 1024;

export class RawFile implements BlockBackend {
  readonly capacityBytes: number;
  readonly readonly: boolean;
  readonly #fd: number;
  readonly #zeros = new Uint8Array(ZERO_CHUNK_BYTES);
  readonly #scratch = new Uint8Array(ZERO_CHUNK_BYTES);

  /** Throws what the host says when the file cannot be opened. A last part of a sector counts as one. */
  constructor(path: string, readonly: boolean) {
    this.readonly = readonly;
    this.#fd = openSync(path, readonly ? 'r' : 'r+');
    const bytes = deviceOrFileBytes(this.#fd);
    this.capacityBytes = Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
  }

  readv(views: readonly Uint8Array[], position: number): void {
    let at = position;
    eachTransfer(
      views,
      (rest) => {
        const bytes = readvSync(this.#fd, rest, at);
        at += bytes;
        return bytes;
      },
      zeroFill,
    );
  }

  writev(views: readonly Uint8Array[], position: number): void {
    let at = position;
    eachTransfer(
      views,
      (rest) => {
        const bytes = writevSync(this.#fd, rest, at);
        at += bytes;
        return bytes;
      },
      refuse,
    );
  }

  zero(position: number, length: number): void {
    for (let done = 0; done < length; done += ZERO_CHUNK_BYTES) {
      const bytes = Math.min(ZERO_CHUNK_BYTES, length - done);
      if (!this.#readsZero(position + done, bytes)) {
        this.writev([this.#zeros.subarray(0, bytes)], position + done);
      }
    }
  }

  flush(): void {
    fdatasyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #readsZero(position: number, bytes: number): boolean {
    const chunk = this.#scratch.subarray(0, bytes);
    this.readv([chunk], position);
    return Buffer.compare(chunk, this.#zeros.subarray(0, bytes)) === 0;
  }
}

/** A block device's stat has no size: its last byte is found by bisection over reads of one byte. */
function deviceOrFileBytes(fd: number): number {
  const stat = fstatSync(fd);
  if (!stat.isBlockDevice()) return stat.size;
  const probe = new Uint8Array(1);
  const holds = (position: number): boolean => readSync(fd, probe, 0, 1, position) === 1;
  let low = 0;
  let high = 2 ** 45;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Calls `transfer` until all views are done; when it moves nothing, `atEnd` has the rest. */
function eachTransfer(
  views: readonly Uint8Array[],
  transfer: (rest: Uint8Array[]) => number,
  atEnd: (rest: readonly Uint8Array[]) => void,
): void {
  let rest = views.slice();
  while (rest.length > 0) {
    let bytes = transfer(rest.length > MAX_VIEWS ? rest.slice(0, MAX_VIEWS) : rest);
    if (bytes === 0) return atEnd(rest);
    let whole = 0;
    while (whole < rest.length && bytes >= rest[whole]!.length) bytes -= rest[whole++]!.length;
    if (whole > 0) rest = rest.slice(whole);
    if (bytes > 0) rest[0] = rest[0]!.subarray(bytes);
  }
}

function zeroFill(rest: readonly Uint8Array[]): void {
  for (const view of rest) view.fill(0);
}

function refuse(): void {
  throw new Error('the host took none of a write');
}
