// A hostile guest against every virtio device: wild ring, PCI and MSI-X programming for 100,000 seeded rounds in this thread, and
// a share of that against real workers. The device survives, says NEEDS_RESET, writes nothing outside the guest's
// RAM, and serves a good driver after a reset. TROUPE_SEED replays another run.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createVirtioBlk } from '#actors/virtio-blk/actor.js';
import { createVirtioConsole } from '#actors/virtio-console/actor.js';
import { inputSource, portCount } from '#actors/virtio-console/protocol.js';
import { createVirtioRng } from '#actors/virtio-rng/actor.js';
import { createPrng } from '#shared/base/prng.js';
import type { ActorContext, ActorBehaviour } from '#shared/ipc/actor.js';
import { silentLogger } from '#shared/ipc/log.js';
import { MailboxReceiver } from '#shared/ipc/mailbox.js';
import { SPACE_MMIO } from '#shared/ipc/register-bus.js';
import { KERNEL_NAME, mailboxName } from '#shared/memory/machine-layout.js';
import { PciConfigSpace } from '#shared/pci/config-space.js';
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';
import { hostBridgePlan } from '#shared/pci/host-bridge.js';
import * as B from '#shared/virtio/blk.js';
import * as V from '#shared/virtio/console.js';
import { featureSet, unionFeatures, type FeatureSet } from '#shared/virtio/feature-set.js';
import { NOTIFY_CFG_OFFSET } from '#shared/virtio/pci-layout.js';
import { rngFunctionPlan } from '#shared/virtio/rng.js';
import { DeviceBench, builtActor } from '../support/device-bench.js';
import { ACTOR, InProcessDevice } from '../support/in-process-device.js';
import { DEFAULT_FEATURES, MockDriver, type RegisterPort } from '../support/mock-driver.js';
import { WildDriver, type Target } from '../support/wild-driver.js';

const SEED = Number(process.env.TROUPE_SEED ?? 1);
const ROUNDS = 100_000;
const WORKER_ROUNDS = 3000;
/** A good driver has its turn this often. */
const PROOF_EVERY = 500;
const PORTS = portCount(true);

interface Kind {
  readonly name: string;
  /** In this thread: in the place of its sleep, as far as it does that. */
  readonly asleep?: boolean;
  readonly share: number;
  readonly create: (ctx: ActorContext) => ActorBehaviour;
  readonly plan: PciFunctionPlan;
  readonly params: () => unknown;
  readonly features: FeatureSet;
  readonly mailboxes: readonly (readonly [string, string])[];
  /** Which queue takes what, for the proof that the device still works. */
  readonly proof: { readonly queue: number; readonly buffers: readonly (Uint8Array | number)[] };
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-hostile-'));
  writeFileSync(join(folder, 'disk.img'), new Uint8Array(64 * 512));
});
afterAll(() => rmSync(folder, { recursive: true }));

function header(type: number): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? type : 0));
}

const DISK: Kind = {
  name: 'virtio-blk',
  share: 0.5,
  create: createVirtioBlk,
  plan: B.blkFunctionPlan(ACTOR),
  params: () => ({ path: join(folder, 'disk.img'), readonly: false, serial: 'wild' }),
  features: unionFeatures(DEFAULT_FEATURES, B.blkFeatures(false)),
  mailboxes: [],
  proof: { queue: 0, buffers: [header(B.VIRTIO_BLK_T_IN), 512, 1] },
};

const KINDS: readonly Kind[] = [
  DISK,
  { ...DISK, name: 'virtio-blk in WebAssembly', asleep: true },
  {
    name: 'virtio-console',
    share: 0.4,
    create: createVirtioConsole,
    plan: V.consoleFunctionPlan(ACTOR, PORTS),
    params: () => ({ output: 'kernel', execPorts: true }),
    features: unionFeatures(DEFAULT_FEATURES, featureSet(V.VIRTIO_CONSOLE_F_MULTIPORT)),
    mailboxes: [
      [ACTOR, KERNEL_NAME],
      ...Array.from({ length: PORTS }, (_, port) => [inputSource(port), ACTOR] as const),
    ],
    proof: { queue: 1, buffers: [Uint8Array.of(1, 2, 3)] },
  },
  {
    name: 'virtio-rng',
    share: 0.1,
    create: createVirtioRng,
    plan: rngFunctionPlan(ACTOR),
    params: () => ({}),
    features: DEFAULT_FEATURES,
    mailboxes: [],
    proof: { queue: 0, buffers: [64] },
  },
];

function mailboxPlans(kind: Kind) {
  return kind.mailboxes.map(([from, to]) => ({ from, to, entries: 64, payloadBytes: 4080 }));
}

/** Throws away what the console sends, so that it never waits for the kernel. */
function openSink(views: ConstructorParameters<typeof MailboxReceiver>[0], layout: DeviceBench['layout']) {
  const region = layout.mailboxes[mailboxName(ACTOR, KERNEL_NAME)];
  const receiver = region === undefined ? undefined : new MailboxReceiver(views, region);
  return (): void => {
    while (receiver !== undefined && receiver.peek() >= 0) receiver.complete();
  };
}

