// When supervision gives a machine up: the reason is told, the exit code is 70, and what is left of the machine is kept.
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import { TroupeError } from '#shared/base/error.js';
import { runTroupe } from '../support/troupe-run.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-escalation-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Bundle {
  readonly reason: string;
  readonly events: readonly { readonly type: string }[];
  readonly vcpus: readonly {
    readonly exact: boolean;
    readonly registers: Readonly<Record<string, string>>;
  }[];
  readonly layout: { readonly arenaBytes: number };
}

it.for([
  {
    what: 'a vCPU that dies inside guest code',
    faults: ['--smp', '1', '--fault', 'vcpu-0: crash at device.access after 20'],
    reason: /vcpu-0 exited with code 134; it was inside guest code/,
    exact: false,
  },
  {
    what: 'an actor that no restart helps',
    faults: ['--smp', '1', '--fault', 'chipset: throw always'],
    reason: /chipset failed: injected fault at loop; more than 10 restarts in 10000 ms/,
    exact: undefined,
  },
])('$what ends the guest with 70, a reason and a bundle', async ({ faults, reason, exact }, { skip }) => {
  try {
    await ensureGuestAssets();
  } catch (error) {
    if (error instanceof TroupeError) return skip(error.message);
    throw error;
  }
  const env = { ...process.env, XDG_STATE_HOME: folder };
  const run = await runTroupe(['run', '--memory', '128M', ...faults, '--exec', 'true'], { env });
  expect(run.stderr).toMatch(reason);
  expect(run.code).toBe(70);
  const [name] = readdirSync(join(folder, 'troupe/bundles'));
  const path = join(folder, 'troupe/bundles', name!);
  expect(run.stderr).toContain(path);
  const bundle = JSON.parse(readFileSync(join(path, 'bundle.json'), 'utf8')) as Bundle;
  expect(bundle.reason).toMatch(reason);
  expect(bundle.events.at(-1)!.type).toBe('actor:escalate');
  if (exact !== undefined) expect(bundle.vcpus[0]!.exact).toBe(exact);
  expect(bundle.vcpus[0]!.registers['rip']).toMatch(/^0x[0-9a-f]+$/);
  const image = statSync(join(path, 'arena.img'));
  expect(image.size).toBe(bundle.layout.arenaBytes);
  expect(image.blocks).toBeGreaterThan(0);
});
