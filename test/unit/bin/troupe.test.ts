// The `troupe` command when its build is missing: an installed package without dist/ must say so in one line.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const command = fileURLToPath(new URL('../../../bin/troupe.js', import.meta.url));

test('says in one line how to build, with exit code 2, when dist/ is missing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-bin-'));
  try {
    mkdirSync(join(folder, 'bin'));
    const copy = join(folder, 'bin/troupe.mjs');
    copyFileSync(command, copy);
    const { status, stdout, stderr } = spawnSync(process.execPath, [copy, 'run'], { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^troupe: .*npm run build\n$/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
