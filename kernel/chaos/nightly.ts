// `npm run chaos:nightly`: chaos runs over the kill matrix, until each cell was struck often enough and there were faults enough, or
// time is up. A run takes some cells of every kind of actor, drawn by its seed, which take turns in striking.
import { parseArgs } from 'node:util';
import { createPrng } from '#shared/base/prng.js';
import { abortOnSignals } from '../cli/abort-on-signals.js';
import type { ChaosPlan } from './chaos-plan.js';
import { writeReport } from './chaos-report.js';
import { runUnlessAborted, type ChaosRun } from './chaos-run.js';
import { summarize } from './chaos-summary.js';
import { cellName, killMatrix, type MatrixCell } from './kill-matrix.js';
import { StrikeTally, planStrikes } from './strike-tally.js';
import { makeWorkload } from './workload.js';

export interface NightlyOptions {
  readonly seed: number;
  readonly withinMs: number;
  /** Strikes that a cell wants. */
  readonly strikes: number;
  /** Faults in all that are wanted; cells that have enough are struck on until then. */
  readonly faults: number;
  /** Of actors; all when absent. */
  readonly kinds?: readonly string[] | undefined;
  /** Of the workload in each run. */
  readonly seconds: number;
  readonly reportFolder: string;
  readonly say: (line: string) => void;
  /** Ends the run that is under way, which then does not count. */
  readonly signal?: AbortSignal | undefined;
}

export interface NightlyResult {
  readonly runs: readonly ChaosRun[];
  readonly faults: number;
  /** By cell; what the workload never reached is not there. */
  readonly strikes: ReadonlyMap<string, number>;
  readonly wanting: readonly string[];
}

/** Short, since each hang takes two; a module's loading and a collection of garbage must fit into a fifth of it. */
const HEARTBEAT_MS = 300;
/** Several kinds of actors die at once. */
const SPARES = 3;

export async function runNightly(options: NightlyOptions): Promise<NightlyResult> {
  const workload = await makeWorkload();
  const cells = killMatrix().filter(({ kind }) => options.kinds?.includes(kind) ?? true);
  const tally = new StrikeTally(cells);
  const runs: ChaosRun[] = [];
  const startedMs = performance.now();
  const prng = createPrng(options.seed);
  let faults = 0;
  for (let i = 0; performance.now() - startedMs < options.withinMs; i++) {
    const open = tally.open(options.strikes).length;
    if (open === 0 && faults >= options.faults) break;
    const drawn = tally.draw(options.strikes, prng.below);
    const run = await runUnlessAborted(
      planOf(drawn, options),
      (options.seed + i) >>> 0,
      workload,
      options.signal,
    );
    if (run === undefined) break;
    runs.push(run);
    tally.add(drawn, run.events);
    const summary = summarize(runs);
    faults = summary.faults;
    const minutes = ((performance.now() - startedMs) / 60_000).toFixed(1);
    options.say(
      `run ${i + 1}, ${minutes} min: ${run.passed ? 'passed' : `FAILED: ${run.failures.join('; ')}`}; ` +
        `${faults} faults, ${summary.restarts} recoveries so far, ${open} cells open`,
    );
    if (!run.passed) options.say(`  seed ${run.seed}, cells ${drawn.map(cellName).join(', ')}`);
    writeReport(options.reportFolder, {
      planPath: 'kill-matrix',
      faults: cells.map((cell) => `${cellName(cell)}: ${tally.strikes(cell)}`),
      workload: workload.kind,
      summary,
      runs: runs.filter((r) => !r.passed).slice(-50),
    });
  }
  const strikes = new Map(cells.map((cell) => [cellName(cell), tally.strikes(cell)]));
  return { runs, faults, strikes, wanting: tally.wanting(options.strikes).map(cellName) };
}

function planOf(cells: readonly MatrixCell[], { seconds, seed }: NightlyOptions): ChaosPlan {
  return {
    faults: { seed, rules: planStrikes(cells, seconds) },
    ...{
      seconds,
      smp: 2,
      memory: '256M',
      diskMib: 4,
      tier: undefined,
      intensity: 100_000,
      heartbeatMs: HEARTBEAT_MS,
      spares: SPARES,
    },
  };
}

/** The command: hours, strikes and the like from its flags. Gives the exit code. */
export async function nightlyMain(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      hours: { type: 'string', default: '5.8' },
      strikes: { type: 'string', default: '100' },
      faults: { type: 'string', default: '100000' },
      kinds: { type: 'string' },
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: `${Date.now() % 2 ** 31}` },
      report: { type: 'string', default: '.tmp/chaos-nightly' },
    },
  });
  const { signal, exitCode } = abortOnSignals();
  process.stdout.on('error', () => {}); // … | head
  const result = await runNightly({
    seed: Number(values.seed),
    withinMs: Number(values.hours) * 3_600_000,
    strikes: Number(values.strikes),
    faults: Number(values.faults),
    kinds: values.kinds?.split(','),
    seconds: Number(values.seconds),
    reportFolder: values.report,
    say: (line) => process.stdout.write(`${line}\n`),
    signal,
  });
  const failed = result.runs.filter((run) => !run.passed).length;
  process.stdout.write(
    `${result.faults} faults in ${result.runs.length} runs, ${failed} failed; ` +
      `${result.wanting.length} cells were struck less than ${values.strikes} times:\n` +
      result.wanting.map((name) => `  ${name}: ${result.strikes.get(name) ?? 0}\n`).join(''),
  );
  return exitCode() ?? (failed === 0 ? 0 : 1);
}
