// Every way in which a fault ends an actor, over real threads: what is seen of it, that a replacement serves what was asked, and
// that nothing else dies. The registers of test/support/actors/register-file.mjs are the actor.
import { afterEach, describe, expect, it } from 'vitest';
import { loadMailboxCounts } from '#shared/ipc/mailbox-layout.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import { SPACE_MMIO } from '#shared/ipc/register-bus.js';
import type { RegisterWindow } from '#shared/memory/machine-layout.js';
import { DeviceBench, type BenchOptions } from '../support/device-bench.js';

const BASE = 0xfe00_0000;
const NAMES = ['registers', 'others'];
const window = (name: string, i: number): RegisterWindow => ({
  space: 'mmio',
  start: BASE + 0x100 * i,
  length: 0x100,
  actor: name,
  base: 0,
  write: 'posted',
});
const entry = new URL('../support/actors/register-file.mjs', import.meta.url);

let bench: DeviceBench | undefined;
afterEach(async () => {
  await bench?.stop();
  bench = undefined;
});

async function start(rules: readonly FaultRule[], options: Partial<BenchOptions> = {}): Promise<DeviceBench> {
  bench = new DeviceBench({
    actors: NAMES.map((name) => ({ name, kind: 'register-file', entry })),
    plan: { windows: NAMES.map(window) },
    faults: { seed: 1, rules },
    limits: { heartbeatMs: 100 },
    ...options,
  });
  return bench.start();
}

describe('a fault', () => {
  it.each<[FaultRule, string]>([
    [{ action: 'crash', point: 'write' }, 'exit'],
    [{ action: 'exit', exitCode: 3, point: 'write' }, 'exit'],
    [{ action: 'throw', point: 'write' }, 'error'],
    [{ action: 'hang', point: 'write' }, 'hang'],
    [{ action: 'hang', asleep: true, point: 'write' }, 'hang'],
  ])('%j is mended', async (rule, reason) => {
    const b = await start([{ ...rule, actor: 'registers' }]);
    const drive = b.driver(0);
    const seen = await drive([
      { write: true, address: BASE + 4, value: 42 },
      { address: BASE + 4 },
      { write: true, address: BASE + 0x104, value: 43 },
      { address: BASE + 0x104 },
    ]);
    expect(seen).toEqual([42, 43]);
    const [registers, others] = b.supervisor.status();
    expect(registers).toMatchObject({ generation: 2, restarts: 1, lastExit: { kind: reason } });
    expect(others).toMatchObject({ generation: 1, restarts: 0 });
    const told = b.events.map((event) => event.type);
    expect(told.filter((type) => type !== 'fault')).toEqual(['actor:exit', 'actor:restart']);
  });

  it('ends a thread that runs out of memory, and no other', async () => {
    // The watch is off: it would find the hoarder busy before its heap is full.
    const b = await start([{ action: 'oom', point: 'write', actor: 'registers' }], {
      limits: { heartbeatMs: 0 },
    });
    const drive = b.driver(0);
    expect(await drive([{ write: true, address: BASE + 4, value: 42 }, { address: BASE + 4 }])).toEqual([42]);
    expect(b.supervisor.status()[0]!.lastExit).toMatchObject({ kind: 'error', message: /memory/ });
    expect(b.supervisor.status()[1]!.generation).toBe(1);
  });

  it('that strikes while an actor starts is mended too, and two actors at once', async () => {
    const rules: FaultRule[] = [
      { action: 'crash', point: 'write', every: 1, times: 1 },
      { action: 'crash', point: 'start', generation: 2 },
      { action: 'throw', point: 'start', generation: 3 },
    ];
    const b = await start(rules, { spare: [] });
    const drive = b.driver(0);
    const script = NAMES.flatMap((_, i) => [{ write: true, address: BASE + 0x100 * i + 4, value: i + 1 }]);
    expect(await drive([...script, { address: BASE + 4 }, { address: BASE + 0x104 }])).toEqual([1, 2]);
    expect(b.supervisor.status().map((a) => a.generation)).toEqual([4, 4]);
  });

  it('finds a circle within two heartbeats, on a machine that has the time', async () => {
    const b = await start([{ action: 'hang', point: 'write', actor: 'registers' }], {
      limits: { heartbeatMs: 500 },
    });
    await b.driver(0)([{ write: true, address: BASE + 4, value: 1 }, { address: BASE + 4 }]);
    expect(b.supervisor.status()[0]!.lastExit).toMatchObject({ kind: 'hang' });
  });
});

describe('messages over a faulty transport', () => {
  const points = ['message.send', 'message.receive', 'message.answer'];
  const actions = ['drop', 'duplicate', 'corrupt'] as const;
  const cases = points.flatMap((point) => actions.map((action) => [action, point] as const));
  it.each(cases.filter(([action, point]) => action !== 'duplicate' || point !== 'message.answer'))(
    '%s at %s: each access is obeyed once, in order, and answered rightly',
    async (action, point) => {
      const b = await start([{ action, point, probability: 0.3 }], { limits: { heartbeatMs: 500 } });
      const rounds = 1000;
      const script = Array.from({ length: rounds }, (_, i) => [
        { write: true, address: BASE + 4 * (i % 32), value: i },
        { write: true, address: BASE + 0x80 + 4 * (i % 16), value: -i },
        { address: BASE + 4 * (i % 32) },
      ]).flat();
      expect(await b.driver(0)(script)).toEqual(Array.from({ length: rounds }, (_, i) => i));
      expect(await b.supervisor.call('registers', 'inspect')).toMatchObject({ writes: 2 * rounds });
      expect(b.supervisor.status()[0]!.generation).toBe(1);
      const seen = loadMailboxCounts(b.views, b.layout.mailboxes['vcpu-0->registers']!);
      const found = seen.repaired + seen.duplicates + seen.republished;
      if (point !== 'message.receive' || action !== 'drop') expect(found).toBeGreaterThan(10);
    },
  );
});

describe('the kernel thread blocked for 5 s', () => {
  it('condemns nobody', async () => {
    const b = await start([], { limits: { heartbeatMs: 100 } });
    const drive = b.driver(0);
    const script = Array.from({ length: 20_000 }, (_, i) => [
      { write: true, address: BASE + 4, value: i },
      { address: BASE + 4 },
    ]).flat();
    const done = drive(script);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5000);
    expect(await done).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(b.supervisor.status().map((a) => a.generation)).toEqual([1, 1]);
    expect(b.bus).toBeDefined();
    b.bus.read(SPACE_MMIO, BASE + 4, 4);
    expect(b.bus.lo).toBe(19_999);
  });
});
