// `npm run chaos:nightly`: chaos runs over the kill matrix, until each cell was struck often enough and there were faults enough, or
// time is up. A run takes some cells, drawn by its seed, which take turns in striking: deaths of one lane, and faults
// that end nobody of every kind of actor.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { TroupeError } from '#shared/base/error.js';
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
  /** What came of it before; the report is of this time's runs alone. */
  readonly before?: NightlyTally | undefined;
  readonly say: (line: string) => void;
  /** Ends the run that is under way, which then does not count. */
  readonly signal?: AbortSignal | undefined;
}

/** What a nightly run counts; the report's folder has it as tally.json. */
export interface NightlyTally {
  readonly runs: number;
  readonly failed: number;
  readonly faults: number;
  readonly recoveries: number;
  /** By cell. */
  readonly strikes: Readonly<Record<string, number>>;
}

export interface NightlyResult extends NightlyTally {
  /** Of this time's runs. */
  readonly failures: readonly string[];
  /** Cells that were struck less often than was wanted. */
  readonly wanting: readonly string[];
}

const NOTHING: NightlyTally = { runs: 0, failed: 0, faults: 0, recoveries: 0, strikes: {} };
const TALLY_FILE = 'tally.json';

/** Short, since each hang takes two of processor time; a collection of garbage must fit into two fifths of it. */
const HEARTBEAT_MS = 150;
/** Several kinds of actors die at once. */
const SPARES = 3;

export async function runNightly(options: NightlyOptions): Promise<NightlyResult> {
  const workload = await makeWorkload();
  const cells = killMatrix().filter(({ kind }) => options.kinds?.includes(kind) ?? true);
  const before = options.before ?? NOTHING;
  const tally = new StrikeTally(cells, before.strikes);
  const runs: ChaosRun[] = [];
  const startedMs = performance.now();
  const prng = createPrng((options.seed + before.runs) >>> 0);
  let counts = before;
  while (performance.now() - startedMs < options.withinMs) {
    const open = tally.open(options.strikes).length;
    if (open === 0 && counts.faults >= options.faults) break;
    const drawn = tally.draw(options.strikes, prng.below);
    const seed = (options.seed + counts.runs) >>> 0;
    const run = await runUnlessAborted(planOf(drawn, options), seed, workload, options.signal);
    if (run === undefined) break;
    runs.push(run);
    tally.add(drawn, run.events);
    const summary = summarize(runs);
    counts = {
      runs: before.runs + runs.length,
      failed: before.failed + runs.length - summary.passed,
      faults: before.faults + summary.faults,
      recoveries: before.recoveries + summary.restarts,
      strikes: { ...before.strikes, ...tally.all() },
    };
    const minutes = ((performance.now() - startedMs) / 60_000).toFixed(1);
    options.say(
      `run ${counts.runs}, ${minutes} min: ${run.passed ? 'passed' : `FAILED: ${run.failures.join('; ')}`}; ` +
        `${counts.faults} faults, ${counts.recoveries} recoveries so far, ${open} cells open`,
    );
    if (!run.passed) options.say(`  seed ${run.seed}, cells ${drawn.map(cellName).join(', ')}`);
    writeReport(options.reportFolder, {
      planPath: 'kill-matrix',
      faults: cells.map((cell) => `${cellName(cell)}: ${tally.strikes(cell)}`),
      workload: workload.kind,
      summary,
      runs: runs.filter((r) => !r.passed).slice(-50),
    });
    writeFileSync(join(options.reportFolder, TALLY_FILE), `${JSON.stringify(counts, null, 2)}\n`);
  }
  return {
    ...counts,
    failures: runs.flatMap((run) => run.failures),
    wanting: tally.wanting(options.strikes).map(cellName),
  };
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

/** The command. Gives the exit code: 0 when all runs passed, 1 when one failed, 2 when there is nothing to resume, 130 after Ctrl-C. */
export async function nightlyMain(argv: readonly string[]): Promise<number> {
  try {
    return await runCommand(argv);
  } catch (error) {
    if (!(error instanceof TroupeError)) throw error; // ours to mend: with its stack
    const hint = error.hint === undefined ? '' : `; ${error.hint}`;
    process.stderr.write(`troupe: ${error.message}${hint}\n`);
    return 2;
  }
}

async function runCommand(argv: readonly string[]): Promise<number> {
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
      resume: { type: 'boolean', default: false },
    },
  });
  // Who lives for half a second is not worth optimizing for: V8's own threads took a quarter of the processors.
  setFlagsFromString('--no-opt');
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
    before: values.resume ? readTally(values.report) : undefined,
    say: (line) => process.stdout.write(`${line}\n`),
    signal,
  });
  process.stdout.write(
    `${result.faults} faults in ${result.runs} runs, ${result.failed} failed; ` +
      `${result.wanting.length} cells were struck less than ${values.strikes} times:\n` +
      result.wanting.map((name) => `  ${name}: ${result.strikes[name] ?? 0}\n`).join(''),
  );
  return exitCode() ?? (result.failed === 0 ? 0 : 1);
}

/** Throws TroupeError `file-unreadable`. */
function readTally(folder: string): NightlyTally {
  const path = join(folder, TALLY_FILE);
  try {
    const tally = JSON.parse(readFileSync(path, 'utf8')) as NightlyTally;
    const numbers = [
      tally.runs,
      tally.failed,
      tally.faults,
      tally.recoveries,
      ...Object.values(tally.strikes),
    ];
    if (!numbers.every(Number.isInteger)) throw new TypeError('counts are missing');
    return tally;
  } catch (cause) {
    const hint = 'leave --resume out to begin anew';
    throw new TroupeError('file-unreadable', `${path} has no nightly run to go on with`, hint, { cause });
  }
}
