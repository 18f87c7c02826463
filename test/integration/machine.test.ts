// A machine over real threads with scripted vCPUs: its start, its ends, its pause, and that nothing stays behind.
import { describe, expect, it } from 'vitest';
import { formatArena, planArena } from '#kernel/arena-plan.js';
import { Machine } from '#kernel/machine.js';
import type { ActorSpec } from '#kernel/supervision/child.js';
import { silentLogger } from '#shared/ipc/log.js';
import { DEBUG_EXIT, POWEROFF, RESET, SHUTDOWN } from '#shared/ipc/machine-event.js';
import { viewArena } from '#shared/memory/arena.js';
import { vcpuName, type RegisterWindow } from '#shared/memory/machine-layout.js';
import { signalWord } from '#shared/ipc/doorbell.js';

const PENDING = 176;
const window: RegisterWindow = {
  space: 'mmio',
  start: 0xfe00_0000,
  length: 0x100,
  actor: 'registers',
  base: 0,
  write: 'call',
};

function buildScripted(params: object, vcpus = 2): Machine {
  const planned = planArena({
    vcpus,
    ramBytes: 16 * 2 ** 20,
    actors: ['registers'],
    mailboxes: [],
    windows: [window],
    pci: [],
  });
  const { layout } = planned;
  const pages = Math.ceil(layout.arenaBytes / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const views = viewArena(memory);
  formatArena(views, planned, []);
  const spec = (name: string, script: string, actorParams: object): ActorSpec => ({
    name,
    restart: 'permanent',
    shutdownMs: 2000,
    entry: new URL(`../support/actors/${script}.mjs`, import.meta.url),
    layout: layout.actors[name]!,
    seed: { name, kind: script, memory, layout, params: actorParams, logLevel: 'silent' },
  });
  const vcpuSpecs = layout.vcpus.map((vcpu, index): ActorSpec => {
    const word = (vcpu.state.offset + PENDING) >>> 2;
    const own = index === 0 ? { ...params, index } : { script: 'sleep', index };
    return {
      ...spec(vcpuName(index), 'scripted-vcpu', own),
      kick: () => signalWord(views.i32, word, 2),
    };
  });
  return new Machine(
    {
      memory,
      layout,
      kernelKind: 'pvh',
      devices: [spec('registers', 'register-file', {})],
      vcpus: vcpuSpecs,
      supervision: { intensity: 10, periodMs: 10_000, hangMs: 5000, heartbeatMs: 500, spares: 1 },
      faults: { seed: 0, rules: [] },
      engineStatistics: false,
      deviceModules: [],
      vcpuModules: [],
    },
    silentLogger,
  );
}

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const turns = async (machine: Machine) => ((await machine.inspect('vcpu-0')) as { turns: number }).turns;

describe('Machine', () => {
  it.each([
    ['powers off', POWEROFF, 0, { kind: 'poweroff' }],
    ['resets', RESET, 0, { kind: 'reset' }],
    ["exits with QEMU's code", DEBUG_EXIT, 0x10, { kind: 'debug-exit', code: 0x21 }],
    ['meets a triple fault', SHUTDOWN, 0, { kind: 'triple-fault', vcpu: 0 }],
  ])('ends when its guest %s', async (_name, event, value, exit) => {
    const machine = buildScripted({ script: 'event', event, value });
    await machine.start();
    expect(await machine.wait()).toEqual(exit);
    expect(machine.status().every((actor) => !actor.running)).toBe(true);
  });

  it('ends with an explanation when a vCPU dies', async () => {
    const machine = buildScripted({ script: 'throw' });
    await machine.start();
    const exit = await machine.wait();
    expect(exit.kind).toBe('failed');
    expect((exit as { message: string }).message).toMatch(/^vcpu-0 failed: vCPU failed/);
  });

  it('stops vCPUs that run and vCPUs that sleep', async () => {
    const machine = buildScripted({ script: 'count' });
    await machine.start();
    await delay(20);
    const startedMs = performance.now();
    await machine.stop();
    expect(performance.now() - startedMs).toBeLessThan(1500);
    expect(await machine.wait()).toEqual({ kind: 'stopped' });
    expect(machine.status().map((a) => a.lastExit?.kind)).toEqual(['shutdown', 'shutdown', 'shutdown']);
  });

  it('pauses and resumes a guest that keeps a device busy', async () => {
    const machine = buildScripted({ script: 'bus' });
    await machine.start();
    await delay(20);
    await machine.pause();
    const before = await turns(machine);
    await delay(50);
    expect(await turns(machine)).toBe(before);
    await machine.resume();
    await delay(50);
    expect(await turns(machine)).toBeGreaterThan(before);
    await machine.kill('registers');
    await delay(200);
    const after = await turns(machine);
    await delay(50);
    expect(await turns(machine)).toBeGreaterThan(after);
    expect(machine.status().find((a) => a.name === 'registers')!.generation).toBe(2);
    await machine.stop();
  });
});
