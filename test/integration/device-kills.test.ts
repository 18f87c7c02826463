// virtio devices as real workers, killed at random moments (worker.terminate) under load: no request is lost, refused or
// doubled, and not a byte of the console's streams is lost, doubled or reordered. The driver runs in this thread and
// touches nothing but guest RAM and doorbells once the device is up, so that it never blocks the supervisor.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { inputSource, messageKind, portCount, VERB_DATA } from '#actors/virtio-console/protocol.js';
import type { MachinePlan } from '#kernel/arena-plan.js';
import { createPrng } from '#shared/base/prng.js';
import { MailboxReceiver, MailboxSender } from '#shared/ipc/mailbox.js';
import { SPACE_MMIO } from '#shared/ipc/register-bus.js';
import { KERNEL_NAME, mailboxName } from '#shared/memory/machine-layout.js';
import { hostBridgePlan } from '#shared/pci/host-bridge.js';
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';
import * as B from '#shared/virtio/blk.js';
import * as V from '#shared/virtio/console.js';
import { unionFeatures } from '#shared/virtio/feature-set.js';
import { NOTIFY_CFG_OFFSET } from '#shared/virtio/pci-layout.js';
import { rngFunctionPlan } from '#shared/virtio/rng.js';
import { DeviceBench, builtActor } from '../support/device-bench.js';
import { DEFAULT_FEATURES, MockDriver } from '../support/mock-driver.js';

const KILLS = 50;
const SEED = 20_250_101;
const ACTOR = 'device-0';

let bench: DeviceBench | undefined;
afterEach(async () => {
  await bench?.stop();
  bench = undefined;
});

