// One payload, two engines: what engine-check prints under KVM is what it prints under the wasm engine, line by line. Its
// floating-point results under KVM are the host processor's own.
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildGuestKernel, type GuestKernel } from '../support/guest-kernel.js';
import { missingKvm } from '../support/kvm.js';
import { runTroupe } from '../support/troupe-run.js';

let kernel: GuestKernel;

beforeAll(() => {
  kernel = buildGuestKernel('engine-check', 64, 'bare64');
});

afterAll(() => {
  if ('directory' in kernel) rmSync(kernel.directory, { recursive: true });
});

async function runCheck(path: string, accel: string, vcpus: number, options = '') {
  const machine = ['run', '--accel', accel, '--memory', '64M', '--no-reboot', '--smp', String(vcpus)];
  return runTroupe([...machine, '--kernel', path, '--append', `cpus=${vcpus}${options}`], {
    timeoutMs: 60_000,
  });
}

const PASSED = [
  'INT3 ends with exception 0x3',
  'a non-canonical load ends with exception 0xd',
  'TSC deadline: the MSR after it: 0x0',
  'TSC deadline in the past: interrupts: 0x2',
  '8259: ticks seen, at least: 0x1',
  'IOAPIC edge: interrupts: 0x5',
  'IOAPIC level: interrupts: 0x5',
  'IOAPIC: entry at rest: 0x8051',
  'engine-check: done',
];

test.for([2, 4])('engine-check says the same on both engines, with %i vCPUs', async (vcpus, context) => {
  if ('missing' in kernel) return context.skip(kernel.missing);
  const wasm = await runCheck(kernel.path, 'wasm', vcpus);
  const lines = wasm.stdout.split('\n');
  for (const line of PASSED) expect(lines, wasm.stdout).toContain(line);
  expect(lines).toContain(`other CPUs: 0x${(vcpus - 1).toString(16)}`);
  expect(lines).toContain(`shared counter: 0x${(vcpus * 2000).toString(16)}`);
  expect(wasm.code).toBe(1);
  const missing = missingKvm();
  if (missing !== undefined) return context.skip(`under wasm alone: ${missing}`);
  const kvm = await runCheck(kernel.path, 'kvm', vcpus);
  expect(kvm.stdout).toBe(wasm.stdout);
  expect(kvm.code, kvm.stderr).toBe(1);
});

/** The sums of engine-check's AVX body, as its report prints them: two u64. */
function avxSums(): string {
  const lanes = Float32Array.of(1.5 + 0.5, 0.25 + 0.75, 3 + 0.125, -2 + Math.fround(0.3));
  return [...new BigUint64Array(lanes.buffer)].map((word) => `0x${word.toString(16)}`).join(' ');
}

// The CPU model has no AVX, and no XSAVE to switch it on with: processor and engine know no such instruction. A KVM that emulates kernel code
// runs privilege 3 on the host with what the host has switched on: then the sums are right.
test('AVX at privilege 3 is not there, or is the host’s and right', async (context) => {
  if ('missing' in kernel) return context.skip(kernel.missing);
  const absent = 'AVX at privilege 3 ends with exception 0x6 0x1 0x0 0x0';
  const wasm = await runCheck(kernel.path, 'wasm', 1, ' avx=1');
  expect(wasm.stdout.split('\n')).toContain(absent);
  const missing = missingKvm();
  if (missing !== undefined) return context.skip(`under wasm alone: ${missing}`);
  const kvm = await runCheck(kernel.path, 'kvm', 1, ' avx=1');
  const line = kvm.stdout.split('\n').find((text) => text.startsWith('AVX'));
  expect([absent, `AVX at privilege 3 ends with exception 0x6 0x2 ${avxSums()}`]).toContain(line);
});
