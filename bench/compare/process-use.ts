// What a process uses of the host, from Linux's /proc; undefined where there is none.
import { readFileSync } from 'node:fs';

export interface ProcessUse {
  /** Processor time of all its threads, and of the children that it has waited for. */
  readonly cpuSeconds: number;
  readonly rssBytes: number;
  /** When that was, on this process's monotonic clock. */
  readonly atMs: number;
}

/** Unit of times in /proc/PID/stat: USER_HZ, 100 on x86 and Arm. */
const TICKS_PER_SECOND = 100;

/** proc(5): utime, stime, cutime and cstime are fields 14 to 17 of stat, whose second is in parentheses. */
export function readProcessUse(pid: number): ProcessUse | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    if (rss === null) return undefined;
    const rssBytes = Number(rss[1]) * 1024;
    return { cpuSeconds: ticks / TICKS_PER_SECOND, rssBytes, atMs: performance.now() };
  } catch {
    return undefined;
  }
}

/** Cores that the process kept busy between two looks at it. */
export function coresUsed(before: ProcessUse, after: ProcessUse): number {
  return (after.cpuSeconds - before.cpuSeconds) / ((after.atMs - before.atMs) / 1000);
}
