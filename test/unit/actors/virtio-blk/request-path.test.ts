// The disk's two request paths against each other: the same requests of a driver, good and bad, served in WebAssembly (in the place
// of the actor's sleep, what is left by TypeScript) and in TypeScript alone. Answers, images, interrupts and state pages are alike.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createVirtioBlk } from '#actors/virtio-blk/actor.js';
import { PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from '#shared/pci/registers.js';
import * as B from '#shared/virtio/blk.js';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '#shared/virtio/constants.js';
import { placeDeviceState } from '#shared/virtio/device-state.js';
import { featureSet, unionFeatures, type FeatureSet } from '#shared/virtio/feature-set.js';
import { PENDING } from '#shared/x86/cpu-state.js';
import * as L from '#shared/x86/lapic-layout.js';
import { ACTOR, InProcessDevice } from '../../../support/in-process-device.js';
import type { Buffer } from '../../../support/mock-driver.js';

const SECTORS = 64;
const QUEUE_SIZE = 16;
const BDF = 1 << 3;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-path-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function makeDisk(name: string, readonly: boolean): { disk: InProcessDevice; path: string } {
  const path = join(folder, name);
  writeFileSync(
    path,
    Uint8Array.from({ length: SECTORS * 512 }, (_, i) => (i >>> 9) + 1),
  );
  const params = { path, readonly, serial: 'disk-0' };
  return {
    disk: new InProcessDevice({ create: createVirtioBlk, plan: B.blkFunctionPlan(ACTOR), params }),
    path,
  };
}

interface Request {
  readonly buffers: readonly Buffer[];
  readonly indirect: boolean;
}

/** How the queue's interrupt is programmed, and what its LAPIC is: words by their offsets in table entry and LAPIC page. */
interface Wiring {
  readonly entry: readonly (readonly [offset: number, value: number])[];
  readonly lapic: readonly (readonly [offset: number, value: number])[];
}

interface Script {
  readonly wiring: Wiring;
  readonly features: FeatureSet;
  readonly readonly: boolean;
  readonly batches: readonly {
    readonly requests: readonly Request[];
    readonly armed: boolean;
    readonly restart: boolean;
  }[];
}

function header(type: number, sector: bigint, bytes: number): Uint8Array {
  const whole = new Uint8Array(24);
  const view = new DataView(whole.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, sector, true);
  return whole.subarray(0, bytes);
}

/** Mostly what a driver would send; some of it is wrong in its header, its length, its place or its status. */
const requests: fc.Arbitrary<Request> = fc
  .record({
    type: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(B.VIRTIO_BLK_T_IN, B.VIRTIO_BLK_T_OUT) },
      { weight: 1, arbitrary: fc.constantFrom(B.VIRTIO_BLK_T_FLUSH, B.VIRTIO_BLK_T_GET_ID, 99) },
    ),
    sector: fc.oneof(
      { weight: 8, arbitrary: fc.bigInt(0n, 60n) },
      {
        weight: 1,
        arbitrary: fc.constantFrom(63n, 64n, 65n, 2n ** 32n, 2n ** 55n, 2n ** 63n, 2n ** 64n - 1n),
      },
    ),
    headerBytes: fc.oneof({ weight: 30, arbitrary: fc.constant(16) }, fc.constantFrom(8, 24)),
    pieces: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom([512], [1024], [512, 512], [100, 412], [511, 1]) },
      { weight: 1, arbitrary: fc.constantFrom([], [511], [512, 1]) },
    ),
    statusBytes: fc.oneof({ weight: 30, arbitrary: fc.constant([1]) }, fc.constantFrom([], [2], [1, 1])),
    fill: fc.nat(255),
    indirect: fc.boolean(),
    statusFirst: fc.oneof({ weight: 15, arbitrary: fc.constant(false) }, fc.constant(true)),
  })
  .map(({ type, sector, headerBytes, pieces, statusBytes, fill, indirect, statusFirst }) => {
    const data = pieces.map((bytes) =>
      type === B.VIRTIO_BLK_T_IN || type === B.VIRTIO_BLK_T_GET_ID ? bytes : new Uint8Array(bytes).fill(fill),
    );
    const rest = statusFirst ? [...statusBytes, ...data] : [...data, ...statusBytes];
    return { buffers: [header(type, sector, headerBytes), ...rest], indirect };
  });

