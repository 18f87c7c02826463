// The count of instructions that retired is the same on both tiers, whatever an instruction does: faults in the middle of a block,
// repeats that leave, helpers, code that leaves the block. Random cases, without the host.
import { expect, test } from 'vitest';
import { createPrng } from '#shared/base/prng.js';
import * as S from '#shared/x86/cpu-state.js';
import { DATA_BYTES } from './case-record.js';
import { comparedForms } from './coverage.js';
import { EngineOracle } from './engine-oracle.js';
import { CaseGenerator } from './generator.js';
import { SequenceGenerator } from './sequence.js';
import { makeBackground } from './values.js';

const FULL = process.env['TROUPE_TEST_FULL'] === '1';
const SEED = Number(process.env['TROUPE_DIFFERENTIAL_SEED'] ?? (FULL ? Date.now() % 2 ** 31 : 1));
const CASES = FULL ? 100_000 : 6000;
const SEQUENCE_PERIOD = 4;

function retired({ machine }: EngineOracle): bigint {
  return machine.getState64(S.COUNT_INTERPRETED) + machine.getState64(S.COUNT_COMPILED);
}

test(`both tiers count alike: ${CASES} cases from seed ${SEED}`, () => {
  const background = makeBackground(createPrng(1), DATA_BYTES);
  const interpreter = new EngineOracle(64, background, 0, true);
  const compiled = new EngineOracle(64, background, 1, true);
  const generator = new CaseGenerator(createPrng(SEED));
  const sequences = new SequenceGenerator(generator, 64);
  const forms = comparedForms(64);
  let traps = 0;
  for (let turn = 0; turn < CASES; turn++) {
    const c =
      turn % SEQUENCE_PERIOD === 0 ? sequences.make() : generator.make(forms[turn % forms.length]!, 64);
    if (c === undefined) continue;
    const before = [retired(interpreter), retired(compiled)] as const;
    const outcomes = [interpreter.run(c), compiled.run(c)] as const;
    const counts = [retired(interpreter) - before[0], retired(compiled) - before[1]];
    const code = Buffer.from(c.code).toString('hex');
    expect(counts[1], `${c.form}, case ${turn}, code ${code}, trap ${outcomes[0].trap}`).toBe(counts[0]);
    expect(outcomes[1].trap).toBe(outcomes[0].trap);
    if (outcomes[0].trap >= 0) traps++;
    interpreter.restore();
    compiled.restore();
  }
  expect(compiled.machine.getState64(S.COUNT_COMPILED)).toBeGreaterThan(BigInt(CASES / 2));
  expect(traps).toBeGreaterThan(CASES / 100);
});
