// What a benchmark started or made and must not leave behind: processes and temporary directories. Signals end the processes first.
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;
const GRACE_MS = 3000;

const children = new Set<ChildProcessWithoutNullStreams>();
const directories = new Set<string>();

/** Starts a process that does not outlive this one. */
export function startChild(
  command: readonly [program: string, ...args: string[]],
): ChildProcessWithoutNullStreams {
  const [program, ...args] = command;
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.on('error', () => {}); // it may end before it has read
  children.add(child);
  child.once('close', () => children.delete(child));
  return child;
}

/** Asks a process to end, and ends it when it does not. */
export function endChild(child: ChildProcessWithoutNullStreams): void {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  child.once('close', () => clearTimeout(timer));
}

export async function withTemporaryDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-bench-'));
  directories.add(directory);
  try {
    return await use(directory);
  } finally {
    directories.delete(directory);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** From now on a signal ends this process only after everything that it started. */
export function cleanUpOnSignals(): void {
  process.once('exit', () => {
    for (const child of children) child.kill('SIGKILL');
    for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  });
  for (const name of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]) {
    process.on(name, () => {
      const code = 128 + SIGNALS[name];
      if (children.size === 0) process.exit(code);
      for (const child of children) {
        child.once('close', () => children.size === 0 && process.exit(code));
        endChild(child);
      }
    });
  }
}