const word = (offset: number, ...values: readonly number[]) =>
  fc.constantFrom(...values).map((value) => [offset, value] as const);

/** Half of them as Linux does it. */
const wirings: fc.Arbitrary<Wiring> = fc.oneof(
  fc.constant({ entry: [], lapic: [] }),
  fc.record({
    entry: fc.tuple(
      word(0, 0xfee0_0000, 0xfee0_0004, 0xfee0_1004, 0xfee0_1000, 0xfeef_f000, 0xfee1_1004, 0xfed0_0000),
      word(4, 0, 0, 0, 1),
      word(8, 0x41, 0x41, 0xef, 0x0f, 0x141, 0x8041, 0x441, 0x741),
      word(12, 0, 0, 0, 1),
    ),
    lapic: fc.tuple(
      word(L.LAPIC_MODE, L.LAPIC_MODE_X2APIC, L.LAPIC_MODE_XAPIC, L.LAPIC_MODE_XAPIC, L.LAPIC_MODE_DISABLED),
      word(L.LAPIC_XAPIC_ID, 0, 1, 17),
      word(L.LAPIC_X2APIC_ID, 0, 1, 17),
      word(L.LAPIC_LDR, 0, 1 << 24, 0x11 << 24),
      word(L.LAPIC_DFR, -1, 0x0fff_ffff),
      word(L.LAPIC_SVR, 0x1ff, 0x1ff, 0xff),
    ),
  }),
);

const scripts: fc.Arbitrary<Script> = fc.record({
  wiring: wirings,
  features: fc
    .tuple(fc.boolean(), fc.boolean())
    .map(([events, indirect]) =>
      unionFeatures(
        featureSet(VIRTIO_F_VERSION_1, ...(events ? [VIRTIO_F_EVENT_IDX] : [])),
        featureSet(B.VIRTIO_BLK_F_FLUSH, ...(indirect ? [VIRTIO_F_INDIRECT_DESC] : [])),
      ),
    ),
  readonly: fc.boolean(),
  batches: fc.array(
    fc.record({
      requests: fc.array(requests, { minLength: 1, maxLength: 4 }),
      armed: fc.boolean(),
      restart: fc.boolean(),
    }),
    { minLength: 1, maxLength: 12 },
  ),
});

interface Trace {
  readonly steps: unknown[];
  asleep: number;
}

/** What the driver and the host see of a script. */
function play(script: Script, name: string, asleep: boolean): Trace {
  const { disk, path } = makeDisk(name, script.readonly);
  const { driver, layout, views } = disk;
  const trace: Trace = { steps: [], asleep: 0 };
  const places = placeDeviceState(layout.actors[ACTOR]!.statePage, [B.BLK_QUEUE_SIZE], 0);
  trace.steps.push(driver.start(script.features, QUEUE_SIZE));
  if (asleep) disk.serveAsleep(); // the doorbell rang for config space
  const queue = driver.queues[0]!;
  const { lapic, state } = layout.vcpus[0]!;
  const queueEntry = disk.pci.msix.offset + 16;
  for (const [offset, value] of script.wiring.entry) views.i32[(queueEntry + offset) >>> 2] = value;
  for (const [offset, value] of script.wiring.lapic) views.i32[(lapic.offset + offset) >>> 2] = value;
  const hex = (start: number, end: number): string =>
    Buffer.from(views.u8.subarray(start, end)).toString('hex');
  for (const batch of script.batches) {
    if (batch.restart) disk.restart();
    // A new generation's first turn is TypeScript's.
    disk.settle();
    if (batch.armed) queue.armUsed();
    for (const { buffers, indirect } of batch.requests) trace.steps.push(queue.post(buffers, indirect));
    trace.steps.push(queue.needsNotify());
    driver.notify(0);
    if (asleep && disk.serveAsleep()) trace.asleep++;
    disk.settle();
    trace.steps.push(
      hex(lapic.offset, lapic.offset + L.LAPIC_PAGE_BYTES),
      views.i32[(state.offset + PENDING) >>> 2],
    );
    trace.steps.push(hex(disk.pci.msix.offset, disk.pci.msix.offset + disk.pci.msix.bytes));
    trace.steps.push(disk.takeInterrupt(1), disk.takeInterrupt(0), driver.status);
    for (let used = queue.take(); used !== undefined; used = queue.take())
      trace.steps.push([used.head, used.length, Buffer.from(used.data).toString('hex')]);
    trace.steps.push(hex(places.header, places.device));
    if (driver.needsReset) break;
  }
  trace.steps.push(readFileSync(path).toString('hex'));
  return trace;
}

