// The interpreter tier against the host CPU: random cases of every announced instruction form, registers, flags (undefined
// ones masked by the semantics tables), memory and faults. TROUPE_DIFFERENTIAL_SEED and TROUPE_DIFFERENTIAL_CASES
// choose the run; a failing case is shrunk and kept in examples/, which is replayed first.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPrng, hashString } from '#shared/base/prng.js';
import { instructionForms } from '#shared/translate/instruction-form.js';
import { Bench, type CampaignResult, type Mismatch, runCampaign } from './campaign.js';
import { caseFromJson, type CaseMode, caseToJson, type Outcome, type StoredCase } from './case-record.js';
import { differences } from './comparison.js';
import { comparedForms, exclusion } from './coverage.js';
import { CaseGenerator } from './generator.js';
import { hostObstacle } from './host-oracle.js';
import { shrinkCase } from './shrink.js';

const FULL = process.env['TROUPE_TEST_FULL'] === '1';
const EXAMPLES = fileURLToPath(new URL('examples/', import.meta.url));
const SEED = Number(process.env['TROUPE_DIFFERENTIAL_SEED'] ?? (FULL ? Date.now() % 2 ** 31 : 1));
const CASES = Number(process.env['TROUPE_DIFFERENTIAL_CASES'] ?? (FULL ? 1_000_000 : 60_000));
/** Bounds of `npm test`; the share of each mode. */
const PLAN: readonly { readonly mode: CaseMode; readonly share: number; readonly maximumMs: number }[] = [
  { mode: 64, share: 1, maximumMs: 14_000 },
  { mode: 32, share: 0.25, maximumMs: 5_000 },
  { mode: 16, share: 0.2, maximumMs: 5_000 },
];
const SHRUNK = 5;
const FULL_TIMEOUT_MS = 3_600_000;

const obstacle = hostObstacle();
if (obstacle !== undefined) process.stdout.write(`differential tests skipped: ${obstacle}\n`);

interface Example {
  readonly note: string;
  readonly case: StoredCase;
}

function exampleNames(): string[] {
  mkdirSync(EXAMPLES, { recursive: true });
  return readdirSync(EXAMPLES).filter((name) => name.endsWith('.json'));
}

async function keep(bench: Bench, mismatch: Mismatch): Promise<string> {
  const fails = async (c: Mismatch['case']): Promise<boolean> => (await bench.compare([c])).length > 0;
  const simple = await shrinkCase(mismatch.case, fails);
  const found = (await bench.compare([simple]))[0]?.differences ?? mismatch.differences;
  const stored = caseToJson(simple);
  const example: Example = { note: found.join('; '), case: stored };
  const name = `${simple.mode}-${simple.form}-${hashString(JSON.stringify(stored)).toString(16)}.json`;
  writeFileSync(`${EXAMPLES}${name}`, `${JSON.stringify(example, undefined, 2)}\n`);
  return `examples/${name}: ${stored.code}: ${found.join('; ')}`;
}

function report(mode: CaseMode, result: CampaignResult): void {
  const counts = [...result.perForm.values()].sort((a, b) => a - b);
  const rate = Math.round((result.cases / result.milliseconds) * 1000);
  process.stdout.write(
    `${mode}-bit code: seed ${SEED}, ${result.cases} cases of ${counts.length} forms (${counts[0]!} to ${counts.at(-1)!} each), ` +
      `${result.mismatches.length} mismatches, ${rate} cases/s\n`,
  );
  if (!FULL) return;
  const lines = [...result.perForm].map(([name, count]) => `${name} ${count}`);
  process.stdout.write(`cases of each form in ${mode}-bit code: ${lines.join(', ')}\n`);
  const left: string[] = [];
  for (const form of instructionForms().values()) {
    const reason = exclusion(form, mode);
    if (reason !== undefined && form.modes.includes(mode)) left.push(`${form.name} (${reason})`);
  }
  process.stdout.write(`not compared in ${mode}-bit code: ${left.join(', ')}\n`);
}

describe.skipIf(obstacle !== undefined)('the interpreter and the host CPU', () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.close());

  test.each(exampleNames())('agree on the kept example %s', async (name) => {
    const example = JSON.parse(readFileSync(`${EXAMPLES}${name}`, 'utf8')) as Example;
    const found = await bench.compare([caseFromJson(example.case)]);
    expect(found.flatMap((mismatch) => mismatch.differences)).toEqual([]);
  });

  test('differ when the engine is wrong', async () => {
    const form = comparedForms(64).find((candidate) => candidate.name === 'Add_rm64_r64')!;
    const generator = new CaseGenerator(createPrng(SEED));
    let c = generator.make(form, 64);
    while (c === undefined || c.patches.length === 0) c = generator.make(form, 64);
    const [host] = await bench.host.run([c]);
    const wrong: Partial<Outcome>[] = [
      { gpr: host!.gpr.map((value, i) => (i === 9 ? value ^ 1n : value)) },
      { rflags: host!.rflags ^ 1 },
      { rip: host!.rip + 1n },
      { trap: host!.trap ^ 1 },
      { fx: Uint8Array.from(host!.fx, (byte, i) => (i === 175 ? byte ^ 1 : byte)) },
    ];
    expect(differences(c, host!, host!)).toEqual([]);
    for (const change of wrong) expect(differences(c, host!, { ...host!, ...change })).not.toEqual([]);
  });

  test.each(PLAN)(
    'agree on random instructions in $mode-bit code',
    async ({ mode, share, maximumMs }) => {
      const limit = FULL ? {} : { maximumMs };
      const result = await runCampaign(bench, {
        seed: SEED,
        cases: Math.ceil(CASES * share),
        mode,
        ...limit,
      });
      report(mode, result);
      const kept: string[] = [];
      for (const mismatch of result.mismatches.slice(0, SHRUNK)) kept.push(await keep(bench, mismatch));
      expect(kept).toEqual([]);
      const missed = comparedForms(mode).filter((form) => result.perForm.get(form.name) === 0);
      expect(missed.map((form) => form.name)).toEqual([]);
    },
    FULL_TIMEOUT_MS,
  );
});

test('every announced form is compared or says why not', () => {
  const silent = [...instructionForms().values()].filter((form) =>
    form.modes.every((mode) => exclusion(form, mode) === ''),
  );
  expect(silent).toEqual([]);
  // The reasons name what a user program cannot show; a meaning that is merely missing is not among them.
  const missing = [...instructionForms().values()].filter((form) =>
    form.modes.some((mode) => exclusion(form, mode)?.startsWith('no meaning') === true),
  );
  expect(missing.map((form) => form.name)).toEqual([]);
});
