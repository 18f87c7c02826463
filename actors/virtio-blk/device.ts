// virtio-blk as a device: one queue, its requests carried out strictly in order, one after the other. virtio-v1.2 §5.2.6.
// At-least-once: a request whose completion the guest has not seen is executed again by the next generation. That is safe because
// nothing newer was executed meanwhile: the queue is in order, so an old write cannot run over a newer one.
import type { Failpoint } from '#shared/ipc/failpoint.js';
import type { Logger } from '#shared/ipc/log.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import type { BlockBackend } from '#shared/block/backend.js';
import * as B from '#shared/virtio/blk.js';
import { VIRTIO_ID_BLOCK } from '#shared/virtio/constants.js';
import { DescriptorChain } from '#shared/virtio/descriptor-chain.js';
import { SERVE_IDLE, SERVE_MORE, type ServeResult, type VirtioDevice } from '#shared/virtio/device.js';
import { hasFeature, type FeatureSet } from '#shared/virtio/feature-set.js';
import type { DeviceQueue } from '#shared/virtio/queue.js';

/** Of one turn: after either the register accesses of the guest get theirs. */
const TURN_REQUESTS = 64;
const TURN_BYTES = 4 * 2 ** 20;

export interface BlkEnvironment {
  readonly views: ArenaViews;
  readonly ram: GuestMemory;
  readonly failpoint: Failpoint;
  readonly log: Logger;
  readonly backend: BlockBackend;
  readonly serial: string;
  readonly capacitySectors: number;
  /** After each completion: lets the transport interrupt without waiting for the turn's end. */
  readonly completed: (queue: number) => void;
}

