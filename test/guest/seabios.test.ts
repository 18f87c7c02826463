// SeaBIOS, a third party's firmware, on both engines: from the first instruction in real mode through its 32-bit set-up (PCI, the
// other CPU, timers, its virtio-blk driver) to a boot sector of ours that calls its services. Both engines give the same log,
// line by line; QEMU gives the same report of the boot sector, and the same log but for what its machine is.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startFirmware } from '../support/firmware-machine.js';
import { buildBootSector, hasProgram } from '../support/guest-kernel.js';
import { missingKvm } from '../support/kvm.js';

const SEABIOS = '/usr/share/seabios/bios-256k.bin';
const RUN_TIMEOUT_MS = 120_000;
const VCPUS = 2;
const MEMORY_MIB = 64;
const DISK_BYTES = 1 << 20;
/** As bios-check.S has them. */
const DATA = { offset: 16 * 512, bytes: 8 * 512 };
const WRITTEN = 24 * 512;

/** The TSC's rate is the host's where it cannot be scaled. */
const RATE = /^(kvm: have invtsc, freq|CPU Mhz=|kvmclock: stable tsc,)/;
/** What the firmware says of the machine that it finds, or only on one of them. */
const MACHINES_OWN = [
  /^(Running on|Unable to (un)?lock ram|kvm: |kvmclock: |CPU Mhz=|Using pmtimer|Moving pm_base|PIIX3)/,
  /^(qemu\/e820: |RamSize|QEMU fw_cfg DMA|Returned \d+ bytes|Space available for UMB|e820 map| {2}\d: )/,
  /^(PCI: (IO|32|map|init)|pci dev|found virtio-blk|Found \d PCI devices|ATA controller|drive 0x|Copying )/,
  /^(Searching (bootorder|bios-geometry) for: \/|Running option rom|table\(|ACPI: parse )/,
];

const boot = buildBootSector('bios-check');
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-seabios-'));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

interface Run {
  readonly log: readonly string[];
  /** The boot sector's. */
  readonly report: readonly string[];
  readonly disk: Uint8Array;
}

function missingThing(): string | undefined {
  if ('missing' in boot) return boot.missing;
  return existsSync(SEABIOS) ? undefined : `there is no ${SEABIOS} (apt-get install seabios)`;
}

function dataSectors(): Uint8Array {
  return Uint8Array.from({ length: DATA.bytes }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
}

function makeDisk(name: string): string {
  if ('missing' in boot) throw new Error(boot.missing);
  const disk = new Uint8Array(DISK_BYTES);
  disk.set(boot.image);
  disk.set(dataSectors(), DATA.offset);
  const path = join(directory, `${name}.img`);
  writeFileSync(path, disk);
  return path;
}

function splitReport(lines: readonly string[]): Pick<Run, 'log' | 'report'> {
  const start = lines.findIndex((line) => line.startsWith('bios-check: drive'));
  return { log: settle(lines.slice(0, start)), report: lines.slice(start) };
}

/** Both CPUs write while the second one starts: what they wrote then is compared as a set of characters. */
function settle(log: readonly string[]): string[] {
  const from = log.indexOf('PCI: No VGA devices found') + 1;
  const to = log.findIndex((line, i) => i >= from && line.startsWith('Copying '));
  const mixed = [...log.slice(from, to).join('')].sort().join('');
  return [...log.slice(0, from), mixed, ...log.slice(to)];
}

const linesOf = (text: string): string[] => text.split(/\r?\n/).filter((line) => line !== '');

async function runTroupe(accel: 'wasm' | 'kvm'): Promise<Run> {
  const path = makeDisk(accel);
  const machine = await startFirmware(new Uint8Array(readFileSync(SEABIOS)), {
    accel,
    vcpus: VCPUS,
    memory: `${MEMORY_MIB}M`,
    disks: [{ path }],
  });
  const timer = setTimeout(() => void machine.machine.stop(), RUN_TIMEOUT_MS);
  try {
    expect(await machine.wait(), machine.output()).toEqual({ kind: 'debug-exit', code: 1 });
    return { ...splitReport(linesOf(machine.output())), disk: new Uint8Array(readFileSync(path)) };
  } finally {
    clearTimeout(timer);
    await machine.close();
  }
}

function runQemu(): Run {
  const path = makeDisk('qemu');
  const [log, serial] = [join(directory, 'qemu-log'), join(directory, 'qemu-serial')];
  const machine = `-machine pc,accel=tcg -m ${MEMORY_MIB} -smp ${VCPUS} -nodefaults -display none -no-reboot`;
  const ports = `-chardev file,id=log,path=${log} -device isa-debugcon,iobase=0x402,chardev=log -serial file:${serial}`;
  const exit = '-device isa-debug-exit,iobase=0xf4,iosize=1';
  const disk = `-drive file=${path},format=raw,if=none,id=disk -device virtio-blk-pci,drive=disk,disable-legacy=on`;
  const args = `${machine} -bios ${SEABIOS} ${ports} ${exit} ${disk}`.split(' ');
  const result = spawnSync('qemu-system-x86_64', args, { encoding: 'utf8', timeout: RUN_TIMEOUT_MS });
  expect(result.status, result.stderr).toBe(1);
  return {
    log: settle(linesOf(readFileSync(log, 'utf8'))),
    report: linesOf(readFileSync(serial, 'utf8')),
    disk: new Uint8Array(readFileSync(path)),
  };
}

let wasm: Promise<Run> | undefined;
const runWasm = (): Promise<Run> => (wasm ??= runTroupe('wasm'));

test('SeaBIOS boots from virtio-blk, and its services work', async (context) => {
  const missing = missingThing();
  if (missing !== undefined) return context.skip(missing);
  const { log, report, disk } = await runWasm();
  const started = 'handle_smp: apic_id=0x1Found 2 cpu(s) max supported 2 cpu(s)';
  expect(log).toContain([...started].sort().join(''));
  expect(log).toContain('Booting from 0000:7c00');
  const data = dataSectors();
  const sum = new Uint16Array(data.buffer).reduce((total, word) => (total + word) & 0xffff, 0);
  expect(report).toContain(`sum of the sectors: ${sum.toString(16).padStart(4, '0')}`);
  expect(report).toContain('INT 1Ah, ticks seen: 0003');
  expect(report.at(-1)).toBe('bios-check: done');
  expect(disk.subarray(WRITTEN, WRITTEN + 512)).toEqual(data.subarray(0, 512));
});

test('SeaBIOS says and does the same under KVM', async (context) => {
  const missing = missingThing() ?? missingKvm();
  if (missing !== undefined) return context.skip(missing);
  const [ours, theirs] = [await runTroupe('kvm'), await runWasm()];
  const steady = ({ log }: Run): string[] => log.filter((line) => !RATE.test(line));
  expect(steady(ours)).toEqual(steady(theirs));
  expect(ours.report).toEqual(theirs.report);
  expect(Buffer.compare(ours.disk, theirs.disk)).toBe(0);
});

test('SeaBIOS says and does the same under QEMU', async (context) => {
  const missing = missingThing();
  if (missing !== undefined) return context.skip(missing);
  if (!hasProgram('qemu-system-x86_64', '--version'))
    return context.skip('qemu-system-x86_64 is not installed');
  const [ours, theirs] = [await runWasm(), runQemu()];
  const common = ({ log }: Run): string[] =>
    log.filter((line) => !MACHINES_OWN.some((own) => own.test(line)));
  expect(common(ours).length).toBeGreaterThan(20);
  expect(common(ours)).toEqual(common(theirs));
  expect(ours.report).toEqual(theirs.report);
  expect(Buffer.compare(ours.disk, theirs.disk)).toBe(0);
});