/** A driver without any feature that it need not take, and nothing left to do but requests. */
function startPlain(disk: InProcessDevice): void {
  expect(disk.driver.start(featureSet(VIRTIO_F_VERSION_1), QUEUE_SIZE)).toBe(true);
  disk.serveAsleep(); // the doorbell rang for config space
  disk.settle();
}

describe('the request path in WebAssembly', () => {
  it('answers every request as the one in TypeScript', () => {
    let asleep = 0;
    fc.assert(
      fc.property(scripts, (script) => {
        const fast = play(script, 'fast.img', true);
        expect(fast.steps).toEqual(play(script, 'plain.img', false).steps);
        asleep += fast.asleep;
      }),
      { numRuns: 400 },
    );
    expect(asleep).toBeGreaterThan(400);
  });

  it('sends an interrupt message to whom TypeScript sends it', () => {
    const requests = [{ buffers: [header(B.VIRTIO_BLK_T_IN, 0n, 16), 512, 1], indirect: false }];
    const batches = [{ requests, armed: true, restart: false }];
    const features = featureSet(VIRTIO_F_VERSION_1);
    const modes = [L.LAPIC_MODE_XAPIC, L.LAPIC_MODE_X2APIC];
    let cases = 0;
    for (const destination of [0, 1, 2, 0x10, 0x11, 0xf1, 0xff])
      for (const logical of [0, 4])
        for (const mode of modes)
          for (const id of [0, 1, 0x11])
            for (const dfr of mode === L.LAPIC_MODE_XAPIC && logical === 4 ? [-1, 0x0fff_ffff] : [-1]) {
              const entry = [[0, 0xfee0_0000 | (destination << 12) | logical]] as const;
              const lapic = [
                [L.LAPIC_MODE, mode],
                [L.LAPIC_XAPIC_ID, id],
                [L.LAPIC_X2APIC_ID, id],
                [L.LAPIC_LDR, id << 24],
                [L.LAPIC_DFR, dfr],
              ] as const;
              const script = { wiring: { entry, lapic }, features, readonly: false, batches };
              const fast = play(script, 'fast.img', true);
              expect(fast.steps, `to ${destination}, ${logical}, of ${mode}, ${id}, ${dfr}`).toEqual(
                play(script, 'plain.img', false).steps,
              );
              expect(fast.asleep).toBe(1);
              cases++;
            }
    expect(cases).toBe(105);
  });

  it('serves a driver that took neither indirect tables nor events', () => {
    const { disk } = makeDisk('plain-features.img', false);
    startPlain(disk);
    disk.driver.queues[0]!.post([header(B.VIRTIO_BLK_T_IN, 3n, 16), 512, 1]);
    disk.driver.notify(0);
    expect(disk.serveAsleep()).toBe(true);
    expect(disk.driver.queues[0]!.take()?.data[0]).toBe(4);
  });

  it('leaves a device alone that is no bus master or waits for its reset', () => {
    const { disk } = makeDisk('master.img', false);
    startPlain(disk);
    const queue = disk.driver.queues[0]!;
    const post = (): void => {
      queue.post([header(B.VIRTIO_BLK_T_IN, 3n, 16), 512, 1]);
      disk.driver.notify(0);
    };
    post();
    expect(disk.serveAsleep()).toBe(true);
    disk.config.write(BDF, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    disk.ringConfig();
    disk.settle();
    disk.serveAsleep(); // the doorbell's other reasons
    post();
    expect(disk.serveAsleep()).toBe(false);
    disk.config.write(BDF, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    disk.ringConfig();
    disk.settle();
    expect([queue.take(), queue.take()]).not.toContain(undefined);
    queue.post([header(B.VIRTIO_BLK_T_IN, 3n, 8), 1]);
    disk.driver.notify(0);
    disk.serveAsleep();
    disk.settle();
    expect(disk.driver.needsReset).toBe(true);
    post();
    expect(disk.serveAsleep()).toBe(false);
  });
});
