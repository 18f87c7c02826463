// The compiled tier against the host CPU: each block of 64-bit code becomes a region before it runs for the first time. What
// the tiers share (meanings, operands) is compared at length in differential.test.ts; here it is what a region does with it.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Bench, runCampaign } from './campaign.js';
import { hostObstacle } from './host-oracle.js';

const FULL = process.env['TROUPE_TEST_FULL'] === '1';
const SEED = Number(process.env['TROUPE_DIFFERENTIAL_SEED'] ?? (FULL ? Date.now() % 2 ** 31 : 1));
const CASES = Number(process.env['TROUPE_DIFFERENTIAL_CASES'] ?? (FULL ? 200_000 : 12_000));
const FULL_TIMEOUT_MS = 3_600_000;

const obstacle = hostObstacle();
if (obstacle !== undefined) process.stdout.write(`differential tests of regions skipped: ${obstacle}\n`);

describe.skipIf(obstacle !== undefined)('the compiled tier and the host CPU', () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench(1);
  });
  afterAll(() => bench.close());

  test(
    'agree on random instructions in 64-bit code',
    async () => {
      const limit = FULL ? {} : { maximumMs: 30_000 };
      const result = await runCampaign(bench, { seed: SEED, cases: CASES, mode: 64, ...limit });
      const { requested, installed } = bench.engine(64).machine.created.engine.regions;
      process.stdout.write(
        `regions: seed ${SEED}, ${result.cases} cases, ${installed} regions, ${result.mismatches.length} mismatches\n`,
      );
      expect(installed).toBeGreaterThan(result.cases / 2);
      expect(requested).toBeGreaterThanOrEqual(installed);
      expect(result.mismatches.slice(0, 5).map((m) => [m.case.form, ...m.differences].join('; '))).toEqual(
        [],
      );
    },
    FULL_TIMEOUT_MS,
  );
});
