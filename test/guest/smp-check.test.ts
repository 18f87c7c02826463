// The bare-metal check kernel under Troupe says what it says under QEMU (see smp-check-qemu.test.ts), and can do what
// QEMU 7 cannot: switch a disabled local APIC on again. Exit codes are isa-debug-exit's: (value << 1) | 1.
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildGuestKernel, type GuestKernel, hasProgram } from '../support/guest-kernel.js';
import { runTroupe } from '../support/troupe-run.js';

let kernel: GuestKernel;

beforeAll(() => {
  kernel = buildGuestKernel('smp-check');
});

afterAll(() => {
  if ('directory' in kernel) rmSync(kernel.directory, { recursive: true });
});

async function runSmpCheck(path: string, vcpus: number, append: string, ...more: string[]) {
  const machine = [
    'run',
    '--memory',
    '64M',
    '--debug-exit',
    '--no-reboot',
    '--accel',
    'wasm',
    '--kernel',
    path,
  ];
  return runTroupe([...machine, '--smp', String(vcpus), '--append', append, ...more], { timeoutMs: 60_000 });
}

const MACHINES = [
  ...[1, 2, 4, 8].map((vcpus) => ({ vcpus, how: 'as usual', tier: [] })),
  ...[1, 4].map((vcpus) => ({ vcpus, how: 'all code compiled', tier: ['--tier', 'compiled'] })),
];

test.for(MACHINES)('smp-check passes on $vcpus vCPUs, $how', async ({ vcpus, tier }, context) => {
  if ('missing' in kernel) return context.skip(kernel.missing);
  const { code, stdout, stderr } = await runSmpCheck(kernel.path, vcpus, `smp=${vcpus}`, ...tier);
  expect(stdout).toContain(`command line: ${kernel.path} smp=${vcpus}\n`);
  expect(stdout).toContain('mem_lower KiB: 639\n');
  expect(stdout).toContain('mem_upper KiB: 64512\n');
  expect(stdout).toContain('modules: 0\n');
  expect(stdout).toContain(`other CPUs: ${vcpus - 1}\n`);
  expect(stdout).toContain('smp-check: ok 0\n');
  expect(stderr).toBe('');
  expect(code).toBe(1);
});

test('a check that fails ends with its number', async (context) => {
  if ('missing' in kernel) return context.skip(kernel.missing);
  const { code, stdout } = await runSmpCheck(kernel.path, 2, 'smp=3');
  expect(stdout).toContain('smp-check: failed check 23\n');
  expect(code).toBe((23 << 1) | 1);
});

test('it prints the same as under QEMU, with a module', async (context) => {
  if ('missing' in kernel) return context.skip(kernel.missing);
  if (!hasProgram('qemu-system-x86_64', '--version'))
    return context.skip('qemu-system-x86_64 is not installed');
  const initrd = join(kernel.directory, 'module');
  writeFileSync(
    initrd,
    Uint8Array.from({ length: 5000 }, (_, index) => (index * 7) & 0xff),
  );
  const append = 'smp=4 keep-apic-off';
  const ours = await runSmpCheck(kernel.path, 4, append, '--initrd', initrd);
  const machine = '-accel tcg -m 64 -smp 4 -display none -monitor none -serial stdio -no-reboot';
  const devices = ['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'];
  const args = [
    ...machine.split(' '),
    ...devices,
    '-kernel',
    kernel.path,
    '-append',
    append,
    '-initrd',
    initrd,
  ];
  const theirs = spawnSync('qemu-system-x86_64', args, { encoding: 'utf8', timeout: 60_000 });
  // QEMU's ACPI tables lie at the end of RAM, ours below 1 MiB.
  const withoutSizes = (text: string): string => text.replace(/^(mem_upper|available) KiB: .*\n/gm, '');
  expect(withoutSizes(ours.stdout)).toBe(withoutSizes(theirs.stdout));
  expect(ours.code).toBe(theirs.status);
});
