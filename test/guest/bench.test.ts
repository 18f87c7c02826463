// The guest benchmark's runner with Troupe alone: a guest boots, runs the rows that are named, and ends; a signal leaves nothing behind. No
// figure is judged.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';

const BENCH = fileURLToPath(new URL('../../dist/bench/main.js', import.meta.url));
const ALONE = ['guest', '--turns', '1', '--solo', 'troupe', '--warm-up', '1', '--measure', '1'];

async function reasonToSkip(): Promise<string | undefined> {
  if (spawnSync('gcc', ['--version']).error) return 'gcc is not installed: apt-get install gcc libc6-dev';
  return ensureGuestAssets().then(
    () => undefined,
    (error: Error) => `no guest assets: ${error.message}`,
  );
}

const skip = await reasonToSkip();
if (skip !== undefined) console.log(`bench skipped: ${skip}`);

interface Bench {
  readonly child: ChildProcess;
  readonly output: { stdout: string; stderr: string };
  readonly code: Promise<number | null>;
}

function startBench(args: readonly string[]): Bench {
  const child = spawn(process.execPath, [BENCH, ...ALONE, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name]!.on('data', (bytes: Buffer) => (output[name] += bytes.toString()));
  const code = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, output, code };
}

async function said(bench: Bench, text: RegExp): Promise<void> {
  while (!text.test(bench.output.stderr) && bench.child.exitCode === null)
    await new Promise((resolve) => setTimeout(resolve, 50));
  expect(bench.output.stderr).toMatch(text);
}

describe.skipIf(skip !== undefined)('npm run bench -- guest', () => {
  it('runs the rows that are named and prints them', async () => {
    const { output, code } = startBench(['--only', 'sha256,smc,boot']);
    expect(await code, output.stderr).toBe(0);
    const names = output.stdout
      .split('\n')
      .filter((line) => /^\| \S+ \|.* \| [\d.]+ \|$/.test(line))
      .map((line) => line.split(' ')[1]);
    expect(names).toEqual(['sha256', 'smc', 'boot']);
    expect(output.stdout).toMatch(/^troupe: guest clock by the host's /m);
    expect(output.stderr).toMatch(/^troupe 1\/1: sha256 \S+ MB\/s$/m);
  });

  it('ends its guest when it is interrupted', async () => {
    const bench = startBench(['--only', 'idle']);
    await said(bench, /boot/);
    const { pid } = bench.child;
    const machines = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    expect(machines).toHaveLength(1);
    expect(existsSync(`/proc/${machines[0]}`)).toBe(true);
    bench.child.kill('SIGINT');
    expect(await bench.code, bench.output.stderr).toBe(130);
    expect(existsSync(`/proc/${machines[0]}`)).toBe(false);
  });
});
