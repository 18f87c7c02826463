// The threads that Node keeps for itself: V8's, which optimize code and collect garbage for all actors, and libuv's.

import { readdirSync } from 'node:fs';
import { setPriority } from 'node:os';

/** Nice value: about a tenth of a vCPU's share where both want a processor. */
const NICE = 10;

/**
 * Lets the vCPUs go first: while a guest boots, optimizing takes as much processor time as they do. For a process that is the machine's
 * own, before it has threads of its own: all but the main one are taken. Does nothing where threads have no priorities (/proc is Linux's).
 */
export function yieldToActors(): void {
  try {
    for (const thread of readdirSync('/proc/self/task'))
      if (Number(thread) !== process.pid) setPriority(Number(thread), NICE);
  } catch {
    // Without it all goes on, more slowly.
  }
}
