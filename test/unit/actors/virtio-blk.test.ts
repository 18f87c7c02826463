// The disk against a driver: every request type, what a wrong request gets, and no request lost, doubled or reordered when
// the device dies at any failpoint. The model is an array of bytes.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createVirtioBlk } from '#actors/virtio-blk/actor.js';
import { createPrng } from '#shared/base/prng.js';
import * as B from '#shared/virtio/blk.js';
import { VIRTIO_F_VERSION_1 } from '#shared/virtio/constants.js';
import { featureSet, unionFeatures } from '#shared/virtio/feature-set.js';
import { ACTOR, InProcessDevice, killNow } from '../../support/in-process-device.js';
import { DEFAULT_FEATURES, type Buffer } from '../../support/mock-driver.js';

const SECTORS = 64;
const FEATURES = unionFeatures(DEFAULT_FEATURES, B.blkFeatures(false));

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-blk-'));
  path = join(folder, 'disk.img');
  writeFileSync(
    path,
    Uint8Array.from({ length: SECTORS * 512 }, (_, i) => (i >>> 9) + 1),
  );
});
afterEach(() => rmSync(folder, { recursive: true }));

function makeDisk(readonly = false): InProcessDevice {
  const params = { path, readonly, serial: 'disk-0' };
  return new InProcessDevice({ create: createVirtioBlk, plan: B.blkFunctionPlan(ACTOR), params });
}

function header(type: number, sector: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
}

function range(sector: number, sectors: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(sector), true);
  view.setUint32(8, sectors, true);
  view.setUint32(12, flags, true);
  return bytes;
}

/** One request, served; data that came back, and the status. */
function request(disk: InProcessDevice, buffers: readonly Buffer[], indirect = false) {
  const queue = disk.driver.queues[0]!;
  queue.post([...buffers, 1], indirect);
  disk.driver.notify(0);
  disk.settle();
  const used = queue.take()!;
  return { status: used.data.at(-1)!, data: used.data.subarray(0, -1), length: used.length };
}

describe('virtio-blk', () => {
  it('shows capacity and block size', () => {
    const { driver } = makeDisk();
    expect(driver.config(0, 4)).toBe(SECTORS);
    expect(driver.config(20, 4)).toBe(512);
  });

  it('reads and writes, direct and indirect, in odd pieces', () => {
    const disk = makeDisk();
    expect(disk.driver.start(FEATURES)).toBe(true);
    const data = Uint8Array.from({ length: 1024 }, (_, i) => i * 7);
    const pieces = [data.subarray(0, 100), data.subarray(100, 101), data.subarray(101)];
    expect(request(disk, [header(B.VIRTIO_BLK_T_OUT, 3), ...pieces], true)).toMatchObject({
      status: 0,
      length: 1,
    });
    const read = request(disk, [header(B.VIRTIO_BLK_T_IN, 3), 700, 324]);
    expect(read).toMatchObject({ status: 0, length: 1025 });
    expect(read.data).toEqual(data);
    expect(request(disk, [header(B.VIRTIO_BLK_T_FLUSH, 0)]).status).toBe(0);
    expect(readFileSync(path).subarray(3 * 512, 5 * 512)).toEqual(Buffer.from(data));
  });

  it('interrupts for what it completes', () => {
    const disk = makeDisk();
    disk.driver.start(FEATURES);
    disk.driver.queues[0]!.armUsed();
    request(disk, [header(B.VIRTIO_BLK_T_IN, 0), 512]);
    expect(disk.takeInterrupt(1)).toBe(true);
    request(disk, [header(B.VIRTIO_BLK_T_IN, 0), 512]);
    expect(disk.takeInterrupt(1)).toBe(false); // used_event was passed long ago
  });

  it('answers GET_ID, refuses unknown types', () => {
    const disk = makeDisk();
    disk.driver.start(FEATURES);
    const id = request(disk, [header(B.VIRTIO_BLK_T_GET_ID, 0), 20]);
    expect(new TextDecoder().decode(id.data)).toBe('disk-0'.padEnd(20, '\0'));
    expect(request(disk, [header(99, 0), 20]).status).toBe(B.VIRTIO_BLK_S_UNSUPP);
  });

  it('zeroes what is discarded or written with zeroes, within the limits it shows', () => {
    const disk = makeDisk();
    disk.driver.start(FEATURES);
    expect(request(disk, [header(B.VIRTIO_BLK_T_DISCARD, 0), range(1, 2)]).status).toBe(0);
    expect(request(disk, [header(B.VIRTIO_BLK_T_WRITE_ZEROES, 0), range(8, 1, 1)]).status).toBe(0);
    const image = readFileSync(path);
    expect([0, 1, 2, 3, 7, 8, 9].map((sector) => image[sector * 512])).toEqual([1, 0, 0, 4, 8, 0, 10]);
    expect(request(disk, [header(B.VIRTIO_BLK_T_DISCARD, 0), range(1, 2, 1)]).status).toBe(
      B.VIRTIO_BLK_S_UNSUPP,
    );
    expect(request(disk, [header(B.VIRTIO_BLK_T_DISCARD, 0), range(60, 5)]).status).toBe(
      B.VIRTIO_BLK_S_IOERR,
    );
  });

  it('gives an I/O error for what lies outside the disk or is no whole sector', () => {
    const disk = makeDisk();
    disk.driver.start(FEATURES);
    for (const [sector, bytes] of [
      [SECTORS, 512],
      [SECTORS - 1, 1024],
      [2 ** 52, 512],
      [0, 511],
    ] as const) {
      expect(request(disk, [header(B.VIRTIO_BLK_T_IN, sector), bytes]).status).toBe(B.VIRTIO_BLK_S_IOERR);
      const write = request(disk, [header(B.VIRTIO_BLK_T_OUT, sector), new Uint8Array(bytes)]);
      expect(write.status).toBe(B.VIRTIO_BLK_S_IOERR);
    }
    expect(readFileSync(path)[0]).toBe(1);
  });

  it('keeps a read-only disk as it is', () => {
    const disk = makeDisk(true);
    expect(disk.driver.offered().lo & (1 << B.VIRTIO_BLK_F_RO)).not.toBe(0);
    disk.driver.start(unionFeatures(DEFAULT_FEATURES, B.blkFeatures(true)));
    const write = request(disk, [header(B.VIRTIO_BLK_T_OUT, 0), new Uint8Array(512)]);
    expect(write.status).toBe(B.VIRTIO_BLK_S_IOERR);
    expect(request(disk, [header(B.VIRTIO_BLK_T_FLUSH, 0)]).status).toBe(0);
  });

  it('asks for a reset when a request has no room for its status', () => {
    const disk = makeDisk();
    disk.driver.start(FEATURES);
    disk.driver.queues[0]!.post([header(B.VIRTIO_BLK_T_FLUSH, 0)]);
    disk.driver.notify(0);
    disk.settle();
    expect(disk.driver.needsReset).toBe(true);
    expect(disk.takeInterrupt(0)).toBe(true);
    disk.driver.start(FEATURES);
    expect(request(disk, [header(B.VIRTIO_BLK_T_FLUSH, 0)]).status).toBe(0);
  });

  it('resets a queue alone and takes it into use again', () => {
    const disk = makeDisk();
    disk.driver.start(FEATURES);
    request(disk, [header(B.VIRTIO_BLK_T_FLUSH, 0)]);
    disk.port.write(0x16, 2, 0);
    disk.port.write(0x3a, 2, 1);
    expect([disk.port.read(0x3a, 2), disk.port.read(0x1c, 2)]).toEqual([0, 0]);
    disk.driver.startQueue(0, 8);
    const read = request(disk, [header(B.VIRTIO_BLK_T_IN, 4), 512]);
    expect([read.status, read.data[0]]).toEqual([0, 5]);
  });

  it('does not take features without VERSION_1 or that it did not offer', () => {
    const { driver } = makeDisk();
    expect(driver.start(featureSet(B.VIRTIO_BLK_F_FLUSH))).toBe(false);
    expect(driver.start(featureSet(VIRTIO_F_VERSION_1, B.VIRTIO_BLK_F_RO))).toBe(false);
    expect(driver.start(featureSet(VIRTIO_F_VERSION_1))).toBe(true);
  });
});

