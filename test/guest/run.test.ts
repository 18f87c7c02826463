// `troupe run` and launch() with the stock guest: what a user types and what a program gets.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TroupeError, launch, type Vm } from '#kernel/index.js';

const troupe = fileURLToPath(new URL('../../bin/troupe.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'troupe-run-'));
afterAll(() => rmSync(directory, { recursive: true }));

function runTroupe(args: readonly string[], input = '') {
  return spawnSync(process.execPath, [troupe, 'run', ...args], { encoding: 'utf8', input, timeout: 180_000 });
}

describe('troupe run --exec', () => {
  it('prints what the command prints, stream by stream, and exits with its code', () => {
    const result = runTroupe(['--exec', 'nproc; echo oops >&2; uname -m; exit 3']);
    expect(result.stdout).toBe('2\nx86_64\n');
    expect(result.stderr).toBe('oops\n');
    expect(result.status).toBe(3);
  });

  it('hands stdin to the command and loses nothing of a flood', () => {
    const input = 'x'.repeat(200_000);
    const result = runTroupe(['--smp', '1', '--exec', 'wc -c; seq 1 20000'], input);
    const numbers = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join('');
    expect(result.stdout).toBe(`${input.length}\n${numbers}`);
    expect(result.status).toBe(0);
  });

  it('tells a signal, shows disks, and keeps a read-only one as it is', () => {
    const disk = join(directory, 'disk.img');
    const locked = join(directory, 'locked.img');
    writeFileSync(disk, Buffer.alloc(1 << 20));
    writeFileSync(locked, Buffer.alloc(1 << 20, 7));
    const command =
      'cat /sys/block/vda/serial; echo; printf troupe >/dev/vda; sync; ' +
      'printf x >/dev/vdb && echo written; kill -9 $$';
    const args = ['--disk', `${disk},serial=first`, '--disk', `${locked},readonly`, '--exec', command];
    const result = runTroupe(args);
    expect(result.stdout).toBe('first\n');
    expect(result.status).toBe(128 + 9);
    expect(readFileSync(disk).subarray(0, 6).toString()).toBe('troupe');
    expect(readFileSync(locked).every((byte) => byte === 7)).toBe(true);
  });

  it('ends on SIGINT with 130 and leaves nothing behind', async () => {
    const child = spawn(process.execPath, [troupe, 'run', '--exec', 'echo up; sleep 1000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.once('exit', resolve));
    expect(code).toBe(130);
  });

  it('writes the guest kernel log on request', () => {
    const log = join(directory, 'log');
    const result = runTroupe(['--smp', '1', '--log-file', log, '--exec', 'true']);
    expect(result.stderr).toBe('');
    expect(readFileSync(log, 'utf8')).toMatch(/Linux version.*[^]*Run \/init as init process/);
  });

  it('tells a replaced actor in one plain line, and as JSON when a level is asked for', () => {
    const args = ['--smp', '1', '--exec', 'true', '--fault', 'virtio-rng: crash at 1s'];
    const plain = runTroupe(args);
    expect(plain.stderr).toMatch(
      /^troupe: virtio-rng-0 crashed \(exit code 134\) and was replaced in \d+ ms\n$/,
    );
    expect(plain.status).toBe(0);
    const asked = runTroupe([...args, '--log-level', 'warn']);
    expect(JSON.parse(asked.stderr)).toMatchObject({ child: 'virtio-rng-0', decision: 'restart' });
  });

  it('traces what it is asked to, and no more than the limit', () => {
    const disk = join(directory, 'traced.img');
    const trace = join(directory, 'trace');
    writeFileSync(disk, Buffer.alloc(1 << 20));
    const args = ['--smp', '1', '--disk', disk, '--trace', 'virtio,irq', '--trace-file', trace];
    expect(runTroupe([...args, '--exec', 'cat /dev/vda >/dev/null']).status).toBe(0);
    const lines = readFileSync(trace, 'utf8').trimEnd().split('\n');
    expect(lines.every((line) => /^\d+\.\d{3} [a-z0-9-]+ (virtio|irq) ./.test(line))).toBe(true);
    expect(lines.some((line) => /virtio-blk-0 virtio queue 0 #\d+ head \d+ out 16 in/.test(line))).toBe(true);
    expect(lines.some((line) => /vcpu-0 irq vector 0x/.test(line))).toBe(true);
  });
});

describe('launch', () => {
  let vm: Vm | undefined;
  beforeAll(async () => {
    vm = await launch({ vcpus: 2, memory: '512M' });
  });
  afterAll(async () => vm?.stop());
  afterEach(() => expect(vm).toBeDefined());

  it('runs commands and hands back what they did', async () => {
    const r = await vm!.exec('uname -r; echo warned >&2; exit 5');
    expect(r.stdout).toMatch(/^6\..*-cloud-amd64\n$/);
    expect(r.stderr).toBe('warned\n');
    expect(r.exitCode).toBe(5);
    const cat = await vm!.exec('cat; nproc', { stdin: 'fed ' });
    expect(cat.stdout).toBe('fed 2\n');
  });

  it('queues commands, streams their output and ends one that takes too long', async () => {
    const chunks: string[] = [];
    const [a, b] = await Promise.all([
      vm!.exec('echo a', { onStdout: (bytes) => void chunks.push(Buffer.from(bytes).toString()) }),
      vm!.exec('echo b'),
    ]);
    expect([a.stdout, b.stdout, chunks.join('')]).toEqual(['a\n', 'b\n', 'a\n']);
    await expect(vm!.exec('sleep 100', { timeoutMs: 300 })).rejects.toMatchObject({ code: 'timeout' });
    expect((await vm!.exec('echo still here')).stdout).toBe('still here\n');
  });

  it('goes on when an actor is killed, and through a pause', async () => {
    await vm!.kill('virtio-console-0');
    expect((await vm!.exec('echo back')).stdout).toBe('back\n');
    const status = await vm!.actors.list();
    expect(status.find((a) => a.name === 'virtio-console-0')!.generation).toBe(2);
    await vm!.pause();
    await vm!.resume();
    expect((await vm!.exec('echo on')).stdout).toBe('on\n');
  });

  it('ends with the guest, and stops twice without complaint', async () => {
    const pid = vm!.pid;
    await vm!.exec('poweroff').catch((error: unknown) => expect(error).toBeInstanceOf(TroupeError));
    expect(await vm!.wait()).toEqual({ kind: 'poweroff' });
    await vm!.stop();
    await vm!.stop();
    expect(() => process.kill(pid, 0)).toThrow();
    await expect(vm!.exec('true')).rejects.toMatchObject({ code: 'not-running' });
  });

  it('rejects bad options with a code and leaves no process', async () => {
    await expect(launch({ vcpus: 100 })).rejects.toMatchObject({ code: 'bad-config' });
    await expect(launch({ kernel: '/no/kernel' })).rejects.toMatchObject({ code: 'file-unreadable' });
  });
});
