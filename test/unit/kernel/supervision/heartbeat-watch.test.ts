import { describe, expect, it } from 'vitest';
import {
  PHASE_CREATING,
  PHASE_IDLE,
  PHASE_PAUSED,
  PHASE_RUNNING,
  PHASE_STARTING,
} from '#shared/ipc/heartbeat.js';
import {
  judgeHeartbeat,
  type HeartbeatJudgement,
  type HeartbeatSample,
} from '#kernel/supervision/heartbeat-watch.js';
import type { ThreadTime } from '#kernel/supervision/thread-time.js';

const limits = { heartbeatMs: 500, hangMs: 10_000, startMs: 30_000 };
const TURN_MS = 250;

type Look = Partial<Omit<HeartbeatSample, 'thread'>> & { thread?: ThreadTime | undefined };

/** The verdict of each turn. */
const watch = (looks: readonly Look[], turnMs = TURN_MS): string[] =>
  judge(looks, turnMs).map(({ verdict }) => verdict);

function judge(looks: readonly Look[], turnMs = TURN_MS): HeartbeatJudgement[] {
  let record: Parameters<typeof judgeHeartbeat>[0];
  return looks.map(({ thread, ...look }) => {
    const sample = {
      count: 1,
      phase: PHASE_RUNNING,
      bell: 0,
      ...look,
      thread: () => thread,
    };
    const judged = judgeHeartbeat(record, sample, turnMs, limits);
    record = judged.record;
    return judged;
  });
}

const turns = (count: number, look: (i: number) => Look): Look[] =>
  Array.from({ length: count }, (_, i) => look(i));
const runs = (cpuMs: number): ThreadTime => ({ cpuMs, state: 'runnable' });

describe('judgeHeartbeat', () => {
  it('finds a circle within two periods: at the turn after it rang the doorbell', () => {
    // The last beat comes right after the first look, so 3 turns of 250 ms have passed.
    const looks = [{ count: 0 }, ...turns(3, (i) => ({ count: 1, thread: runs(100 + 250 * i) }))];
    expect(watch(looks)).toEqual(['alive', 'alive', 'suspect', 'hang']);
  });

  it('leaves an actor alone that gets no processor, however long', () => {
    const looks = turns(1000, (i) => ({ thread: runs(Math.min(90, 10 * Math.floor(i / 100))) }));
    expect(watch(looks)).not.toContain('hang');
  });

  it('finds a circle that gets a twentieth of a processor', () => {
    const verdicts = watch(turns(20, (i) => ({ thread: runs(10 + i * 12) })));
    expect(verdicts.indexOf('hang')).toBe(18);
  });

  it('finds one that runs in a circle before it has started: sooner when its modules are loaded', () => {
    const starts = (phase: number): string[] => watch(turns(60, (i) => ({ phase, thread: runs(250 * i) })));
    expect(starts(PHASE_CREATING).indexOf('hang')).toBe(3);
    expect(starts(PHASE_STARTING).indexOf('hang')).toBe(9);
  });

  it('gives one that sleeps on a word longer, and one inside the host much longer', () => {
    const waiting = watch(turns(60, () => ({ thread: { cpuMs: 7, state: 'waiting' } })));
    expect(waiting.indexOf('hang')).toBe(9);
    const inHost = watch(turns(60, () => ({ thread: { cpuMs: 7, state: 'busy-host' } })));
    expect(inHost.indexOf('hang')).toBe(40);
    const unknown = watch(turns(60, () => ({})));
    expect(unknown.indexOf('hang')).toBe(40);
  });

  it('says what told a hang', () => {
    const signOf = (look: (i: number) => Look): string | undefined =>
      judge(turns(60, look)).find(({ verdict }) => verdict === 'hang')?.sign;
    expect(signOf((i) => ({ thread: runs(120 * i) }))).toBe('240 ms of processor time without a heartbeat');
    expect(signOf(() => ({ thread: { cpuMs: 7, state: 'waiting' } }))).toBe(
      'asleep for 2000 ms on a word that nobody changed',
    );
    expect(signOf(() => ({}))).toBe('no heartbeat for 10000 ms');
  });

  it('does not count sleep, a pause, or turns of the loop as silence', () => {
    const idle = watch(
      turns(100, () => ({ phase: PHASE_IDLE, thread: { cpuMs: 0, state: 'waiting' as const } })),
    );
    expect(idle).not.toContain('suspect');
    expect(watch(turns(100, () => ({ phase: PHASE_PAUSED })))).not.toContain('suspect');
    expect(watch(turns(100, (i) => ({ count: i, thread: runs(i * 250) })))).not.toContain('suspect');
  });

  it('suspects an idle actor whose doorbell rang', () => {
    const looks = turns(9, () => ({
      phase: PHASE_IDLE,
      bell: 4,
      thread: { cpuMs: 0, state: 'waiting' as const },
    }));
    expect(watch(looks)).toContain('suspect');
  });

  it('gives an actor that starts time to load', () => {
    const looks = turns(30, (i) => ({ phase: PHASE_STARTING, thread: runs(i * 90) }));
    const verdicts = watch(looks);
    expect(verdicts.slice(0, 20)).not.toContain('hang');
    expect(verdicts).toContain('hang');
  });

  it('condemns nobody for a turn that came late, however late', () => {
    expect(watch([{}, { thread: runs(10) }], 5000)).toEqual(['alive', 'suspect']);
    const late = watch(
      turns(5, () => ({})),
      60_000,
    );
    expect(late).not.toContain('hang');
  });
});
