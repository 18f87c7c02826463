// Tells a hang from sleep, from work and from starvation. An actor is silent when its heartbeat stands still although it runs, or
// although its doorbell rang. The first silent turn of the watch rings the doorbell; what comes of that decides:
//   - it has had processor time since and still does not beat: it runs in a circle, whatever the load of the machine;
//   - it sleeps on a word that nobody changes: it hangs too, but such a sleep is given longer;
//   - it waits for a processor: it starves, and is left alone;
//   - it is inside the host (a slow disk), or the host tells nothing of threads: only a long silence condemns it.
// Time is counted by the watch's own turns, each at most half as much again as it should be, so that a suspended host or a
// blocked kernel thread does not condemn the actors. Pure: spawn.ts reads the words and carries out the verdict.
import {
  PHASE_CREATING,
  PHASE_HALTED,
  PHASE_IDLE,
  PHASE_PAUSED,
  PHASE_STARTING,
} from '#shared/ipc/heartbeat.js';
import type { ThreadTime } from './thread-time.js';

export interface HeartbeatSample {
  readonly count: number;
  readonly phase: number;
  /** The doorbell's bits: an idle actor with rung bell is late. */
  readonly bell: number;
  /** Looked at in silence alone: it costs a system call. */
  thread(): ThreadTime | undefined;
}

/** `suspect`: ring its doorbell, it may only sleep. */
export type HeartbeatVerdict = 'alive' | 'suspect' | 'hang';

export interface HeartbeatRecord {
  readonly count: number;
  readonly silentMs: number;
  /** At the first silent turn. */
  readonly cpuMs: number;
  /** Of the silence: spent asleep on a word. */
  readonly waitingMs: number;
}

export interface HeartbeatJudgement {
  readonly record: HeartbeatRecord;
  readonly verdict: HeartbeatVerdict;
  /** What a hang was told by. */
  readonly sign?: string | undefined;
}

export interface HeartbeatLimits {
  /** A circle is found within two of these; the watch turns twice in each. */
  readonly heartbeatMs: number;
  /** Silence that ends an actor of which nothing is known. */
  readonly hangMs: number;
  /** The same for one that starts. */
  readonly startMs: number;
}

/**
 * Of a heartbeat period: processor time without a beat after the doorbell rang. Less than there is between two turns of the watch, so that a
 * circle with a processor of its own is found in time; a garbage collection takes less, or V8's compilation of one region.
 */
const CIRCLE_SHARE = 0.4;
/** The host counts processor time in steps of 10 ms. */
const LEAST_CIRCLE_MS = 20;
/** In processor time: a worker needs a tenth of it to load its modules, and of the next as much to make its actor. */
const START_CIRCLE_MS = 2000;
const CREATE_CIRCLE_MS = 500;
/** In heartbeat periods. */
const WAITING_PERIODS = 4;

/** Watch turns in a heartbeat period. */
export const TURNS_PER_PERIOD = 2;

/** `record` undefined: first sample of this generation. `turnMs`: time since the last turn of the watch. */
export function judgeHeartbeat(
  record: HeartbeatRecord | undefined,
  sample: HeartbeatSample,
  turnMs: number,
  limits: HeartbeatLimits,
): HeartbeatJudgement {
  const { count, phase } = sample;
  const silentByRight =
    phase === PHASE_PAUSED || phase === PHASE_HALTED || (phase === PHASE_IDLE && sample.bell === 0);
  if (record === undefined || record.count !== count || silentByRight) {
    return { record: { count, silentMs: 0, cpuMs: 0, waitingMs: 0 }, verdict: 'alive' };
  }
  const countedMs = Math.min(turnMs, (1.5 * limits.heartbeatMs) / TURNS_PER_PERIOD);
  const silentMs = record.silentMs + countedMs;
  const thread = sample.thread();
  if (record.silentMs === 0) {
    return { record: { count, silentMs, cpuMs: thread?.cpuMs ?? 0, waitingMs: 0 }, verdict: 'suspect' };
  }
  const waitingMs = thread?.state === 'waiting' ? record.waitingMs + countedMs : 0;
  const next = { ...record, silentMs, waitingMs };
  const sign = signOfHang(next, thread, sample, limits);
  return { record: next, verdict: sign === undefined ? 'suspect' : 'hang', sign };
}

function signOfHang(
  record: HeartbeatRecord,
  thread: ThreadTime | undefined,
  { phase }: HeartbeatSample,
  limits: HeartbeatLimits,
): string | undefined {
  const starts = phase === PHASE_STARTING || phase === PHASE_CREATING;
  const silenceLimitMs = starts ? limits.startMs : limits.hangMs;
  const silence =
    record.silentMs >= silenceLimitMs ? `no heartbeat for ${Math.round(record.silentMs)} ms` : undefined;
  if (thread === undefined) return silence;
  const circleMs = Math.max(LEAST_CIRCLE_MS, limits.heartbeatMs * CIRCLE_SHARE);
  const limitMs =
    phase === PHASE_STARTING ? START_CIRCLE_MS : phase === PHASE_CREATING ? CREATE_CIRCLE_MS : 0;
  const ranMs = thread.cpuMs - record.cpuMs;
  if (ranMs >= Math.max(circleMs, limitMs)) return `${ranMs} ms of processor time without a heartbeat`;
  if (thread.state === 'runnable') return undefined;
  if (!starts && record.waitingMs >= WAITING_PERIODS * limits.heartbeatMs)
    return `asleep for ${Math.round(record.waitingMs)} ms on a word that nobody changed`;
  return silence;
}
