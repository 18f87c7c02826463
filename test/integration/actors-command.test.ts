// `troupe actors --watch` beside a guest of straw: how it ends, and that it ends quietly.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ActorStatus } from '#kernel/index.js';
import { ControlServer } from '#kernel/control/control-server.js';

const troupe = fileURLToPath(new URL('../../bin/troupe.js', import.meta.url));
const ACTOR: ActorStatus = {
  ...{ name: 'uart', kind: 'uart', running: true, generation: 1, restarts: 0, lastExit: undefined },
  ...{ state: 'idle' as const, heartbeatAgeMs: 0, queueDepth: 0, messagesPerSecond: 0, cpuPercent: 0 },
};

let folder: string;
let server: ControlServer;
let child: ChildProcessByStdio<null, Readable, Readable>;
let stderr: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-actors-'));
  vi.stubEnv('XDG_RUNTIME_DIR', folder);
  server = await ControlServer.open('web', {
    actors: () => [ACTOR],
    inject: () => {},
    kill: async () => {},
  });
  child = spawn(process.execPath, [troupe, 'actors', 'web', '--watch'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  stderr = '';
  child.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
  await once(child.stdout, 'data');
});
afterEach(async () => {
  child.kill('SIGKILL');
  await server.close();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

it('ends with 0 when nobody reads any more', async () => {
  child.stdout.destroy();
  expect(await once(child, 'exit')).toEqual([0, null]);
  expect(stderr).toBe('');
});

it('ends with 0 when the guest does', async () => {
  await server.close();
  expect(await once(child, 'exit')).toEqual([0, null]);
  expect(stderr).toBe('');
});

it('ends at once on Ctrl-C', async () => {
  child.kill('SIGINT');
  expect(await once(child, 'exit')).toEqual([null, 'SIGINT']);
  expect(stderr).toBe('');
});
