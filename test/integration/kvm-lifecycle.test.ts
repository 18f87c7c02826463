// Machines on KVM come and go in one process: descriptors, threads, mappings and memory are what they were; a vCPU may be ended inside
// KVM_RUN; 64 of them share a machine.
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { MachineOptions } from '#kernel/machine-config.js';
import { buildGuestKernel, type GuestKernel } from '../support/guest-kernel.js';
import { kvmDescriptors, missingKvm } from '../support/kvm.js';
import { startPayload, type PayloadMachine } from '../support/machine-move.js';

const FULL = process.env['TROUPE_TEST_FULL'] === '1';
const MACHINES = FULL ? 200 : 12;
const VCPUS = 64;

const missing = missingKvm();
let kernel: GuestKernel;
const open: PayloadMachine[] = [];

beforeAll(() => {
  kernel = buildGuestKernel('phases', 64, 'bare64');
});

afterEach(async () => {
  for (const payload of open.splice(0)) await payload.close();
});

afterAll(() => {
  if ('directory' in kernel) rmSync(kernel.directory, { recursive: true });
});

async function start(
  vcpus: number,
  phases: number,
  options: Partial<MachineOptions> = {},
): Promise<PayloadMachine> {
  if ('missing' in kernel) throw new Error(kernel.missing);
  const payload = await startPayload({
    kernel: kernel.path,
    accel: 'kvm',
    vcpus,
    memory: '16M',
    append: `cpus=${vcpus} phases=${phases} x2apic=1`,
    ...options,
  });
  open.push(payload);
  return payload;
}

interface Holdings {
  readonly threads: number;
  readonly kvmMappings: number;
  readonly kvm: number;
  readonly descriptors: number;
  readonly mappings: number;
  /** Mappings of the size that V8 sets aside for a shared WebAssembly.Memory. */
  readonly arenas: number;
  readonly heapMib: number;
  readonly residentMib: number;
}

const ARENA_LEAST_BYTES = 4 * 2 ** 30;
const COLLECTIONS = 8;

/** What this process holds once its garbage is collected and its threads are gone. */
async function holdings(): Promise<Holdings> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let i = 0; i < COLLECTIONS; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 100)); // finalizers run between
  }
  const maps = readFileSync('/proc/self/maps', 'utf8').trimEnd().split('\n');
  const bytes = maps.map((line) => {
    const [start, end] = line.split(/[- ]/, 2).map((hex) => parseInt(hex, 16));
    return end! - start!;
  });
  return {
    threads: readdirSync('/proc/self/task').length,
    kvmMappings: maps.filter((line) => line.includes('anon_inode:kvm')).length,
    kvm: kvmDescriptors(),
    descriptors: readdirSync('/proc/self/fd').length,
    mappings: maps.length,
    arenas: bytes.filter((length) => length >= ARENA_LEAST_BYTES).length,
    heapMib: process.memoryUsage().heapUsed / 2 ** 20,
    residentMib: process.memoryUsage().rss / 2 ** 20,
  };
}

function skipReason(): string | undefined {
  return missing ?? ('missing' in kernel ? kernel.missing : undefined);
}

test(`${MACHINES} machines leave nothing behind`, { timeout: 1_800_000 }, async (context) => {
  const reason = skipReason();
  if (reason !== undefined) return context.skip(reason);
  const startAndStop = async (): Promise<void> => {
    const payload = await start(2, 1000);
    expect(kvmDescriptors()).toBeGreaterThan(2); // the VM and its vCPUs
    await payload.close(); // while its guest runs
    open.length = 0;
  };
  for (let i = 0; i < 3; i++) await startAndStop(); // what is made once a process
  const before = await holdings();
  for (let i = 0; i < MACHINES; i++) await startAndStop();
  const after = await holdings();
  if (FULL) process.stderr.write(`before ${JSON.stringify(before)}\nafter ${JSON.stringify(after)}\n`);
  expect(after.kvm).toBe(before.kvm);
  expect(after.kvmMappings).toBe(before.kvmMappings);
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 2);
  expect(after.threads).toBeLessThanOrEqual(before.threads + 2);
  expect(after.arenas).toBeLessThanOrEqual(before.arenas);
  // The allocator keeps heaps of threads that are gone for later ones, and this process collects results meanwhile.
  expect(after.mappings).toBeLessThanOrEqual(before.mappings + 100);
  expect(after.heapMib).toBeLessThan(before.heapMib + 16);
  expect(after.residentMib).toBeLessThan(before.residentMib + 64);
});

test('a vCPU that is ended by force inside KVM_RUN is replaced and goes on', async (context) => {
  const reason = skipReason();
  if (reason !== undefined) return context.skip(reason);
  const payload = await start(2, 60);
  for (const victim of ['vcpu-0', 'vcpu-1', 'vcpu-0']) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    await payload.machine.kill(victim);
    await payload.machine.inspect(victim);
  }
  expect(await payload.wait()).toEqual({ kind: 'debug-exit', code: 1 });
  expect(payload.output()).toContain('phases of all: 0x78\n');
});

test('a vCPU that hangs and is killed by force has one replacement: the request to end dies with its thread', async (context) => {
  const reason = skipReason();
  if (reason !== undefined) return context.skip(reason);
  const payload = await start(2, 60, { supervision: { heartbeatMs: 0, hangMs: 0 } });
  const struck = new Promise<void>((resolve) => {
    payload.machine.onActorEvent(({ type }) => void (type === 'fault' && resolve()));
  });
  payload.machine.inject({ actor: 'vcpu-1', action: 'hang' });
  await struck;
  await payload.machine.kill('vcpu-1');
  await payload.machine.inspect('vcpu-1');
  const generations = payload.machine.status().map(({ name, generation }) => [name, generation]);
  expect(generations).toContainEqual(['vcpu-1', 2]);
  expect(await payload.wait()).toEqual({ kind: 'debug-exit', code: 1 });
});

test(`${VCPUS} vCPUs of one machine start each other and finish`, async (context) => {
  const reason = skipReason();
  if (reason !== undefined) return context.skip(reason);
  const payload = await start(VCPUS, 2);
  expect(await payload.wait(), payload.output()).toEqual({ kind: 'debug-exit', code: 1 });
  expect(payload.output()).toContain(`phases of all: 0x${(2 * VCPUS).toString(16)}\n`);
});
