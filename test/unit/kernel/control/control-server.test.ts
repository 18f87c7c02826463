// The control socket over a real socket, with a guest of straw.
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GuestControl } from '#kernel/control/control-client.js';
import { ControlServer, type ControlTarget } from '#kernel/control/control-server.js';
import { guestNames, socketPath } from '#kernel/control/guest-name.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';

let folder: string;
let servers: ControlServer[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-control-'));
  vi.stubEnv('XDG_RUNTIME_DIR', folder);
});

afterEach(async () => {
  for (const server of servers) await server.close();
  servers = [];
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

async function open(name: string, target: Partial<ControlTarget> = {}): Promise<ControlServer> {
  const server = await ControlServer.open(name, {
    actors: () => [],
    inject: () => {},
    kill: async () => {},
    ...target,
  });
  servers.push(server);
  return server;
}

describe('ControlServer', () => {
  it('serves calls in order, and tells errors with code and hint', async () => {
    const rules: FaultRule[] = [];
    await open('web', { inject: (rule) => void rules.push(rule) });
    const guest = await GuestControl.connect('web');
    expect(await guest.call('actors', null)).toEqual([]);
    await guest.call('inject', { actor: 'uart', action: 'crash' });
    expect(rules).toEqual([{ actor: 'uart', action: 'crash' }]);
    const bad = { actor: 'uart', action: 'crash', point: 'nowhere' } as const;
    await expect(guest.call('inject', bad)).rejects.toMatchObject({ code: 'bad-config', hint: /failpoints/ });
    await expect(guest.call('reboot' as never, null as never)).rejects.toThrow(/no such call/);
    guest.close();
  });

  it('lets nobody else in, and leaves nothing behind', async () => {
    const server = await open('web');
    const path = socketPath('web');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700);
    expect(guestNames()).toEqual(['web']);
    await server.close();
    expect(existsSync(path)).toBe(false);
  });

  it('refuses a name that is taken, and takes over one whose guest died', async () => {
    await open('web');
    await expect(open('web')).rejects.toThrow(/runs already/);
    writeFileSync(socketPath('old'), '');
    await open('old');
    (await GuestControl.connect('old')).close();
  });

  it.each(['', '../web', 'a b', 'x'.repeat(65)])('refuses the name %j', async (name) => {
    await expect(open(name)).rejects.toThrow(/no name for a guest/);
  });

  it('tells of other guests when there is none of that name', async () => {
    await open('web');
    await expect(GuestControl.connect('wbe')).rejects.toMatchObject({ code: 'not-running', hint: /web/ });
  });

  it('survives nonsense, and ends a call whose guest ends', async () => {
    const server = await open('web', { kill: () => new Promise(() => {}) });
    const stray = connect(socketPath('web'));
    stray.write('nonsense\n');
    const reply = await new Promise<string>((resolve) =>
      stray.once('data', (data) => resolve(data.toString())),
    );
    expect(JSON.parse(reply)).toMatchObject({ ok: false });
    stray.destroy();
    const guest = await GuestControl.connect('web');
    const call = guest.call('kill', { actor: 'uart', force: false });
    await server.close();
    await expect(call).rejects.toMatchObject({ code: 'not-running' });
  });
});
