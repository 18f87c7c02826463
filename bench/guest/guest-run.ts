// One turn of one machine: boots it, follows what its guest says, and looks at its process while the guest is idle.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { endChild, startChild } from '../compare/children.js';
import type { Command } from '../compare/contestants.js';
import { ClockComparison, parseGuestLine, type GuestLine } from './guest-lines.js';

/** No line for this long means that the guest hangs. */
const SILENCE_MS = 180_000;
const IDLE_SETTLES_MS = 3_000;
const IDLE_MEASURED_MS = 10_000;
/** How long a guest must be idle to be measured so. */
export const IDLE_SECONDS = (IDLE_SETTLES_MS + IDLE_MEASURED_MS) / 1000 + 1;
/** Unit of utime and stime in /proc/PID/stat: USER_HZ, 100 on x86 and Arm. */
const TICKS_PER_SECOND = 100;
const TAIL_LINES = 5;

export interface RunResult {
  /** By row. */
  readonly values: Map<string, number>;
  /** One line each. */
  readonly failures: string[];
  /** Speed of the guest's clock by the host's. */
  clockRatio: number | undefined;
}

export interface RunPlan {
  readonly command: Command;
  /** Benchmarks that the guest was told to run. */
  readonly names: readonly string[];
  readonly vcpus: number;
  readonly onProgress: (text: string) => void;
}

/** Runs to the end of the process. What goes wrong is in the result. */
export async function runGuest(plan: RunPlan): Promise<RunResult> {
  const result: RunResult = { values: new Map(), failures: [], clockRatio: undefined };
  const clocks = new ClockComparison();
  const startedMs = performance.now();
  const child = startChild(plan.command);
  let silence: NodeJS.Timeout | undefined;
  const tail: string[] = [];
  const heard = (): void => {
    clearTimeout(silence);
    silence = setTimeout(() => {
      result.failures.push(`silent for ${SILENCE_MS / 1000} s, so it was ended`);
      endChild(child);
    }, SILENCE_MS);
  };
  const take = (line: string): void => {
    heard();
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
    const said = parseGuestLine(line);
    if (said !== undefined) follow(said);
  };
  const follow = (said: GuestLine): void => {
    switch (said.kind) {
      case 'up':
        report(result, plan, 'boot', (performance.now() - startedMs) / 1000, 's');
        break;
      case 'idle':
        if (child.pid !== undefined) watchIdle(child.pid, result, plan);
        break;
      case 'clock':
        clocks.add(said.ns / 1e6, performance.now());
        break;
      case 'value':
        report(result, plan, said.name, said.value, said.unit);
        break;
      case 'wrong':
        result.failures.push(`${said.name} went wrong: ${said.why}`);
        plan.onProgress(`${said.name} WRONG: ${said.why}`);
        break;
      case 'done':
        break;
    }
  };
  heard();
  createInterface({ input: child.stdout }).on('line', take);
  createInterface({ input: child.stderr }).on('line', take);
  await new Promise<void>((resolve) => {
    child.once('error', (error) => result.failures.push(`cannot run: ${error.message}`));
    child.once('close', () => resolve());
  });
  clearTimeout(silence);
  result.clockRatio = clocks.ratio();
  addMissing(result, plan, tail);
  return result;
}

function report(result: RunResult, plan: RunPlan, name: string, value: number, unit: string): void {
  result.values.set(name, value);
  plan.onProgress(`${name} ${value.toPrecision(4)} ${unit}`);
}

/** A benchmark that said nothing at all has failed too. */
function addMissing(result: RunResult, plan: RunPlan, tail: readonly string[]): void {
  const spoken = (name: string): boolean =>
    result.values.has(name) || result.failures.some((failure) => failure.startsWith(`${name} `));
  const missing = plan.names.filter((name) => !spoken(name));
  if (missing.length > 0)
    result.failures.push(`no result for ${missing.join(', ')}; last it said: ${tail.join(' / ')}`);
}

function watchIdle(pid: number, result: RunResult, plan: RunPlan): void {
  setTimeout(() => {
    const before = processUse(pid);
    const sinceMs = performance.now();
    setTimeout(() => {
      const after = processUse(pid);
      if (before === undefined || after === undefined) return;
      const seconds = (performance.now() - sinceMs) / 1000;
      const share = (after.cpuSeconds - before.cpuSeconds) / seconds / plan.vcpus;
      report(result, plan, 'idle', share * 100, '%');
      report(result, plan, 'rss', after.rssBytes / 1e6, 'MB');
    }, IDLE_MEASURED_MS);
  }, IDLE_SETTLES_MS);
}

/** proc(5): utime and stime are fields 14 and 15 of stat, the second in parentheses. Undefined where there is no /proc. */
function processUse(pid: number): { cpuSeconds: number; rssBytes: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return rss === null ? undefined : { cpuSeconds, rssBytes: Number(rss[1]) * 1024 };
  } catch {
    return undefined;
  }
}
