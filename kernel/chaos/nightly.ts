// `npm run chaos:nightly`: chaos runs over the kill matrix, until each cell was struck often enough, as often as there is time for, or
// no run strikes a wanting cell any more. A run takes a handful of cells, drawn by its seed.
import { parseArgs } from 'node:util';
import { createPrng } from '#shared/base/prng.js';
import { parseFault } from '#shared/ipc/fault-text.js';
import type { ChaosPlan } from './chaos-plan.js';
import { writeReport } from './chaos-report.js';
import { runChaos, type ChaosRun } from './chaos-run.js';
import { summarize } from './chaos-summary.js';
import { cellName, cellRule, killMatrix, type MatrixCell } from './kill-matrix.js';
import { makeWorkload } from './workload.js';

export interface NightlyOptions {
  readonly seed: number;
  readonly withinMs: number;
  /** Strikes that a cell wants. */
  readonly strikes: number;
  /** Of the workload in each run. */
  readonly seconds: number;
  readonly reportFolder: string;
  readonly say: (line: string) => void;
}

export interface NightlyResult {
  readonly runs: readonly ChaosRun[];
  readonly faults: number;
  /** By cell; what the workload never reached is not there. */
  readonly strikes: ReadonlyMap<string, number>;
  readonly wanting: readonly string[];
}

const CELLS_A_RUN = 8;
/** Runs that a cell takes part in without being struck before it counts as out of reach. */
const VAIN_RUNS = 2;
/** How often a cell strikes: an action that takes longer to mend, less often. */
const EVERY: Readonly<Record<string, number>> = {
  hang: 400,
  oom: 400,
  drop: 20,
  duplicate: 20,
  corrupt: 20,
  delay: 20,
};

export async function runNightly(options: NightlyOptions): Promise<NightlyResult> {
  const workload = await makeWorkload();
  const cells = killMatrix();
  const strikes = new Map<string, number>();
  const vain = new Map<string, number>();
  const runs: ChaosRun[] = [];
  const startedMs = performance.now();
  const prng = createPrng(options.seed);
  for (let i = 0; performance.now() - startedMs < options.withinMs; i++) {
    const open = cells.filter(
      (cell) =>
        (strikes.get(cellName(cell)) ?? 0) < options.strikes && (vain.get(cellName(cell)) ?? 0) < VAIN_RUNS,
    );
    if (open.length === 0) break;
    const drawn = draw(open, prng.below);
    const plan = planOf(drawn, options);
    const run = await runChaos(plan, (options.seed + i) >>> 0, workload);
    runs.push(run);
    for (const cell of drawn) {
      const name = cellName(cell);
      const struck = strikesOf(run, cell);
      if (struck === 0) vain.set(name, (vain.get(name) ?? 0) + 1);
      else strikes.set(name, (strikes.get(name) ?? 0) + struck);
    }
    const { faults } = summarize(runs);
    options.say(
      `run ${i + 1}: ${run.passed ? 'passed' : `FAILED: ${run.failures.join('; ')}`}; ${faults} faults so far, ${open.length} cells open`,
    );
    const rules = drawn.map(cellName);
    if (!run.passed) options.say(`  seed ${run.seed}, cells ${rules.join(', ')}`);
    writeReport(options.reportFolder, {
      planPath: 'kill-matrix',
      faults: cells.map((cell) => `${cellName(cell)}: ${strikes.get(cellName(cell)) ?? 0}`),
      workload: workload.kind,
      summary: summarize(runs),
      runs: runs.filter((r) => !r.passed).slice(-50),
    });
  }
  const wanting = cells.map(cellName).filter((name) => (strikes.get(name) ?? 0) < options.strikes);
  return { runs, faults: summarize(runs).faults, strikes, wanting };
}

function draw(cells: readonly MatrixCell[], below: (bound: number) => number): MatrixCell[] {
  const rest = [...cells];
  return Array.from(
    { length: Math.min(CELLS_A_RUN, rest.length) },
    () => rest.splice(below(rest.length), 1)[0]!,
  );
}

function planOf(cells: readonly MatrixCell[], { strikes, seconds, seed }: NightlyOptions): ChaosPlan {
  const rules = cells.map((cell) => cellRule(cell, strikes, EVERY[cell.action] ?? 100));
  return {
    faults: { seed, rules },
    ...{ seconds, smp: 2, memory: '256M', diskMib: 4, tier: undefined, intensity: 100_000, heartbeatMs: 100 },
  };
}

function strikesOf(run: ChaosRun, cell: MatrixCell): number {
  return run.events.reduce((sum, event) => {
    if (event.type !== 'fault' || event.kind !== cell.kind || event.action !== cell.action) return sum;
    return parseFault(event.rule).point === cell.point ? sum + event.count : sum;
  }, 0);
}

/** The command: hours, strikes and the like from its flags. Gives the exit code. */
export async function nightlyMain(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      hours: { type: 'string', default: '5.8' },
      strikes: { type: 'string', default: '100' },
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: `${Date.now() % 2 ** 31}` },
      report: { type: 'string', default: '.tmp/chaos-nightly' },
    },
  });
  const result = await runNightly({
    seed: Number(values.seed),
    withinMs: Number(values.hours) * 3_600_000,
    strikes: Number(values.strikes),
    seconds: Number(values.seconds),
    reportFolder: values.report,
    say: (line) => process.stdout.write(`${line}\n`),
  });
  const failed = result.runs.filter((run) => !run.passed).length;
  process.stdout.write(
    `${result.faults} faults in ${result.runs.length} runs, ${failed} failed; ` +
      `${result.wanting.length} cells were struck less than ${values.strikes} times:\n` +
      result.wanting.map((name) => `  ${name}: ${result.strikes.get(name) ?? 0}\n`).join(''),
  );
  return failed === 0 ? 0 : 1;
}
