// The register bus, the actor loop and the supervisor together, over real threads.
import { afterEach, describe, expect, it } from 'vitest';
import type { FaultPlan } from '#shared/ipc/fault-plan.js';
import { SPACE_MMIO } from '#shared/ipc/register-bus.js';
import type { RegisterWindow } from '#shared/memory/machine-layout.js';
import { DeviceBench, type BenchOptions } from '../support/device-bench.js';

const BASE = 0xfe00_0000;
const window: RegisterWindow = {
  space: 'mmio',
  start: BASE,
  length: 0x100,
  actor: 'registers',
  base: 0,
  write: 'posted',
};
const actor = {
  name: 'registers',
  kind: 'register-file',
  entry: new URL('../support/actors/register-file.mjs', import.meta.url),
};

let bench: DeviceBench | undefined;
afterEach(async () => {
  await bench?.stop();
  bench = undefined;
});

async function startBench(options: Partial<BenchOptions> = {}): Promise<DeviceBench> {
  bench = new DeviceBench({ actors: [actor], plan: { windows: [window], vcpus: 2 }, ...options });
  return bench.start();
}

function generation(b: DeviceBench): number {
  return b.supervisor.status()[0]!.generation;
}

describe('register bus over threads', () => {
  it('keeps posted writes and reads of one vCPU in order', async () => {
    const { bus } = await startBench();
    for (let i = 0; i < 2000; i++) {
      bus.write(SPACE_MMIO, BASE + 8, 4, i, 0);
      bus.read(SPACE_MMIO, BASE + 8, 4);
      expect(bus.lo).toBe(i);
    }
    bus.write(SPACE_MMIO, BASE + 0x10, 8, 0x11112222, 0x33334444);
    bus.read(SPACE_MMIO, BASE + 0x10, 8);
    expect([bus.lo, bus.hi]).toEqual([0x11112222, 0x33334444]);
    bus.read(SPACE_MMIO, BASE + 0x10, 2);
    expect(bus.lo).toBe(0x2222);
    bus.read(SPACE_MMIO, 0xf000_0000, 4);
    expect(bus.lo).toBe(0xffff_ffff);
  });
});

describe('supervision over threads', () => {
  for (const [name, offset, reason] of [
    ['throws', 0xf0, 'error'],
    ['hangs', 0xf4, 'hang'],
    ['exits', 0xf8, 'exit'],
  ] as const) {
    it(`answers a request after the actor ${name} in the middle of it`, async () => {
      const b = await startBench({ limits: { heartbeatMs: 100 } });
      const drive = b.driver(0);
      await drive([{ write: true, address: BASE + 4, value: 42 }]);
      const seen = await drive([
        { write: true, address: BASE + offset, value: 1 },
        { address: BASE + 4 },
        { address: BASE + offset },
      ]);
      expect(seen).toEqual([42, 1]);
      expect(generation(b)).toBe(3);
      expect(b.supervisor.status()[0]!.lastExit!.kind).toBe(reason);
    });
  }

  it('loses nothing while the actor is killed again and again', async () => {
    const b = await startBench();
    const drive = b.driver(0);
    const driveOther = b.driver(1);
    for (let round = 0; round < 10; round++) {
      const script = Array.from({ length: 500 }, (_, i) => [
        { write: true, address: BASE + 4 * (i % 32), value: round * 1000 + i },
        { address: BASE + 4 * (i % 32) },
      ]).flat();
      const done = drive(script);
      const other = driveOther([{ address: BASE + 0x9c }]);
      await new Promise((resolve) => setTimeout(resolve, 3 * round));
      await b.supervisor.kill('registers');
      expect(await done).toEqual(Array.from({ length: 500 }, (_, i) => round * 1000 + i));
      expect(await other).toEqual([0]);
    }
    expect(generation(b)).toBe(11);
  });

  it('touches nothing while paused, and a restart in a pause stays paused', async () => {
    const b = await startBench();
    await b.supervisor.pause();
    const drive = b.driver(0);
    let answered = false;
    const done = drive([{ write: true, address: BASE, value: 5 }, { address: BASE }]).then((r) => {
      answered = true;
      return r;
    });
    await b.supervisor.kill('registers');
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(answered).toBe(false);
    await b.supervisor.resume();
    expect(await done).toEqual([5]);
    expect(await b.supervisor.call('registers', 'inspect')).toEqual({ generation: 2, writes: 1 });
  });

  it('carries out a fault plan and escalates when restarts do not help', async () => {
    const faults: FaultPlan = { seed: 1, rules: [{ point: 'read', action: 'crash', every: 1 }] };
    const b = await startBench({ faults, intensity: 3 });
    void b.driver(0)([{ address: BASE }]);
    const deadline = Date.now() + 10_000;
    while (b.escalations.length === 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(b.escalations[0]).toMatch(/^registers exited with code 134; more than 3 restarts/);
    expect(generation(b)).toBe(4);
  });

  it('reports an actor that cannot start', async () => {
    const entry = new URL('../support/actors/does-not-exist.mjs', import.meta.url);
    bench = new DeviceBench({ actors: [{ ...actor, entry }], plan: {} });
    await expect(bench.start()).rejects.toThrow(/registers failed/);
  });
});