async function startDevice(
  kind: string,
  pci: PciFunctionPlan,
  params: unknown,
  plan: Partial<MachinePlan> = {},
) {
  bench = new DeviceBench({
    actors: [{ name: ACTOR, kind, entry: builtActor(kind), params }],
    plan: { pci: [hostBridgePlan(KERNEL_NAME), pci], ...plan },
    intensity: 1000,
  });
  await bench.start();
  const { bus, views, ram } = bench;
  const base = bench.layout.pci[1]!.bars[0]!.address;
  const driver = new MockDriver(views, ram, {
    read: (offset, size) => {
      bus.read(SPACE_MMIO, base + offset, size);
      return bus.lo;
    },
    write: (offset, size, value) => bus.write(SPACE_MMIO, base + offset, size, value, 0),
    notify: (queue) => bus.write(SPACE_MMIO, base + NOTIFY_CFG_OFFSET + 4 * queue, 2, queue, 0),
  });
  return { bench, driver };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Killer {
  done: boolean;
  finished: Promise<void>;
}

/** Kills the device KILLS times, each in the middle of work: some way of `progress` after the last, at a random moment. */
function startKiller(b: DeviceBench, progress: () => number, meanProgress: number): Killer {
  const prng = createPrng(SEED);
  const killer: Killer = { done: false, finished: Promise.resolve() };
  const run = async (): Promise<void> => {
    for (let i = 0; i < KILLS; i++) {
      const target = progress() + 1 + prng.below(2 * meanProgress);
      const deadline = Date.now() + 5000;
      while (progress() < target && Date.now() < deadline) await turn();
      if (prng.below(2) === 0) await sleep(prng.float() * 3);
      await b.supervisor.kill(ACTOR);
    }
    killer.done = true;
  };
  killer.finished = run();
  return killer;
}

function header(type: number, sector: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(8, sector, true);
  return bytes;
}

describe(`devices killed ${KILLS} times, seed ${SEED}`, () => {
  it('virtio-blk: every request is answered once, without error, and the image is what was written', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'troupe-kills-'));
    const path = join(folder, 'disk.img');
    const sectors = 8192;
    const model = new Uint8Array(sectors * 512);
    writeFileSync(path, model);
    const params = { path, readonly: false, serial: 's' };
    const { bench: b, driver } = await startDevice('virtio-blk', B.blkFunctionPlan(ACTOR), params);
    expect(driver.start(unionFeatures(DEFAULT_FEATURES, B.blkFeatures(false)), 64)).toBe(true);
    const queue = driver.queues[0]!;
    const prng = createPrng(SEED);
    const expected = new Map<number, Uint8Array>();
    let completed = 0;
    const killer = startKiller(b, () => completed, 40);
    const collect = (): void => {
      for (let used = queue.take(); used !== undefined; used = queue.take()) {
        const answer = expected.get(used.head)!;
        if (Buffer.compare(used.data, answer) !== 0) throw new Error(`wrong answer to ${used.head}`);
        expected.delete(used.head);
        completed++;
      }
    };
    while (!killer.done) {
      const sector = prng.below(sectors - 64);
      const data = new Uint8Array(512 * (1 + prng.below(16))).fill(prng.below(256));
      const write = prng.below(2) === 0;
      const head = queue.post(
        write ? [header(1, sector), data, 1] : [header(0, sector), data.length, 1],
        true,
      );
      if (head >= 0) {
        const answer = new Uint8Array(write ? 1 : data.length + 1);
        if (write) model.set(data, sector * 512);
        else answer.set(model.subarray(sector * 512, sector * 512 + data.length));
        expected.set(head, answer);
        if (queue.needsNotify()) driver.notify(0);
      }
      collect();
      if (head < 0) await turn();
    }
    await killer.finished;
    const deadline = Date.now() + 10_000;
    while (expected.size > 0 && Date.now() < deadline) {
      await turn();
      collect();
    }
    expect(expected.size).toBe(0);
    expect(Buffer.compare(readFileSync(path), model)).toBe(0);
    expect(completed).toBeGreaterThan(1000);
    expect(b.supervisor.status()[0]!.generation).toBe(KILLS + 1);
    rmSync(folder, { recursive: true });
  });

  it('virtio-console: what the guest prints and what is typed arrives whole, in order, once', async () => {
    const ports = portCount(false);
    const box = (from: string, to: string) => ({ from, to, entries: 16, payloadBytes: 256 });
    const { bench: b, driver } = await startDevice(
      'virtio-console',
      V.consoleFunctionPlan(ACTOR, ports),
      { output: 'kernel', execPorts: false },
      { mailboxes: [box(ACTOR, KERNEL_NAME), box(inputSource(0), ACTOR)] },
    );
    const { views, layout } = b;
    const fromDevice = new MailboxReceiver(views, layout.mailboxes[mailboxName(ACTOR, KERNEL_NAME)]!);
    const own = layout.actors[ACTOR]!;
    const toDevice = new MailboxSender(
      views,
      layout.mailboxes[mailboxName(inputSource(0), ACTOR)]!,
      own.doorbell,
    );
    expect(driver.start(DEFAULT_FEATURES, 32)).toBe(true);
    const [receive, transmit] = [driver.queues[0]!, driver.queues[1]!];
    const prng = createPrng(SEED);
    // Both streams are a counter, so that order, loss and doubling all show at once.
    const counters = { printed: 0, seen: 0, typed: 0, arrived: 0 };
    const killer = startKiller(b, () => counters.seen, 10_000);
    const next = (key: 'printed' | 'typed', bytes: number): Uint8Array =>
      Uint8Array.from({ length: bytes }, () => counters[key]++ % 251);
    const check = (key: 'seen' | 'arrived', bytes: Uint8Array): void => {
      for (const byte of bytes) {
        if (byte !== counters[key]++ % 251) throw new Error(`${key}: byte ${counters[key] - 1} is ${byte}`);
      }
    };
    const step = (load: boolean): void => {
      if (load && transmit.freeDescriptors > 0) {
        transmit.post([next('printed', 1 + prng.below(600))]);
        if (transmit.needsNotify()) driver.notify(1);
      }
      if (load && toDevice.hasRoom)
        toDevice.tryCast(messageKind(VERB_DATA, 0), next('typed', 1 + prng.below(256)));
      while (receive.freeDescriptors > 0) receive.post([1 + prng.below(64)]);
      if (receive.needsNotify()) driver.notify(0);
      while (transmit.take() !== undefined);
      for (let used = receive.take(); used !== undefined; used = receive.take()) {
        check('arrived', used.data.subarray(0, used.length));
      }
      for (let payload = fromDevice.peek(); payload >= 0; payload = fromDevice.peek()) {
        check('seen', views.u8.subarray(payload, payload + fromDevice.length));
        fromDevice.complete();
      }
    };
    while (!killer.done) {
      step(true);
      await turn();
    }
    await killer.finished;
    const deadline = Date.now() + 10_000;
    const isDone = (): boolean => counters.seen === counters.printed && counters.arrived === counters.typed;
    while (!isDone() && Date.now() < deadline) {
      step(false);
      await turn();
    }
    expect(counters.seen).toBe(counters.printed);
    expect(counters.arrived).toBe(counters.typed);
    expect(counters.printed).toBeGreaterThan(100_000);
    expect(b.supervisor.status()[0]!.generation).toBe(KILLS + 1);
  });

  it('virtio-rng: every buffer comes back filled, once', async () => {
    const { bench: b, driver } = await startDevice('virtio-rng', rngFunctionPlan(ACTOR), {});
    expect(driver.start(DEFAULT_FEATURES, 16)).toBe(true);
    const queue = driver.queues[0]!;
    let filled = 0;
    const killer = startKiller(b, () => filled, 100);
    const collect = (): void => {
      for (let used = queue.take(); used !== undefined; used = queue.take()) {
        if (used.length !== 64 || used.data.every((byte) => byte === 0))
          throw new Error('a buffer is not filled');
        filled++;
      }
    };
    while (!killer.done) {
      while (queue.post([64]) >= 0);
      if (queue.needsNotify()) driver.notify(0);
      collect();
      await turn();
    }
    await killer.finished;
    const deadline = Date.now() + 10_000;
    while (queue.outstanding > 0 && Date.now() < deadline) {
      await turn();
      collect();
    }
    expect(queue.outstanding).toBe(0);
    expect(filled).toBeGreaterThan(1000);
    expect(b.supervisor.status()[0]!.generation).toBe(KILLS + 1);
  });
});
