// Runs dependency-cruiser on a small tree in which each file that is named `imports-…` or `cycle-…` breaks one rule of
// .dependency-cruiser.cjs, and every other file none. A rule that goes blind (a path that moved, an imports map that no
// longer resolves) fails here. A cycle is reported at one of its files.
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const execute = promisify(execFile);
const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL('../..', import.meta.url));
const fixture = fileURLToPath(new URL('fixture', import.meta.url));

interface CruiseReport {
  summary: { violations: { from: string; rule: { name: string } }[] };
}

async function cruiseFixture(): Promise<string[]> {
  const tool = `${root}node_modules/dependency-cruiser/bin/dependency-cruise.mjs`;
  const folders = ['shared', 'actors', 'kernel', 'native', 'test'];
  const args = [tool, '--config', `${root}.dependency-cruiser.cjs`, '--output-type', 'json', ...folders];
  const { stdout } = await execute(process.execPath, args, { cwd: fixture, maxBuffer: 1 << 26 });
  const report = JSON.parse(stdout) as CruiseReport;
  return report.summary.violations.map(({ from, rule }) => `${from}: ${rule.name}`);
}

test('each import rule fires on the file that breaks it, and nowhere else', async () => {
  const violations = await cruiseFixture();
  expect([...new Set(violations)].sort()).toEqual([
    'actors/disk/imports-kernel.ts: actors-do-not-import-kernel',
    'actors/disk/imports-native.ts: native-for-few-actors',
    'actors/disk/imports-other-actor.ts: actors-import-protocols-only',
    'kernel/cli/imports-inside.ts: cli-imports-public-api',
    'kernel/imports-actor.ts: kernel-imports-protocols-only',
    'kernel/imports-native.ts: native-for-kernel-accel',
    'native/imports-actor.ts: native-imports-shared',
    'shared/base/imports-fs.ts: shared-does-no-io',
    'shared/base/imports-kernel.ts: shared-imports-shared',
    'shared/base/imports-nowhere.ts: not-to-unresolvable',
    'shared/base/imports-test.ts: product-does-not-import-tests',
    'shared/ipc/cycle-a.ts: no-circular',
    'shared/wasm/imports-x86.ts: wasm-knows-no-x86',
  ]);
});

test('the fixture breaks every rule there is', async () => {
  const config = require(`${root}.dependency-cruiser.cjs`) as { forbidden: { name: string }[] };
  const broken = new Set((await cruiseFixture()).map((line) => line.split(': ')[1]));
  expect([...broken].sort()).toEqual(config.forbidden.map((rule) => rule.name).sort());
});
