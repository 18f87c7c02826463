// Loaders and ACPI tables against a CPU and kernels that are not ours: QEMU TCG starts from the RAM and the registers
// that loadKernel prepared. A fault in them shows here, before any engine of Troupe's is suspected.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureGuestAssets, type GuestAssets } from '#kernel/assets/guest-assets.js';
import { buildAcpiTables } from '#shared/acpi/tables.js';
import { TroupeError } from '#shared/base/error.js';
import { type KernelOptions, loadKernel } from '#shared/boot/load-kernel.js';
import { buildGuestKernel, hasProgram } from '../support/guest-kernel.js';
import { writeHandoverImage } from '../support/qemu-handover.js';
import { ramOf } from '../support/ram.js';

const MIB = 0x10_0000;
const missing = ['qemu-system-x86_64', 'gcc'].find((program) => !hasProgram(program, '--version'));
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-handover-'));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

interface Run {
  readonly ramBytes: number;
  readonly vcpus: number;
  readonly kernel: Uint8Array;
  readonly options: Omit<KernelOptions, 'rsdp'>;
  readonly devices?: readonly string[];
}

function runUnderQemu({ ramBytes, vcpus, kernel, options, devices = [] }: Run) {
  const memory = ramOf(ramBytes);
  const acpi = buildAcpiTables({ vcpus });
  for (const { gpa, bytes } of acpi.blobs) memory.copyIn(gpa, bytes);
  const state = loadKernel(memory, kernel, { ...options, rsdp: acpi.rsdp });
  const image = writeHandoverImage(directory, memory, state);
  const machine = `-M q35 -accel tcg -smp ${vcpus} -m 512 -display none -monitor none -serial stdio -no-reboot -net none`;
  const args = [...machine.split(' '), ...devices, '-kernel', image];
  return spawnSync('qemu-system-x86_64', args, { encoding: 'utf8', timeout: 120_000, killSignal: 'SIGKILL' });
}

test('smp-check, loaded as multiboot by loadKernel, passes', (context) => {
  if (missing !== undefined) return context.skip(`${missing} is not installed`);
  const built = buildGuestKernel('smp-check');
  if ('missing' in built) return context.skip(built.missing);
  const kernel = readFileSync(built.path);
  rmSync(built.directory, { recursive: true });
  const options = {
    kernelName: 'dir/smp-check.elf',
    append: 'smp=3 keep-apic-off',
    initrd: Uint8Array.of(1, 2, 3),
    initrdString: 'dir/module one',
  };
  const devices = ['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'];
  const run = runUnderQemu({ ramBytes: 16 * MIB, vcpus: 3, kernel, options, devices });
  expect(run.stdout).toContain('command line: dir/smp-check.elf smp=3 keep-apic-off\n');
  expect(run.stdout).toContain('mem_upper KiB: 15360\n');
  expect(run.stdout).toContain('module: dir/module one bytes: 3\n');
  expect(run.stdout).toContain('smp-check: ok 0\n');
  expect(run.status).toBe(1);
});

test.for([
  ['6.1', 'host'],
  ['6.1', 'guest'],
  ['6.12', 'host'],
  ['6.12', 'guest'],
] as const)(
  // QEMU's serial line loses a character now and then when the host is busy: that is not ours to judge.
  'Debian %s, unpacked by the %s, starts init on our tables and resets',
  { retry: 2 },
  async ([series, unpackedBy], context) => {
    if (missing !== undefined) return context.skip(`${missing} is not installed`);
    const assets = await guestAssets(series);
    if (typeof assets === 'string') return context.skip(assets);
    const options = {
      kernelName: 'bzImage',
      append: 'console=ttyS0 panic=-1 rdinit=/bin/busybox',
      initrd: readFileSync(assets.initrdPath),
      vmlinux: unpackedBy === 'guest' ? ('guest' as const) : undefined,
    };
    const kernel = readFileSync(assets.kernelPath);
    const { stdout, status } = runUnderQemu({ ramBytes: 192 * MIB, vcpus: 2, kernel, options });
    expect(stdout).toContain(`Linux version ${assets.version}`);
    expect(stdout).toContain('Brought up 1 node, 2 CPUs');
    expect(stdout).toMatch(/(MMCONFIG at|ECAM) \[mem 0xe0000000-0xe00fffff\].* reserved/);
    expect(stdout).toContain('OS now controls [PCIeCapability]');
    expect(stdout).toContain('pci_bus 0000:00: root bus resource [mem 0xc0000000-0xdfffffff window]');
    expect(stdout).toMatch(/00:0\d: ttyS0 at I\/O 0x3f8 \(irq = 4/);
    expect(stdout).toContain('i8042: PNP: No PS/2 controller found');
    expect(stdout).toMatch(/rtc_cmos 00:0\d: setting system clock/);
    expect(stdout).not.toMatch(/ACPI (BIOS )?(Error|Warning|Exception)|\[Firmware Bug\]/);
    expect(stdout).toContain('Run /bin/busybox as init process');
    expect(status).toBe(0); // the panic's reset ended QEMU, not the time-out
  },
);

async function guestAssets(kernel: '6.1' | '6.12'): Promise<GuestAssets | string> {
  try {
    return await ensureGuestAssets({ kernel });
  } catch (error) {
    if (error instanceof TroupeError) return error.message;
    throw error;
  }
}
