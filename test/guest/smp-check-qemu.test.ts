// The bare-metal check kernel under QEMU TCG: proves the kernel itself, so that a failure of it under Troupe is
// Troupe's. QEMU 7 cannot switch a disabled local APIC on again: that part is left out here.
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildGuestKernel, type GuestKernel, hasProgram } from '../support/guest-kernel.js';

let kernel: GuestKernel;

beforeAll(() => {
  kernel = buildGuestKernel('smp-check');
});

afterAll(() => {
  if ('directory' in kernel) rmSync(kernel.directory, { recursive: true });
});

function fnv1a(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

test('smp-check passes under QEMU with four CPUs and a module', (context) => {
  if ('missing' in kernel) return context.skip(kernel.missing);
  if (!hasProgram('qemu-system-x86_64', '--version'))
    return context.skip('qemu-system-x86_64 is not installed');
  const moduleBytes = Uint8Array.from({ length: 5000 }, (_, index) => (index * 7) & 0xff);
  const modulePath = join(kernel.directory, 'module');
  writeFileSync(modulePath, moduleBytes);
  const machine = '-accel tcg -m 64 -smp 4 -display none -monitor none -serial stdio -no-reboot';
  const args = [
    ...machine.split(' '),
    ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-kernel', kernel.path],
    ...['-append', 'smp=4 keep-apic-off', '-initrd', `${modulePath} one two`],
  ];
  const run = spawnSync('qemu-system-x86_64', args, { encoding: 'utf8', timeout: 60_000 });
  expect(run.stdout).toContain(`command line: ${kernel.path} smp=4 keep-apic-off\n`);
  expect(run.stdout).toContain('mem_lower KiB: 639\n');
  expect(run.stdout).toContain(`module: ${modulePath} one two bytes: 5000\n`);
  expect(run.stdout).toContain(`module hash: 0x${fnv1a(moduleBytes)}\n`);
  expect(run.stdout).toContain('other CPUs: 3\n');
  expect(run.stdout).toContain('smp-check: ok 0\n');
  expect(run.status).toBe(1); // (0 << 1) | 1
});
