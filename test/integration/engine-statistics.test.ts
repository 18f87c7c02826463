// What `--stats engine` and the API tell: the same program retires the same instructions on every tier, and the share of each tier
// is what the tiers promise.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ENGINE_TIERS, type EngineTier } from '#actors/vcpu/protocol.js';
import type { EngineStatistics } from '#kernel/engine-statistics.js';
import { INSTRUCTIONS_PER_ITERATION, buildIntegerLoop } from '../../bench/guest/integer-loop.js';
import { startPayload } from '../support/machine-move.js';
import { runTroupe } from '../support/troupe-run.js';

/** Some seconds in the interpreter: a compiler on a busy host has its first region made long before. */
const ITERATIONS = 20_000_000;
/** Before the loop and behind it, HLT included. */
const AROUND = 37;
const TOTAL = ITERATIONS * INSTRUCTIONS_PER_ITERATION + AROUND;

let directory: string;
let kernel: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-statistics-'));
  kernel = join(directory, 'loop.bin');
  writeFileSync(kernel, buildIntegerLoop(ITERATIONS));
});
afterAll(() => rmSync(directory, { recursive: true }));

async function countOn(tier: EngineTier): Promise<EngineStatistics> {
  const payload = await startPayload({ kernel, accel: 'wasm', vcpus: 1, tier, engineStatistics: true });
  try {
    expect(await payload.wait()).toEqual({ kind: 'debug-exit', code: 1 });
    return payload.machine.engineStatistics()!;
  } finally {
    await payload.close();
  }
}

test.for(ENGINE_TIERS)('tier %s counts every instruction once', async (tier) => {
  const { vcpus, compiler } = await countOn(tier);
  const { instructionsInterpreted, instructionsCompiled, ...counts } = vcpus[0]!;
  expect(instructionsInterpreted + instructionsCompiled).toBe(TOTAL);
  expect(counts.exitsHalt).toBe(1);
  expect(counts.tlbFills).toBeGreaterThan(0);
  if (tier === 'interp') {
    expect(instructionsCompiled).toBe(0);
    expect(compiler).toBeUndefined();
    return;
  }
  // The loop is entered by one region, whenever the compiler has it.
  expect(instructionsCompiled).toBeGreaterThan(0);
  expect(counts.regionsInstalled).toBeGreaterThan(0);
  expect(compiler!.compiled + compiler!.reused).toBeGreaterThanOrEqual(counts.regionsInstalled);
});

test('a machine that was not asked counts nothing', async () => {
  const payload = await startPayload({ kernel, accel: 'wasm', vcpus: 1 });
  await payload.wait();
  expect(payload.machine.engineStatistics()).toBeUndefined();
  await payload.close();
});

test('the command prints a table at the end, with a total of several vCPUs', async () => {
  const args = ['run', '--accel', 'wasm', '--kernel', kernel, '--memory', '32M', '--no-reboot'];
  const one = await runTroupe([...args, '--smp', '1', '--stats', 'engine']);
  expect(one.stderr).toMatch(new RegExp(`^guest instructions +${TOTAL}$`, 'm'));
  expect(one.stderr).toMatch(/^compiler: \d+ regions compiled in \d+ ms; /m);
  const two = await runTroupe([...args, '--smp', '2', '--stats', 'engine']);
  expect(two.stderr).toMatch(/^engine statistics +vcpu-0 +vcpu-1 +total$/m);
  expect(two.stderr).toMatch(new RegExp(`^guest instructions +${TOTAL} +0 +${TOTAL}$`, 'm'));
  const none = await runTroupe([...args, '--smp', '1']);
  expect(none.stderr).toBe('');
});
