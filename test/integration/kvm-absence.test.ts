// What a user meets on hosts that lack something of KVM: the guest runs on the wasm engine and one line says why, or the command that
// demanded KVM ends with the reason and the fix. The hosts are this one with a library in between (kvm-absence.c).
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildGuestKernel, type GuestKernel } from '../support/guest-kernel.js';
import { missingKvm } from '../support/kvm.js';
import { runTroupe, type TroupeRun } from '../support/troupe-run.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const RUN = '--memory 16M --smp 1 --no-reboot'.split(' ');

const ABSENCES: readonly (readonly [absence: string, reason: RegExp, hint: RegExp])[] = [
  ['no-device', /there is no \/dev\/kvm/, /kvm_intel or kvm_amd/],
  ['no-permission', /no permission for \/dev\/kvm/, /group kvm/],
  ['old-kernel', /interface is of version 11, not 12/, /kernel of 4\.11 or newer/],
  ['no-capability', /no KVM_CAP_SPLIT_IRQCHIP/, /newer Linux kernel/],
  ['busy', /KVM_CREATE_VM: Device or resource busy/, /another hypervisor/],
  ['no-addon', /native addon does not load/, /npm rebuild/],
];

let kernel: GuestKernel;
let directory: string;
let library: string;

beforeAll(() => {
  kernel = buildGuestKernel('phases', 64, 'bare64');
  directory = mkdtempSync(join(tmpdir(), 'troupe-absence-'));
  library = join(directory, 'kvm-absence.so');
  if ('missing' in kernel) return;
  const source = join(ROOT, 'test/support/kvm-absence.c');
  execFileSync('gcc', ['-shared', '-fPIC', '-Wall', '-Wextra', '-Werror', '-o', library, source]);
});

afterAll(() => {
  if ('directory' in kernel) rmSync(kernel.directory, { recursive: true });
  rmSync(directory, { recursive: true });
});

async function runWithout(absence: string, path: string, accel: string): Promise<TroupeRun> {
  const env = { ...process.env, LD_PRELOAD: library, KVM_ABSENCE: absence };
  const args = ['run', '--accel', accel, ...RUN, '--kernel', path, '--append', 'cpus=1 phases=1'];
  return runTroupe(args, { env, timeoutMs: 60_000 });
}

test.for(ABSENCES)('a host with %s', async ([absence, reason, hint], context) => {
  if ('missing' in kernel) return context.skip(kernel.missing);
  const missing = missingKvm();
  if (missing !== undefined) return context.skip(missing);
  const auto = await runWithout(absence, kernel.path, 'auto');
  expect(auto.stdout).toContain('phases: done\n');
  expect(auto.code).toBe(1); // the payload's
  const said = auto.stderr.trimEnd().split('\n');
  expect(said, auto.stderr).toHaveLength(1);
  expect(said[0]).toMatch(/wasm engine/);
  expect(said[0]).toMatch(reason);
  const demanded = await runWithout(absence, kernel.path, 'kvm');
  expect(demanded.stdout).toBe('');
  expect(demanded.code).not.toBe(0);
  expect(demanded.stderr).toMatch(reason);
  expect(demanded.stderr).toMatch(hint);
});

test('an install without a compiler leaves the addon out, says so in a line, and succeeds', () => {
  const tree = join(directory, 'tree');
  mkdirSync(join(tree, 'scripts'), { recursive: true });
  for (const name of ['build-native.mjs', 'process.mjs'])
    cpSync(join(ROOT, 'scripts', name), join(tree, 'scripts', name));
  cpSync(join(ROOT, 'native/src'), join(tree, 'native/src'), { recursive: true });
  cpSync(join(ROOT, 'native/binding.gyp'), join(tree, 'native/binding.gyp'));
  const run = spawnSync(process.execPath, [join(tree, 'scripts/build-native.mjs')], {
    encoding: 'utf8',
    env: { ...process.env, CXX: join(directory, 'no-such-compiler') },
  });
  expect(run.status).toBe(0);
  expect(run.stderr).toMatch(/^troupe: the KVM addon is not built: there is no C\+\+ compiler .*\n$/);
  expect(existsSync(join(tree, 'dist/native/troupe-native.node'))).toBe(false);
});
