// Tells a hang from sleep and from work: an actor hangs when its heartbeat stands still although it runs, or although its
// doorbell rang. Time is counted by the watch's own turns, so that a host that was suspended, or a kernel thread that was
// held up, does not condemn the actors. Pure: spawn.ts reads the words and carries out the verdict.
import { PHASE_HALTED, PHASE_IDLE, PHASE_PAUSED } from '#shared/ipc/heartbeat.js';

export interface HeartbeatSample {
  readonly count: number;
  readonly phase: number;
  /** The doorbell's bits: an idle actor with rung bell is late. */
  readonly bell: number;
}

/** `suspect`: ring its doorbell, it may only sleep. */
export type HeartbeatVerdict = 'alive' | 'suspect' | 'hang';

export interface HeartbeatRecord {
  readonly count: number;
  readonly silentMs: number;
}

/** `record` undefined: first sample of this generation. `turnMs`: time since the last turn of the watch. */
export function judgeHeartbeat(
  record: HeartbeatRecord | undefined,
  sample: HeartbeatSample,
  turnMs: number,
  limits: { readonly periodMs: number; readonly hangMs: number },
): { readonly record: HeartbeatRecord; readonly verdict: HeartbeatVerdict } {
  const silentByRight =
    sample.phase === PHASE_PAUSED ||
    sample.phase === PHASE_HALTED ||
    (sample.phase === PHASE_IDLE && sample.bell === 0);
  if (record === undefined || record.count !== sample.count || silentByRight) {
    return { record: { count: sample.count, silentMs: 0 }, verdict: 'alive' };
  }
  const silentMs = record.silentMs + Math.min(turnMs, 2 * limits.periodMs);
  const verdict = silentMs >= limits.hangMs ? 'hang' : silentMs >= limits.hangMs / 2 ? 'suspect' : 'alive';
  return { record: { count: sample.count, silentMs }, verdict };
}
