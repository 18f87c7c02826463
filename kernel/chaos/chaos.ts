// `troupe chaos` as a library call: many runs of one plan, each with a seed of its own, and the report over them.
import { TroupeError } from '#shared/base/error.js';
import { describeFaults, runUnlessAborted, type ChaosRun } from './chaos-run.js';
import { readChaosPlan } from './chaos-plan.js';
import { writeReport, type ChaosReport } from './chaos-report.js';
import { summarize } from './chaos-summary.js';
import { makeWorkload } from './workload.js';

export interface ChaosOptions {
  readonly planPath: string;
  /** Default 1. */
  readonly runs?: number | undefined;
  /** Of the first run, the next have the numbers after it; default the plan's. */
  readonly seed?: number | undefined;
  /** Where the report goes; none is written when absent. */
  readonly reportFolder?: string | undefined;
  /** Starts no run that could end after so long. */
  readonly withinMs?: number | undefined;
  /** Ends the run that is under way, which then does not count, and starts no more. */
  readonly signal?: AbortSignal | undefined;
  readonly onRun?: ((run: ChaosRun, index: number) => void) | undefined;
}

/** Rejects with TroupeError when the plan is bad or there is no guest to run. */
export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const plan = readChaosPlan(options.planPath);
  if (plan.faults.rules.length === 0)
    throw new TroupeError(
      'bad-config',
      `plan ${options.planPath} names no fault`,
      "write faults: and - 'virtio-blk-0: crash'",
    );
  const workload = await makeWorkload();
  const firstSeed = options.seed ?? plan.faults.seed;
  const runs: ChaosRun[] = [];
  const startedMs = performance.now();
  let longestMs = 0;
  for (let i = 0; i < (options.runs ?? 1); i++) {
    const runStartedMs = performance.now();
    if (runStartedMs - startedMs + longestMs > (options.withinMs ?? Infinity)) break;
    const run = await runUnlessAborted(plan, (firstSeed + i) >>> 0, workload, options.signal);
    if (run === undefined) break;
    longestMs = Math.max(longestMs, performance.now() - runStartedMs);
    runs.push(run);
    options.onRun?.(run, i);
    // Written after each run: what was seen is kept when a later one is cut short.
    if (options.reportFolder !== undefined) writeReport(options.reportFolder, report());
  }
  return report();

  function report(): ChaosReport {
    const faults = describeFaults(plan);
    return { planPath: options.planPath, faults, workload: workload.kind, summary: summarize(runs), runs };
  }
}
