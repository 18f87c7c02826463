// The two that run the same guest: Troupe and QEMU with its translator (TCG), as commands whose serial line is their stdout.
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const TROUPE = fileURLToPath(new URL('../../../bin/troupe.js', import.meta.url));
const QEMU = 'qemu-system-x86_64';

/** One guest to run: the same for both. */
export interface GuestRun {
  readonly kernel: string;
  readonly initrd?: string;
  readonly append: string;
  readonly vcpus: number;
  readonly memoryMib: number;
}

export interface Contestant {
  readonly name: string;
  command(run: GuestRun): readonly string[];
}

export const troupe: Contestant = {
  name: 'troupe',
  command: (run) => [
    process.execPath,
    TROUPE,
    'run',
    ...['--kernel', run.kernel, '--append', run.append, '--debug-exit', '--no-reboot'],
    ...(run.initrd === undefined ? [] : ['--initrd', run.initrd]),
    ...['--smp', String(run.vcpus), '--memory', `${run.memoryMib}M`],
  ],
};

export const qemu: Contestant = {
  name: 'qemu tcg',
  command: (run) => [
    QEMU,
    ...['-accel', 'tcg', '-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-no-reboot'],
    ...['-kernel', run.kernel, '-append', run.append, '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
    ...(run.initrd === undefined ? [] : ['-initrd', run.initrd]),
    ...['-smp', String(run.vcpus), '-m', String(run.memoryMib)],
  ],
};

export function qemuVersion(): string | undefined {
  const run = spawnSync(QEMU, ['--version'], { encoding: 'utf8' });
  return run.status === 0 ? run.stdout.split('\n')[0] : undefined;
}

/** Troupe, and QEMU where it is installed. */
export function contestants(): readonly Contestant[] {
  return qemuVersion() === undefined ? [troupe] : [troupe, qemu];
}

const LIMIT_MS = 300_000;

/** Milliseconds from the start of the process until `line` stands in its output, or until it ends when there is none. */
export async function timeUntil(argv: readonly string[], line?: RegExp): Promise<number> {
  const startedMs = performance.now();
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  let text = '';
  let errors = '';
  let seenMs: number | undefined;
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString('latin1')));
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    if (seenMs !== undefined || line === undefined || !line.test(text)) return;
    seenMs = performance.now() - startedMs;
    child.kill('SIGTERM');
  });
  await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  if (line === undefined) return performance.now() - startedMs;
  if (seenMs === undefined) throw new Error(`${argv[0]} never said ${line}:\n${errors}${text.slice(-2000)}`);
  return seenMs;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}
