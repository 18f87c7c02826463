// How far a stock Linux comes under a KVM that emulates kernel code: through Troupe as far as through QEMU, with the same log. QEMU
// starts from the RAM and the registers that Troupe's loader prepared, so that the logs differ only in what the machines are.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { examineKvm } from '#kernel/accel/kvm-report.js';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import { buildAcpiTables } from '#shared/acpi/tables.js';
import { TroupeError } from '#shared/base/error.js';
import { loadKernel } from '#shared/boot/load-kernel.js';
import { hasProgram } from '../support/guest-kernel.js';
import { writeHandoverImage } from '../support/qemu-handover.js';
import { ramOf } from '../support/ram.js';
import { runTroupe } from '../support/troupe-run.js';

const MEMORY_MIB = 256;
const APPEND = 'console=ttyS0 earlyprintk=serial,ttyS0,115200 nokaslr';
const BOOT_TIMEOUT_MS = 180_000;

/** What the two machines, or two boots of one, may say differently. */
const MACHINES_OWN = [
  /^kvm-clock: using sched offset of/,
  /^random: crng init done/, // comes when it comes
  /^IOAPIC\[0\]: .* version \d+/,
  /^TSC deadline timer available/, // QEMU's default CPU has none under KVM
  /^\[Firmware Bug\]: TSC doesn't count with P0 frequency!/, // where an old KVM does not let us promise it
  /^tsc: /, // as measured
];

interface Failure {
  readonly log: string[];
  /** Of the instruction that KVM could not emulate. */
  readonly rip: string;
  readonly bytes: string;
}

function linesOf(serial: string): string[] {
  return serial
    .split(/\r?\n/)
    .map((line) => line.replace(/^\[ *\d+\.\d+\] /, ''))
    .filter((line) => line !== '' && !MACHINES_OWN.some((own) => own.test(line)));
}

function missingThing(): string | undefined {
  const kvm = examineKvm();
  if (kvm.state === 'usable') return 'this KVM runs kernel code on the processor: Linux boots';
  if (kvm.state !== 'emulating') return kvm.reason;
  const program = ['qemu-system-x86_64', 'gcc'].find((name) => !hasProgram(name, '--version'));
  return program && `${program} is not installed`;
}

/** Runs until KVM gives up. */
async function bootQemu(kernel: Uint8Array, directory: string): Promise<Failure> {
  const memory = ramOf(MEMORY_MIB << 20);
  const acpi = buildAcpiTables({ vcpus: 1 });
  for (const { gpa, bytes } of acpi.blobs) memory.copyIn(gpa, bytes);
  const state = loadKernel(memory, kernel, { kernelName: 'linux', append: APPEND, rsdp: acpi.rsdp });
  const image = writeHandoverImage(directory, memory, state);
  const machine = `-M q35 -accel kvm -smp 1 -m ${MEMORY_MIB} -nodefaults -display none -serial stdio -no-reboot`;
  const child = spawn('qemu-system-x86_64', [...machine.split(' '), '-kernel', image]);
  let serial = '';
  let report = '';
  child.stdout.on('data', (bytes: Buffer) => void (serial += bytes.toString('latin1')));
  child.stderr.on('data', (bytes: Buffer) => {
    report += bytes.toString('latin1');
    if (/^Code=.*\n/m.test(report)) child.kill(); // the vCPU stands, QEMU does not end
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), BOOT_TIMEOUT_MS);
  await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  expect(report).toContain('emulation failure');
  const bytes = /^Code=.*<([^>]*)>(.*)$/m.exec(report);
  return {
    log: linesOf(serial),
    rip: /^RIP=([0-9a-f]+)/m.exec(report)?.[1] ?? report,
    bytes: `${bytes?.[1]}${bytes?.[2]}`,
  };
}

async function bootTroupe(kernelPath: string): Promise<Failure> {
  const machine = ['run', '--accel', 'kvm', '--smp', '1', '--memory', `${MEMORY_MIB}M`];
  const run = await runTroupe([...machine, '--kernel', kernelPath, '--append', APPEND], {
    timeoutMs: BOOT_TIMEOUT_MS,
  });
  const failure = /cannot emulate the instruction at RIP 0x([0-9a-f]+): ([0-9a-f ]+)/.exec(run.stderr);
  return { log: linesOf(run.stdout), rip: failure?.[1] ?? run.stderr, bytes: failure?.[2]?.trim() ?? '' };
}

test(
  'Linux comes as far as under QEMU, and says the same',
  { timeout: 2 * BOOT_TIMEOUT_MS },
  async (context) => {
    const missing = missingThing();
    if (missing !== undefined) return context.skip(missing);
    const assets = await ensureGuestAssets({ kernel: '6.1' }).catch((error: unknown) => {
      if (error instanceof TroupeError) return error;
      throw error;
    });
    if (assets instanceof TroupeError) return context.skip(assets.message);
    const directory = mkdtempSync(join(tmpdir(), 'troupe-kvm-log-'));
    try {
      const kernel = new Uint8Array(readFileSync(assets.kernelPath));
      const [theirs, ours] = await Promise.all([bootQemu(kernel, directory), bootTroupe(assets.kernelPath)]);
      expect(ours.log.at(-1)).toMatch(/^Memory: /);
      expect(ours.log).toEqual(theirs.log);
      expect(ours.rip).toBe(theirs.rip);
      expect(ours.bytes.length).toBeGreaterThan(20);
      expect(theirs.bytes.startsWith(ours.bytes)).toBe(true);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
);
