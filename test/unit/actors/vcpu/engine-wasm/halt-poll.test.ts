import { describe, expect, test } from 'vitest';
import { HaltPoll, LONGEST_WINDOW_MS } from '#actors/vcpu/engine-wasm/halt-poll.js';

/** A host whose clock goes on by `lookMs` at each reading and by `sleepMs` in each sleep, after which the word is set. */
function createHost(lookMs: number) {
  const words = new Int32Array(new SharedArrayBuffer(4));
  const host = {
    clockMs: 0,
    sleepMs: 0,
    sleeps: [] as number[],
    nowMs: () => (host.clockMs += lookMs),
    sleep: (_words: Int32Array, _index: number, timeoutMs: number) => {
      host.sleeps.push(timeoutMs);
      host.clockMs += Math.min(host.sleepMs, timeoutMs);
    },
  };
  return { host, words, poll: new HaltPoll(host) };
}

describe('a halted vCPU', () => {
  test('sleeps at once when its last halt was long', () => {
    const { host, words, poll } = createHost(0);
    host.sleepMs = 5;
    for (let i = 0; i < 3; i++) poll.wait(words, 0, 10);
    expect(poll.windowMs).toBe(0);
    expect(host.sleeps).toEqual([10, 10, 10]);
  });

  test('looks for longer after each short halt, up to a limit, and no more after a long one', () => {
    const { host, words, poll } = createHost(0.01);
    host.sleepMs = 0.001;
    const windows = Array.from({ length: 8 }, () => {
      poll.wait(words, 0, 10);
      return poll.windowMs;
    });
    expect(windows[0]).toBeGreaterThan(0);
    expect(windows[1]).toBe(windows[0]! * 2);
    expect(Math.max(...windows)).toBeLessThanOrEqual(LONGEST_WINDOW_MS);
    host.sleepMs = 4;
    poll.wait(words, 0, 10);
    expect(poll.windowMs).toBe(0);
  });

  test('does not sleep when something is pending within the window', () => {
    const { host, words, poll } = createHost(0.001);
    poll.wait(words, 0, 10);
    expect(host.sleeps).toHaveLength(1);
    words[0] = 1;
    poll.wait(words, 0, 10);
    expect(host.sleeps).toHaveLength(1);
  });

  test('never waits longer than it may', () => {
    const { host, words, poll } = createHost(0.01);
    poll.windowMs = LONGEST_WINDOW_MS;
    const before = host.clockMs;
    poll.wait(words, 0, 0.05);
    expect(host.clockMs - before).toBeLessThan(0.2);
    expect(host.sleeps).toEqual([]);
  });
});
