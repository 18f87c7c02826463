// Runs the troupe command as a user does, in a process of its own, and waits for its end. A run that takes too long is
// killed, so that no test leaves a guest behind.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const TROUPE = fileURLToPath(new URL('../../bin/troupe.js', import.meta.url));

export interface TroupeRun {
  /** null when it was killed. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly elapsedMs: number;
}

export interface TroupeRunOptions {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
}

export async function runTroupe(
  args: readonly string[],
  { input = '', env = process.env, timeoutMs = 120_000 }: TroupeRunOptions = {},
): Promise<TroupeRun> {
  const startedMs = performance.now();
  const child = spawn(process.execPath, [TROUPE, ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => stderr.push(bytes));
  child.stdin.on('error', () => {}); // it may end without reading
  child.stdin.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  clearTimeout(timer);
  return {
    code,
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
    elapsedMs: performance.now() - startedMs,
  };
}
