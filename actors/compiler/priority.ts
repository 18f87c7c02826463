// The compiler's thread lets the vCPUs go first: woken by a vCPU's request, it would otherwise take that vCPU's own processor.

import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';

/** Nice value: a third of a vCPU's share where both want a processor. */
const NICE = 5;

/** Does nothing where threads have no priorities of their own (/proc is Linux's). */
export function yieldToVcpus(): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), NICE);
  } catch {
    // Without it all goes on, more slowly.
  }
}
