// A time-out that does not count the time for which this process was stopped (Ctrl-Z, a debugger): the guest stood still too.

const STEP_MS = 500;

/** Calls `late` after so long; the result ends the wait. */
export function startPatientTimer(ms: number, late: () => void): () => void {
  let leftMs = ms;
  let timer: NodeJS.Timeout;
  const step = (): void => {
    const stepMs = Math.min(leftMs, STEP_MS);
    timer = setTimeout(() => {
      leftMs -= stepMs;
      if (leftMs > 0) step();
      else late();
    }, stepMs);
  };
  step();
  return () => clearTimeout(timer);
}
