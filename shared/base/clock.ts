// Host time for every part of a machine: nanoseconds of CLOCK_MONOTONIC as a JS number, the same on every thread.
// performance.now() costs a fraction of process.hrtime.bigint() and allocates nothing, but counts from its thread's own
// origin: the offset to the process-wide clock is found once a thread. Exact to 1 ns for 104 days of uptime.

/** Where code gets its time from; tests hand in their own. */
export interface Clock {
  /** Nanoseconds, never going back. */
  nowNs(): number;
}

function measureOffsetNs(): number {
  // The smallest of a few readings: a preemption between the two clocks can only make the difference larger.
  let best = Infinity;
  for (let i = 0; i < 16; i++) {
    const before = performance.now();
    const offset = Number(process.hrtime.bigint()) - before * 1e6;
    if (offset < best) best = offset;
  }
  return best;
}

const offsetNs = measureOffsetNs();

/** Nanoseconds of CLOCK_MONOTONIC; comparable across the threads of a process. */
export function monotonicNs(): number {
  return performance.now() * 1e6 + offsetNs;
}

/** UTC, nanoseconds since 1970, to about a microsecond; follows the host's clock when that is set. */
export function wallNs(): number {
  const steadyMs = performance.timeOrigin + performance.now();
  const hostMs = Date.now();
  return (Math.abs(steadyMs - hostMs) > 2 ? hostMs : steadyMs) * 1e6;
}

export const hostClock: Clock = { nowNs: monotonicNs };

/** A clock that a test moves by hand. */
export class ManualClock implements Clock {
  #nowNs: number;

  constructor(startNs = 0) {
    this.#nowNs = startNs;
  }

  nowNs(): number {
    return this.#nowNs;
  }

  advanceMs(ms: number): void {
    this.#nowNs += ms * 1e6;
  }
}