export class VirtioBlk implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_BLOCK;
  readonly queueSizes = [B.BLK_QUEUE_SIZE];
  readonly features: FeatureSet;
  readonly config: Uint8Array;
  readonly #env: BlkEnvironment;
  readonly #chain: DescriptorChain;
  readonly #header = new Uint8Array(B.VIRTIO_BLK_REQ_HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  #writeThrough = false;

  constructor(env: BlkEnvironment) {
    this.#env = env;
    this.#chain = new DescriptorChain(env.views, env.ram);
    this.features = B.blkFeatures(env.backend.readonly);
    this.config = B.blkConfig(env.capacitySectors);
  }

  start(features: FeatureSet): void {
    // §5.2.6.2: without FLUSH the driver takes every write for stable.
    this.#writeThrough = !hasFeature(features, B.VIRTIO_BLK_F_FLUSH);
  }

  reset(): void {}

  serve(index: number, queue: DeviceQueue): ServeResult {
    const chain = this.#chain;
    let bytes = 0;
    for (let requests = 0; requests < TURN_REQUESTS && bytes < TURN_BYTES; requests++) {
      const taken = queue.take(chain);
      if (taken.kind === 'error') return taken;
      if (taken.kind === 'empty') {
        if (queue.arm()) continue;
        return SERVE_IDLE;
      }
      const status = this.#statusOffset();
      if (status < 0 || chain.copyFromReadable(0, this.#header) < this.#header.length) {
        return { kind: 'error', error: 'request-malformed' };
      }
      const read = this.#execute(status);
      this.#env.failpoint('request.executed');
      queue.complete(chain, read + 1);
      this.#env.completed(index);
      bytes += chain.readableBytes + chain.writableBytes;
    }
    return SERVE_MORE;
  }

  /** Arena offset of the status byte, the last device-writable one; −1 when there is none. */
  #statusOffset(): number {
    const { writableBytes, count, offsets, lengths } = this.#chain;
    return writableBytes === 0 ? -1 : offsets[count - 1]! + lengths[count - 1]! - 1;
  }

  /** Carries the request out and writes its status; returns how many bytes of data the guest can read. */
  #execute(status: number): number {
    const chain = this.#chain;
    const type = this.#headerView.getUint32(0, true);
    const sector = readSector(this.#headerView, 8);
    const u8 = this.#env.views.u8;
    try {
      u8[status] = this.#executeType(type, sector);
    } catch (error) {
      this.#env.log.error({ type, sector, error: String(error) }, 'disk request failed');
      u8[status] = B.VIRTIO_BLK_S_IOERR;
    }
    const reads = type === B.VIRTIO_BLK_T_IN || type === B.VIRTIO_BLK_T_GET_ID;
    return reads && u8[status] === B.VIRTIO_BLK_S_OK ? chain.writableBytes - 1 : 0;
  }

  /** Reads or writes that much from `sector` on, which the disk holds; gives the request's status. */
  transfer(type: number, sector: number, views: readonly Uint8Array[]): number {
    const { backend, log } = this.#env;
    try {
      if (type === B.VIRTIO_BLK_T_IN) {
        backend.readv(views, sector * B.SECTOR_BYTES);
      } else {
        backend.writev(views, sector * B.SECTOR_BYTES);
        if (this.#writeThrough) backend.flush();
      }
      return B.VIRTIO_BLK_S_OK;
    } catch (error) {
      // The host's error is the disk's error to the guest; it need not end the machine.
      log.error({ type, sector, error: String(error) }, 'disk request failed');
      return B.VIRTIO_BLK_S_IOERR;
    }
  }

  #executeType(type: number, sector: number): number {
    const chain = this.#chain;
    const { backend } = this.#env;
    const dataIn = chain.writableBytes - 1;
    const dataOut = chain.readableBytes - B.VIRTIO_BLK_REQ_HEADER_BYTES;
    switch (type) {
      case B.VIRTIO_BLK_T_IN:
        if (!this.#holds(sector, dataIn)) return B.VIRTIO_BLK_S_IOERR;
        return this.transfer(type, sector, chain.writableViews(0, dataIn));
      case B.VIRTIO_BLK_T_OUT:
        if (backend.readonly || !this.#holds(sector, dataOut)) return B.VIRTIO_BLK_S_IOERR;
        return this.transfer(type, sector, chain.readableViews(B.VIRTIO_BLK_REQ_HEADER_BYTES, dataOut));
      case B.VIRTIO_BLK_T_FLUSH:
        if (!backend.readonly) backend.flush();
        return B.VIRTIO_BLK_S_OK;
      case B.VIRTIO_BLK_T_GET_ID:
        return this.#getId(dataIn);
      case B.VIRTIO_BLK_T_DISCARD:
      case B.VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#zeroRanges(type, dataOut);
      default:
        return B.VIRTIO_BLK_S_UNSUPP;
    }
  }

  #holds(sector: number, bytes: number): boolean {
    if (bytes % B.SECTOR_BYTES !== 0) return false;
    return sector + bytes / B.SECTOR_BYTES <= this.#env.capacitySectors;
  }

  #getId(room: number): number {
    const id = new Uint8Array(Math.min(B.VIRTIO_BLK_ID_BYTES, room));
    new TextEncoder().encodeInto(this.#env.serial, id);
    this.#chain.copyToWritable(0, id);
    return B.VIRTIO_BLK_S_OK;
  }

  /** §5.2.6.2. What is discarded reads zero, as what is zeroed; flags other than UNMAP are refused. */
  #zeroRanges(type: number, bytes: number): number {
    const { backend } = this.#env;
    if (backend.readonly) return B.VIRTIO_BLK_S_IOERR;
    if (bytes === 0 || bytes % B.VIRTIO_BLK_RANGE_BYTES !== 0) return B.VIRTIO_BLK_S_UNSUPP;
    if (bytes > MAX_RANGES_BYTES) return B.VIRTIO_BLK_S_UNSUPP;
    const ranges = new Uint8Array(bytes);
    this.#chain.copyFromReadable(B.VIRTIO_BLK_REQ_HEADER_BYTES, ranges);
    const view = new DataView(ranges.buffer);
    const known = type === B.VIRTIO_BLK_T_WRITE_ZEROES ? B.VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    for (let at = 0; at < bytes; at += B.VIRTIO_BLK_RANGE_BYTES) {
      if ((view.getUint32(at + 12, true) & ~known) !== 0) return B.VIRTIO_BLK_S_UNSUPP;
      const sectors = view.getUint32(at + 8, true);
      const fits =
        sectors <= B.MAX_RANGE_SECTORS && this.#holds(readSector(view, at), sectors * B.SECTOR_BYTES);
      if (!fits) return B.VIRTIO_BLK_S_IOERR;
    }
    for (let at = 0; at < bytes; at += B.VIRTIO_BLK_RANGE_BYTES) {
      backend.zero(readSector(view, at) * B.SECTOR_BYTES, view.getUint32(at + 8, true) * B.SECTOR_BYTES);
    }
    if (this.#writeThrough) backend.flush();
    return B.VIRTIO_BLK_S_OK;
  }
}

const MAX_RANGES_BYTES = B.MAX_RANGES * B.VIRTIO_BLK_RANGE_BYTES;

/** A u64 as a number; above 2^53 it is rounded, and past every disk's end either way. */
function readSector(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
}
