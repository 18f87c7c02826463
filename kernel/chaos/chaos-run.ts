// One chaos run: a guest, a workload that checks itself, faults from the moment it works, and what came of it. A run is judged by
// what the guest saw (violations, its exit code, its kernel's log), what the host saw of it (the counter's lines, the disk's
// image), and how the machine ended.
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatFault } from '#shared/ipc/fault-text.js';
import { checkVictims } from '../fault/fault-victims.js';
import { Session } from '../session.js';
import type { ActorEvent } from '../supervision/actor-event.js';
import type { MailboxCounts } from '#shared/ipc/mailbox-layout.js';
import type { ChaosPlan } from './chaos-plan.js';
import { SerialFile, StopWatch, inputLines, resizeAgainAndAgain } from './guest-traffic.js';
import { NumberedLines } from './numbered-lines.js';
import { WORKLOAD_PATH, sumDisk, type Workload } from './workload.js';

export interface ChaosRun {
  readonly seed: number;
  readonly passed: boolean;
  /** What was wrong, in words; empty when it passed. */
  readonly failures: readonly string[];
  /** From the start of the workload. */
  readonly durationMs: number;
  /** Their times count from the start of the workload. */
  readonly events: readonly ActorEvent[];
  /** The longest time without a line of the guest's counter. */
  readonly longestStallMs: number;
  /** What the workload counted: writes, reads, flushes, turns … */
  readonly counts: Readonly<Record<string, number>>;
  /** Messages that were damaged, lost or doubled and made good. */
  readonly messagesMended: number;
}

const BOOT_MS = 180_000;
/** Beyond the workload's time: it reads all of its disk again. */
const GRACE_MS = 60_000;
const LOOK_MS = 20_000;
/** What a guest's kernel says when hardware fails it. What it says of a slow host is not that. */
const TROUBLE =
  'error|fail|refuse|BUG|Oops|panic|timed? ?out|corrupt|reset|hung|unknown NMI|NMI received|spurious|nobody cared';
const NO_TROUBLE =
  /ACPI|PCI|pci |pci_|tsc|RAS|Spectre|command line|nomodule|hrtimer|failed to find|not found/i;
/** A line of a stack trace: the line that announces the trace is what counts. */
const TRACE_LINE = /\+0x[0-9a-f]+\/0x[0-9a-f]+/;
/** Its first trace says where a processor was. */
const LOCKUP = 'soft lockup';
const TRACE_LINES = 40;
/** What a kernel says that missed time. */
const MISSED_TIME = /soft lockup|rcu|NMI|blocked for more than|workqueue/i;
/** Not even an emergency is printed into the serial line's numbered lines; dmesg has it. */
const QUIET_CONSOLE = 'echo 0 4 0 7 >/proc/sys/kernel/printk';
/** Of the disk whose driver comes and goes. */
const SPARE_BYTES = 2 ** 20;

/** Runs once. Rejects only when there is no guest to run. `signal` ends the guest, and so the run. */
async function runChaos(
  plan: ChaosPlan,
  seed: number,
  workload: Workload,
  signal?: AbortSignal,
): Promise<ChaosRun> {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-chaos-'));
  const disk = join(folder, 'disk.img');
  writeFileSync(disk, '');
  truncateSync(disk, plan.diskMib * 2 ** 20);
  const spare = join(folder, 'spare.img');
  writeFileSync(spare, '');
  truncateSync(spare, SPARE_BYTES);
  const serial = new SerialFile(join(folder, 'serial'));
  const stops = new StopWatch();
  const events: ActorEvent[] = [];
  try {
    const session = await Session.open({
      vcpus: plan.smp,
      memory: plan.memory,
      disks: [{ path: disk }, { path: spare }],
      serial: serial.fd,
      append: 'iomem=relaxed', // the workload writes to device registers
      translationCache: 'none', // code of no use to any other guest
      tier: plan.tier,
      execPorts: true,
      faults: { seed, rules: [] },
      supervision: { intensity: plan.intensity, heartbeatMs: plan.heartbeatMs, spares: plan.spares },
      log: { level: 'silent' },
      onActorEvent: (event) => events.push(event),
    });
    const end = (): void => void session.stop();
    signal?.addEventListener('abort', end);
    if (signal?.aborted === true) end();
    try {
      // Before the guest has booted: a slip of the plan's author need not wait for that.
      for (const rule of plan.faults.rules) checkVictims(rule, session.actors());
      return await judgeRun(session, plan, seed, workload, { disk, events, serial, stops });
    } finally {
      signal?.removeEventListener('abort', end);
      await session.stop();
    }
  } finally {
    stops.close();
    rmSync(folder, { recursive: true });
  }
}

