// `troupe chaos`: runs guests under a fault plan while a workload in them checks itself, and reports.
import { parseArgs } from 'node:util';
import { abortOnSignals } from './abort-on-signals.js';
import { TroupeError, chaos as runPlan, type ChaosRun } from '../index.js';

export const CHAOS_HELP = `usage: troupe chaos --plan FILE [--runs N] [--report DIR] [--seed N]

Boots a guest for each run, applies the plan's faults while a workload in the guest checks itself (a disk with flushes, memory
shared by all vCPUs, the console, the clock), and writes DIR/index.html (with a timeline), report.json and junit.xml.
Exit code: 0 when all runs passed, 1 when one failed, 130 after Ctrl-C: the report then has the runs that ended before.

  --plan FILE    YAML: seed, faults (as --fault takes them), duration, smp, memory, diskMib, tier, intensity, heartbeat
  --runs N       runs, each with the next seed (default 1)
  --report DIR   where the report goes (default chaos-report)
  --seed N       of the first run; what replays a run that failed

example plan:
  seed: 42
  duration: 20s
  faults:
    - 'virtio-blk-0: crash at used.written every 200'
    - 'virtio-console: hang every 5s'
    - 'vcpu: crash every 2s'
    - '*: corrupt 0.1%'
`;

const OPTIONS = {
  plan: { type: 'string' },
  runs: { type: 'string', default: '1' },
  report: { type: 'string', default: 'chaos-report' },
  seed: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

export async function chaos(argv: readonly string[]): Promise<number> {
  const values = parse(argv);
  if (values.help === true) {
    process.stdout.write(CHAOS_HELP);
    return 0;
  }
  if (values.plan === undefined)
    throw new TroupeError('bad-flag', 'no plan is named', 'troupe chaos --plan plan.yaml');
  const { signal, exitCode } = abortOnSignals();
  // The report is worth more than what is said of it (troupe chaos … | head).
  process.stdout.on('error', () => {});
  const report = await runPlan({
    planPath: values.plan,
    runs: parseCount('--runs', values.runs),
    seed: values.seed === undefined ? undefined : parseCount('--seed', values.seed),
    reportFolder: values.report,
    signal,
    onRun: showRun,
  });
  const { summary } = report;
  if (summary.runs === 0) {
    process.stderr.write('troupe: no run came to its end: there is no report\n');
    return exitCode() ?? 1;
  }
  const { p50, p99, max } = summary.recoveryMs['all']!;
  process.stdout.write(
    `${summary.passed} of ${summary.runs} runs passed; ${summary.faults} faults, ${summary.restarts} recoveries ` +
      `(p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, longest ${max.toFixed(0)} ms); report in ${values.report}\n`,
  );
  return exitCode() ?? (summary.passed === summary.runs ? 0 : 1);
}

function showRun(run: ChaosRun, index: number): void {
  const faults = run.events.reduce((sum, event) => sum + (event.type === 'fault' ? event.count : 0), 0);
  const verdict = run.passed ? 'passed' : `failed: ${run.failures[0]}`;
  process.stdout.write(`run ${index + 1}, seed ${run.seed}: ${faults} faults, ${verdict}\n`);
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, strict: true, allowPositionals: false }).values;
  } catch (cause) {
    const text = cause instanceof Error ? cause.message.split(/\. |\n/)[0]! : String(cause);
    throw new TroupeError('bad-flag', text, 'see troupe chaos --help', { cause });
  }
}

function parseCount(flag: string, text: string): number {
  if (!/^\d+$/.test(text))
    throw new TroupeError('bad-flag', `${flag} ${text} is not a number`, `give it as ${flag} 2`);
  return Number(text);
}
