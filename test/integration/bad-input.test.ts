// Input that cannot work: one line on stderr that names the fault and the remedy, exit code 2, nothing on stdout, and nothing left
// behind: no file in the temporary directory, the cache or the working directory, no process.
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildElf } from '../support/kernel-image.js';

const TROUPE = fileURLToPath(new URL('../../bin/troupe.js', import.meta.url));
const TIMEOUT_MS = 60_000;
const KERNEL_ADDRESS = 2 ** 20;

const root = mkdtempSync(join(tmpdir(), 'troupe-bad-input-'));
const input = join(root, 'input');
/** Where a run may write, if it wants: all of them must be empty after it. */
const places = { TMPDIR: join(root, 'tmp'), XDG_CACHE_HOME: join(root, 'cache'), PWD: join(root, 'work') };

function inputFile(name: string, bytes: Uint8Array | string): string {
  const path = join(input, name);
  writeFileSync(path, bytes);
  return path;
}

/** A multiboot kernel that halts: code that runs when nothing is wrong with the rest. */
function multibootKernel(memoryBytes = 64): Uint8Array {
  const header = Uint32Array.of(0x1bad_b002, 0, -0x1bad_b002 >>> 0);
  const data = Uint8Array.from([...new Uint8Array(header.buffer), 0xf4, 0xeb, 0xfd]);
  const segments = [{ paddr: KERNEL_ADDRESS, data, memoryBytes }];
  return buildElf({ bits: 32, entry: BigInt(KERNEL_ADDRESS + 12), segments });
}

function bzImage(bytes: number): Uint8Array {
  const image = new Uint8Array(bytes);
  image.set([0x55, 0xaa], 0x1fe);
  image.set(Buffer.from('HdrS'), 0x202);
  return image;
}

beforeAll(() => {
  for (const place of [input, ...Object.values(places)]) mkdirSync(place);
});

afterAll(() => {
  rmSync(root, { recursive: true });
});

interface Refusal {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Processes of the run's group that outlive it. */
  readonly survivors: boolean;
}

async function refusal(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Refusal> {
  const child = spawn(process.execPath, [TROUPE, ...args], {
    cwd: places.PWD,
    env: { ...process.env, ...places, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // leads a process group of its own
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (bytes: Buffer) => (output.stdout += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (output.stderr += bytes.toString()));
  const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), TIMEOUT_MS);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  clearTimeout(timer);
  let survivors = true;
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    survivors = false; // the group is empty
  }
  return { code, ...output, survivors };
}

function expectRefused(run: Refusal, message: RegExp): void {
  expect(run.stderr).toMatch(message);
  expect(run.stderr).toMatch(/^troupe: [^\n]+\n$/);
  expect(run.stderr).not.toMatch(/Error:|undefined|\bat .*\.js:/);
  expect(run.stdout).toBe('');
  expect(run.code).toBe(2);
  expect(run.survivors).toBe(false);
  for (const place of Object.values(places)) expect(readdirSync(place)).toEqual([]);
}

test.for<[string, () => string[], RegExp]>([
  ['an empty kernel', () => ['--kernel', inputFile('empty', '')], /neither a bzImage nor an ELF/],
  ['a kernel of four bytes', () => ['--kernel', inputFile('elf4', '\x7fELF')], /truncated.*--kernel/],
  [
    'a kernel that ends in its program headers',
    () => ['--kernel', inputFile('cut', multibootKernel().subarray(0, 70))],
    /truncated/,
  ],
  [
    'a kernel that ends in its segment',
    () => ['--kernel', inputFile('cut-segment', multibootKernel().subarray(0, -1))],
    /truncated/,
  ],
  [
    'a bzImage of a header',
    () => ['--kernel', inputFile('bz', bzImage(0x400))],
    /kernel image cannot be used/,
  ],
  [
    'a bzImage without a payload',
    () => ['--kernel', inputFile('bz2', bzImage(0x8000))],
    /kernel image cannot/,
  ],
  ['a directory as kernel', () => ['--kernel', input], /it is a directory; check --kernel/],
  ['a loop of links as kernel', () => ['--kernel', linkLoop()], /--kernel/],
  [
    'a kernel bigger than the memory',
    () => ['--kernel', inputFile('big', multibootKernel(80 * 2 ** 20)), '--memory', '64M'],
    /at least \d+ MiB of memory.*--memory \d+M/,
  ],
  [
    'a module bigger than the memory',
    () => [...goodKernel(), '--memory', '32M', '--initrd', inputFile('module', Buffer.alloc(40 * 2 ** 20))],
    /memory.*--memory/,
  ],
  ['memory below the least', () => [...goodKernel(), '--memory', '1M'], /too little.*--memory/],
  ['memory in no unit', () => [...goodKernel(), '--memory', '512X'], /'512X' is not a size.*512M/],
  ['a directory as initrd', () => [...goodKernel(), '--initrd', input], /it is a directory; check --initrd/],
  ['a directory as disk', () => [...goodKernel(), '--disk', input], /it is a directory; check --disk/],
  ['a disk that is not there', () => [...goodKernel(), '--disk', '/no/disk.img'], /\/no\/disk\.img/],
  ['a disk without a name', () => [...goodKernel(), '--disk', ',readonly'], /--disk FILE/],
  ['a serial number too long', () => [...goodKernel(), '--disk', `a,serial=${'x'.repeat(21)}`], /too long/],
  ['no vCPU', () => [...goodKernel(), '--smp', '0'], /0 vCPUs; use --smp 1 to/],
  ['an argument too many', () => [...goodKernel(), 'shell'], /'shell'.*troupe run --help/],
  ['a flag twice mistyped', () => [...goodKernel(), '--memroy', '1G'], /--memroy.*--help/],
  [
    'a trace into no directory',
    () => [...goodKernel(), '--trace', 'irq', '--trace-file', '/no/dir/trace'],
    /--trace-file/,
  ],
  ['a guest kernel that is not stocked', () => ['--guest-kernel', '2.4'], /--guest-kernel 2\.4.*6\.1/],
])('%s is refused', { timeout: TIMEOUT_MS + 10_000 }, async ([, args, message]) => {
  expectRefused(await refusal(['run', ...args()]), message);
});

function goodKernel(): string[] {
  return ['--kernel', inputFile('good', multibootKernel())];
}

function linkLoop(): string {
  const path = join(input, 'loop');
  symlinkSync(path, path);
  return path;
}

test('a host without apt is told what to do, and its cache stays empty', async () => {
  const run = await refusal(['run'], { PATH: join(root, 'nowhere') });
  expectRefused(run, /apt.*--kernel/);
});

test.skipIf(process.getuid?.() === 0)('a disk that may not be read is refused', async () => {
  const disk = inputFile('secret.img', Buffer.alloc(512));
  chmodSync(disk, 0);
  expectRefused(await refusal(['run', ...goodKernel(), '--disk', disk]), /secret\.img.*--disk/);
});