/** As {@link runChaos}; undefined when `signal` cut it short. */
export async function runUnlessAborted(
  plan: ChaosPlan,
  seed: number,
  workload: Workload,
  signal: AbortSignal | undefined,
): Promise<ChaosRun | undefined> {
  const isAborted = (): boolean => signal?.aborted ?? false;
  if (isAborted()) return undefined;
  try {
    const run = await runChaos(plan, seed, workload, signal);
    return isAborted() ? undefined : run;
  } catch (error) {
    if (isAborted()) return undefined;
    throw error;
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

interface RunEnds {
  readonly disk: string;
  readonly events: ActorEvent[];
  readonly serial: SerialFile;
  readonly stops: StopWatch;
}

async function judgeRun(
  session: Session,
  plan: ChaosPlan,
  seed: number,
  workload: Workload,
  { disk, events, serial, stops }: RunEnds,
): Promise<ChaosRun> {
  await session.exec(
    `cat >${WORKLOAD_PATH} && chmod +x ${WORKLOAD_PATH} && dmesg -c >/dev/null && ${QUIET_CONSOLE}`,
    {
      stdin: once(workload.program),
      readyMs: BOOT_MS,
    },
  );
  const lines = new NumberedLines('c');
  const stderr: Uint8Array[] = [];
  const failures: string[] = [];
  let lastMs = performance.now();
  let longestStallMs = 0;
  const startedMs = lastMs;
  const offsetMs = session.sinceStartMs();
  for (const rule of plan.faults.rules) session.inject(rule);
  let isOver = false;
  const endResizing = resizeAgainAndAgain(session);
  try {
    const code = await session.exec(`${WORKLOAD_PATH} /dev/vda ${plan.seconds} ${seed >>> 0} /dev/vdb`, {
      stdin: inputLines(() => isOver),
      timeoutMs: plan.seconds * 1000 + GRACE_MS,
      onStdout: (bytes) => {
        const nowMs = performance.now();
        longestStallMs = Math.max(longestStallMs, nowMs - lastMs);
        lastMs = nowMs;
        lines.push(bytes);
      },
      onStderr: (bytes) => void stderr.push(bytes),
    });
    if (code !== 0) failures.push(`the workload ended with ${code}`);
    isOver = true;
    endResizing();
    failures.push(...(await readKernelLog(session, stops)));
  } catch (error) {
    failures.push(error instanceof Error ? error.message : String(error));
    failures.push(...(await readStuckThreads(session)));
  } finally {
    isOver = true;
    endResizing();
  }
  const said = Buffer.concat(stderr).toString().split('\n');
  failures.push(...said.filter((line) => line !== ''));
  if (lines.fault !== undefined) failures.push(`console: ${lines.fault}`);
  const mended = [...session.mailboxes().values()].reduce((sum, box) => sum + countMended(box), 0);
  await session.stop(); // before the image is read
  failures.push(...[serial.close()].filter((fault) => fault !== undefined));
  const counts = readCounts(lines.others);
  failures.push(...checkDisk(lines.others, disk, workload, failures.length === 0));
  return {
    seed,
    passed: failures.length === 0,
    failures,
    durationMs: performance.now() - startedMs,
    events: events.map((event) => ({ ...event, atMs: event.atMs - offsetMs })).filter((e) => e.atMs > -1000),
    longestStallMs,
    counts: { ...counts, lines: lines.count },
    messagesMended: mended,
  };
}

const countMended = (box: MailboxCounts): number => box.repaired + box.duplicates + box.republished;

async function readKernelLog(session: Session, stops: StopWatch): Promise<string[]> {
  const lines = await readLines(session, `dmesg | grep -iE '${TROUBLE}'; true`);
  const isTrouble = (line: string): boolean =>
    !NO_TROUBLE.test(line) && !TRACE_LINE.test(line) && !(stops.wasStopped && MISSED_TIME.test(line));
  const trouble = lines.filter(isTrouble);
  const isStuck = trouble.some((line) => line.includes(LOCKUP));
  const trace = isStuck ? await readLines(session, `dmesg | grep -A ${TRACE_LINES} -m 1 '${LOCKUP}'`) : [];
  return [...trouble.map((line) => `kernel: ${line}`), ...trace.map((line) => `where: ${line}`)];
}

async function readLines(session: Session, command: string, timeoutMs = GRACE_MS): Promise<string[]> {
  const found: Uint8Array[] = [];
  await session.exec(command, { timeoutMs, onStdout: (bytes) => void found.push(bytes) });
  const lines = Buffer.concat(found).toString().split('\n');
  return lines.filter((line) => line !== '');
}

/** After a workload that did not end: threads that its kill did not end either wait for a device. */
async function readStuckThreads(session: Session): Promise<string[]> {
  const look =
    'sleep 2; for p in $(pidof troupe-workload); do for t in /proc/$p/task/*; do ' +
    'echo "stuck in $(tr "\\n" " " <$t/stack)"; done; done';
  try {
    return await readLines(session, look, LOOK_MS);
  } catch (error) {
    return [`no command runs any more: ${String(error)}`];
  }
}

/** `= NAME NUMBER` lines. */
function readCounts(lines: readonly string[]): Record<string, number> {
  const found = lines.map((line) => /^= (\w+) (\d+)$/.exec(line)).filter((match) => match !== null);
  return Object.fromEntries(found.map(([, name, value]) => [name!, Number(value)]));
}

function checkDisk(lines: readonly string[], disk: string, workload: Workload, whole: boolean): string[] {
  if (workload.kind !== 'verifier' || !whole) return [];
  const seen = lines
    .map((line) => /^= disk ([0-9a-f]{16})$/.exec(line)?.[1])
    .find((sum) => sum !== undefined);
  const sum = sumDisk(readFileSync(disk));
  return seen === sum ? [] : [`disk: the guest reads ${seen ?? 'nothing'}, the image holds ${sum}`];
}

/** How to see a run again. */
export function replayCommand(planPath: string, run: Pick<ChaosRun, 'seed'>): string {
  return `troupe chaos --plan ${planPath} --runs 1 --seed ${run.seed} --report replay`;
}

/** The rules of a plan, one a line. */
export function describeFaults(plan: ChaosPlan): string[] {
  return plan.faults.rules.map(formatFault);
}
