// What the host's scheduler says of one thread of this process: how long it has run, and whether it runs, waits for a
// processor, or sleeps. Linux alone tells (proc(5)); elsewhere there is no answer, and the watch goes by silence.
import { readFileSync } from 'node:fs';

/** `waiting`: asleep until another thread wakes it (futex). `busy-host`: in a system call that takes its time. */
export type ThreadState = 'runnable' | 'waiting' | 'busy-host';

export interface ThreadTime {
  /** Processor time so far, user and system; the host counts in steps of 10 ms. */
  readonly cpuMs: number;
  readonly state: ThreadState;
}

/** USER_HZ is 100 on every architecture that Node runs on. */
const TICK_MS = 10;
// Fields of /proc/PID/stat behind the command's closing parenthesis.
const STATE = 0;
const UTIME = 11;
const STIME = 12;
/** futex(2) on x86-64 and on arm64. */
const FUTEX = process.arch === 'arm64' ? '98' : '202';

/** `tid`: the thread's id in the host's kernel. */
export function readThreadTime(tid: number): ThreadTime | undefined {
  try {
    const stat = readFileSync(`/proc/self/task/${tid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const cpuMs = (Number(fields[UTIME]) + Number(fields[STIME])) * TICK_MS;
    if (fields[STATE] === 'R') return { cpuMs, state: 'runnable' };
    const call = readFileSync(`/proc/self/task/${tid}/syscall`, 'latin1');
    if (call.startsWith('running')) return { cpuMs, state: 'runnable' };
    return { cpuMs, state: call.startsWith(`${FUTEX} `) ? 'waiting' : 'busy-host' };
  } catch {
    return undefined;
  }
}