describe('virtio-blk killed', () => {
  /** Random batches of requests; the driver waits for interrupts as a guest would, and never gives a second push. */
  function runModel(seed: number, meanHits: number): InProcessDevice {
    const prng = createPrng(seed);
    const disk = makeDisk();
    const model = new Uint8Array(readFileSync(path));
    const killer = killNow(disk, seed, meanHits);
    disk.driver.start(FEATURES);
    const queue = disk.driver.queues[0]!;
    for (let round = 0; round < 60; round++) {
      const expected = new Map<number, Uint8Array>();
      const batch = 1 + prng.below(4);
      for (let i = 0; i < batch; i++) {
        const sector = prng.below(SECTORS - 2);
        const write = prng.below(2) === 0;
        const data = new Uint8Array(512 * (1 + prng.below(2)));
        prng.fill(data);
        const buffers = write ? [header(1, sector), data, 1] : [header(0, sector), data.length, 1];
        const head = queue.post(buffers, prng.below(2) === 0);
        if (head < 0) continue;
        if (write) model.set(data, sector * 512);
        const answer = write ? new Uint8Array(1) : new Uint8Array(data.length + 1);
        if (!write) answer.set(model.subarray(sector * 512, sector * 512 + data.length));
        expected.set(head, answer);
      }
      if (queue.needsNotify()) disk.driver.notify(0);
      while (expected.size > 0) {
        while (!queue.armUsed()) {
          disk.settle();
          if (!disk.takeInterrupt(1)) throw new Error(`seed ${seed}: the device rests, the driver waits`);
        }
        const used = queue.take()!;
        expect(expected.get(used.head), `head ${used.head} was given back twice`).toBeDefined();
        expect(used.data).toEqual(expected.get(used.head));
        expected.delete(used.head);
      }
      killer.next();
    }
    expect(new Uint8Array(readFileSync(path))).toEqual(model);
    return disk;
  }

  it('loses, doubles and reorders nothing', () => {
    let generations = 0;
    const points = new Set<string>();
    for (let seed = 1; seed <= 10; seed++) {
      const disk = runModel(seed, 12);
      generations += disk.generation;
      for (const point of disk.pointsSeen) points.add(point);
    }
    expect(generations).toBeGreaterThan(300);
    expect([...points].sort()).toEqual([
      'inflight.clearing',
      'inflight.set',
      'interrupt.sending',
      'queue.enabled',
      'request.completed',
      'request.executed',
      'request.received',
      'reset.begun',
      'status.written',
      'used.writing',
      'used.written',
    ]);
  });

  it('goes on in another generation from saved state', () => {
    const disk = makeDisk();
    disk.driver.start(FEATURES);
    request(disk, [header(B.VIRTIO_BLK_T_OUT, 0), new Uint8Array(512).fill(9)]);
    const state = disk.behaviour.save();
    disk.behaviour.reset();
    expect(disk.driver.status).toBe(0);
    disk.behaviour.restore(state);
    expect(request(disk, [header(B.VIRTIO_BLK_T_IN, 0), 512]).data[0]).toBe(9);
  });
});
