// Starts a thread that nobody waits for, so that it takes no processor from those that serve the guest: a low priority until it is
// needed. Linux gives each thread a nice value; to lower it again takes a right (CAP_SYS_NICE, or RLIMIT_NICE), and where the host
// grants none the thread starts like any other.
import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** Steps of nice below the others: about a tenth of an actor's share where both want a processor. */
const STEPS = 10;
const LOWEST = 19;

/** Undefined before the first trial. */
let canRaise: boolean | undefined;

function threadIds(): Set<number> {
  return new Set(readdirSync('/proc/self/task').map(Number));
}

/** Tried with one step on the first thread, which keeps that step where the answer is no. */
function tryToRaise(tid: number, usual: number): boolean {
  try {
    setPriority(tid, usual + 1);
    setPriority(tid, usual);
    return true;
  } catch {
    return false;
  }
}

/** Calls `start`, which makes one thread; gives what it gave, and what brings the thread to the priority of others. */
export function startInBackground<T>(start: () => T): { readonly started: T; readonly raise: () => void } {
  let before: Set<number>;
  try {
    before = threadIds();
  } catch {
    return { started: start(), raise: () => {} }; // threads have no priorities there: /proc is Linux's
  }
  const started = start();
  const tid = [...threadIds()].find((id) => !before.has(id));
  if (tid === undefined) return { started, raise: () => {} };
  const usual = getPriority(process.pid); // the main thread's: that of all which were started from it
  if (usual === LOWEST) return { started, raise: () => {} };
  canRaise ??= tryToRaise(tid, usual);
  if (!canRaise) return { started, raise: () => {} };
  const setNice = (nice: number): void => {
    try {
      setPriority(tid, nice);
    } catch {
      // It is gone.
    }
  };
  setNice(Math.min(usual + STEPS, LOWEST));
  return { started, raise: () => setNice(usual) };
}