/** A good driver's request after a reset. */
function proveAlive(kind: Kind, target: Target, wild: WildDriver): void {
  wild.restoreBus();
  expect(target.driver.start(kind.features, 16)).toBe(true);
  const queue = target.driver.queues[kind.proof.queue]!;
  const head = queue.post(kind.proof.buffers);
  target.port.notify(kind.proof.queue);
  const deadline = Date.now() + 5000;
  let used = undefined;
  do {
    target.settle();
    used = queue.take();
  } while (used === undefined && Date.now() < deadline);
  expect(used).toMatchObject({ head });
  expect(target.driver.needsReset).toBe(false);
}

describe(`hostile driver, seed ${SEED}`, () => {
  for (const kind of KINDS) {
    const rounds = ROUNDS * kind.share;
    it(`${kind.name} survives ${rounds} rounds`, () => {
      let refusals = 0;
      const errors = new Set<string>();
      const device = new InProcessDevice({
        create: kind.create,
        plan: kind.plan,
        params: kind.params(),
        mailboxes: mailboxPlans(kind),
        log: { ...silentLogger, warn: ({ error }) => errors.add(String(error)) },
      });
      const drain = openSink(device.views, device.layout);
      const target: Target = {
        ram: device.ram,
        config: device.config,
        driver: device.driver,
        port: device.port,
        features: kind.features,
        writeMsix: (offset, value) => (device.views.u32[(device.pci.msix.offset + offset) >>> 2] = value),
        settle: () => {
          if (kind.asleep === true) device.serveAsleep();
          device.ringConfig();
          for (let turn = 0; device.poll(); turn++) {
            if (turn > 20_000) throw new Error('the device does not come to rest');
            drain();
          }
          drain();
        },
      };
      const canary = placeCanary(device);
      const wild = new WildDriver(target, createPrng(SEED));
      for (let round = 1; round <= rounds; round++) {
        wild.round();
        if (device.driver.needsReset) {
          refusals++;
          device.driver.reset();
        }
        if (round % PROOF_EVERY === 0) proveAlive(kind, target, wild);
      }
      expect(refusals).toBeGreaterThan(rounds / 50);
      // The attack reached the depths: most rules were broken at least once.
      expect(errors.size, [...errors].join()).toBeGreaterThanOrEqual(11);
      expect(canary()).toBe(true);
      expect(device.generation).toBe(1);
    });
  }

  // A worker's disk serves asleep whenever it can.
  for (const kind of KINDS.filter(({ asleep }) => asleep !== true)) {
    it(`${kind.name} survives as a worker`, async () => {
      const bench = new DeviceBench({
        actors: [{ name: ACTOR, kind: kind.name, entry: builtActor(kind.name), params: kind.params() }],
        plan: { pci: [hostBridgePlan(KERNEL_NAME), kind.plan], mailboxes: mailboxPlans(kind) },
      });
      await bench.start();
      try {
        const target = workerTarget(bench, kind);
        const wild = new WildDriver(target, createPrng(SEED + 1));
        let refusals = 0;
        for (let round = 1; round <= WORKER_ROUNDS * kind.share; round++) {
          wild.round();
          if (target.driver.needsReset) {
            refusals++;
            target.driver.reset();
          }
          if (round % 100 === 0) proveAlive(kind, target, wild);
          if (round % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        expect(refusals).toBeGreaterThan(0);
        expect(bench.supervisor.status()[0]!.generation).toBe(1);
      } finally {
        await bench.stop();
      }
    });
  }
});

/** Fills parts of the arena that no device may touch; tells whether they are as they were. */
function placeCanary(device: InProcessDevice): () => boolean {
  const vcpu = device.layout.vcpus[0]!;
  const regions = [vcpu.tlb, vcpu.jumpCache, { offset: vcpu.codeCache.offset, bytes: 4 * 2 ** 20 }];
  for (const { offset, bytes } of regions) device.views.u8.fill(0xa5, offset, offset + bytes);
  return () =>
    regions.every(({ offset, bytes }) =>
      device.views.u8.subarray(offset, offset + bytes).every((b) => b === 0xa5),
    );
}

/** The same attack over the register bus. Registers are reached at the BAR's first address; a wild BAR is put back. */
function workerTarget(bench: DeviceBench, kind: Kind): Target {
  const { bus, views, layout, ram } = bench;
  const pci = layout.pci[1]!;
  const address = pci.bars[0]!.address;
  const drain = openSink(views, layout);
  const view = new DataView(views.buffer);
  const keepBar = (): void => {
    view.setUint32(pci.config.offset + 0x10, address, true);
    views.u8[pci.config.offset + 4]! |= 2;
  };
  const port: RegisterPort = {
    read: (offset, size) => {
      keepBar();
      drain();
      bus.read(SPACE_MMIO, address + offset, size);
      return bus.lo;
    },
    write: (offset, size, value) => {
      keepBar();
      bus.write(SPACE_MMIO, address + offset, size, value, 0);
    },
    notify: (queue) => {
      keepBar();
      bus.write(SPACE_MMIO, address + NOTIFY_CFG_OFFSET + 4 * queue, 2, queue, 0);
    },
  };
  const silent = { readMmio: () => 0, writeMmio: () => {} };
  return {
    ram,
    config: new PciConfigSpace(views, layout, silent),
    driver: new MockDriver(views, ram, port),
    port,
    features: kind.features,
    writeMsix: (offset, value) => (views.u32[(pci.msix.offset + offset) >>> 2] = value),
    settle: () => {
      // A read is answered after what was posted before it; a second one after the turn that it woke.
      for (let i = 0; i < 3; i++) port.read(0x14, 1);
      drain();
    },
  };
}
