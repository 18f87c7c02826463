// Guest instructions a second in a loop of known length, without an operating system (integer-loop.ts).
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { alternate, median } from '../compare/alternation.js';
import { withTemporaryDirectory } from '../compare/children.js';
import type { Contestant } from '../compare/contestants.js';
import type { Row } from '../compare/table.js';
import { INSTRUCTIONS_PER_ITERATION, LOOP_ENDS, LOOP_STARTS, buildIntegerLoop } from './integer-loop.js';
import { RUN_TIMEOUT_MS, timeMarks } from './timed-run.js';

const PROBE_ITERATIONS = 2_000_000;
const LOOP_TARGET_SECONDS = 2;
const MEMORY_MIB = 64;

export async function benchInteger(contestants: readonly Contestant[], turns: number): Promise<Row[]> {
  return withTemporaryDirectory(async (directory) => {
    const image = join(directory, 'integer-loop.bin');
    const lengths = new Map<Contestant, number>();
    for (const contestant of contestants) {
      const perSecond = await loopRate(contestant, image, PROBE_ITERATIONS);
      lengths.set(contestant, Math.ceil(perSecond * LOOP_TARGET_SECONDS));
    }
    const runs = await alternate(contestants, turns, async (c) => [
      await loopRate(c, image, lengths.get(c)!),
    ]);
    const millions = (perSecond: number): number => (perSecond * INSTRUCTIONS_PER_ITERATION) / 1e6;
    const values = contestants.map((c) => median(runs.get(c)!.map(([perSecond]) => millions(perSecond!))));
    return [{ what: 'integer loop', unit: 'M instructions/s', values, moreIsBetter: true }];
  });
}

/** Iterations a second. */
async function loopRate(contestant: Contestant, image: string, iterations: number): Promise<number> {
  writeFileSync(image, buildIntegerLoop(iterations));
  const command = contestant.command({ kernel: image, append: '', vcpus: 1, memoryMib: MEMORY_MIB });
  const marks = [new RegExp(LOOP_STARTS), new RegExp(LOOP_ENDS)];
  const [start, end] = await timeMarks(command, marks, RUN_TIMEOUT_MS);
  return iterations / ((end! - start!) / 1000);
}
