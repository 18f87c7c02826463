// `troupe cpu run-vectors` on the vectors of vectors/ (the host CPU's results), and on files that are wrong.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPrng } from '#shared/base/prng.js';
import { hostVendor } from '../support/host-vendor.js';
import { Bench } from './campaign.js';
import type { Case, CaseMode } from './case-record.js';
import { comparedForms } from './coverage.js';
import { CaseGenerator } from './generator.js';
import { isExportable, toVector, usesMemory } from './vector-export.js';

const VECTORS = fileURLToPath(new URL('vectors/', import.meta.url));
const TROUPE = fileURLToPath(new URL('../../bin/troupe.js', import.meta.url));
const SAMPLES: readonly (readonly [CaseMode, number])[] = [[64, 240], [32, 80], [16, 60]]; // prettier-ignore
const SEED = 7;

interface Run {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

function runVectors(...args: string[]): Promise<Run> {
  return new Promise((resolve) => {
    execFile(process.execPath, [TROUPE, 'cpu', 'run-vectors', ...args], (error, output, errors) => {
      resolve({ code: error === null ? 0 : Number(error.code), output, errors });
    });
  });
}

/** One case of each form, spread over the catalogue. */
async function writeVectors(bench: Bench, mode: CaseMode, count: number): Promise<void> {
  const generator = new CaseGenerator(createPrng(SEED));
  const forms = comparedForms(mode);
  const lines: string[] = [];
  for (let i = 0; lines.length < count && i < forms.length * 20; i++) {
    const form = forms[Math.floor(((i * 0.618) % 1) * forms.length)]!;
    const c: Case | undefined = generator.make(form, mode);
    if (c === undefined || (mode === 16 && usesMemory(c))) continue;
    const [outcome] = await bench.host.run([c]);
    if (outcome === undefined || !isExportable(c, outcome)) continue;
    lines.push(JSON.stringify(toVector(c, outcome, bench.background, `${form.name} ${mode}-bit ${i}`)));
  }
  writeFileSync(`${VECTORS}host-${mode}.jsonl`, `${lines.join('\n')}\n`);
}

// They say what our processor does, so only the one that it is modelled on may write them.
test.runIf(process.env['TROUPE_WRITE_VECTORS'] === '1')('writes vectors', async () => {
  expect(hostVendor()).toBe('intel');
  const bench = new Bench();
  for (const [mode, count] of SAMPLES) await writeVectors(bench, mode, count);
  bench.close();
});

describe('troupe cpu run-vectors', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'troupe-vectors-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const file = (...lines: string[]): string => {
    const path = join(folder, `${lines.join('').length}.jsonl`);
    writeFileSync(path, lines.join('\n'));
    return path;
  };
  const vector = (changes: object): string =>
    JSON.stringify({ name: 'add', mode: 64, load: 4096, entry: '0x1000', code: '4801d8f4', regs: { RAX: 1, RBX: '0x2' }, expect: { RAX: '0x3' }, ...changes }); // prettier-ignore

  test.each(readdirSync(VECTORS))('passes %s', async (name) => {
    const run = await runVectors(join(VECTORS, name), '--tier', 'interp');
    expect(run.output).toMatch(/^\d+ passed, 0 failed\n$/);
    expect(run.code).toBe(0);
  });

  test('runs real mode from above and below 64 KiB', async () => {
    const low = vector({ mode: 16, load: '0x7c00', entry: '0x7c00', code: 'b83412a30010f4', expect: { AX: 0x1234, mem: { '0x1000': '3412' } } }); // prettier-ignore
    const high = vector({ mode: 16, load: 0x20000, entry: 0x20000, code: '8cc8f4', expect: { AX: 0x2000 } });
    expect(await runVectors(file(low, high))).toMatchObject({ code: 0, output: '2 passed, 0 failed\n' });
  });

  test('gives the whole x87 register behind an MM name', async () => {
    const fld = vector({ code: 'd9e8d9ebf4', expect: { MM7: ['0x8000000000000000', '0x3fff'], MM6: '0xc90fdaa22168c235', ST1: ['0x8000000000000000', 0x3fff] } }); // prettier-ignore
    expect(await runVectors(file(fld))).toMatchObject({ code: 0, output: '1 passed, 0 failed\n' });
  });

  test('names what fails and gives 1', async () => {
    const run = await runVectors(file(vector({}), vector({ name: 'wrong', expect: { RAX: '0x4' } }), vector({ name: 'ud', code: '0f0b' }))); // prettier-ignore
    expect(run.code).toBe(1);
    expect(run.output).toContain('FAIL wrong: RAX is 0x3, expected 0x4\n');
    expect(run.output).toContain('FAIL ud: exception 6 at RIP 0x1000\n');
    expect(run.output).toMatch(/\n1 passed, 2 failed\n$/);
  });

  test.each([
    ['no JSON', '{', /line 2: not JSON/],
    [
      'an unknown register',
      vector({ expect: { RAXX: 1 } }),
      /line 2: expect names 'RAXX', which is no register/,
    ],
    ['an odd number of hex digits', vector({ code: '4' }), /line 2: code is not a string of hex bytes/],
    ['no code', vector({ code: undefined }), /line 2: 'code' is missing/],
    ['a wrong mode', vector({ mode: 8 }), /line 2: mode is 8/],
  ])('refuses %s with its line and 2', async (_, line, message) => {
    const run = await runVectors(file(vector({}), line));
    expect(run.errors).toMatch(message);
    expect(run.output).toBe('');
    expect(run.code).toBe(2);
  });

  test('refuses a file that is not there, a tier that is not', async () => {
    expect(await runVectors(join(folder, 'absent'))).toMatchObject({ code: 2 });
    expect((await runVectors(file(vector({})), '--tier', 'fast')).errors).toMatch(/no tier 'fast'/);
  });
});
