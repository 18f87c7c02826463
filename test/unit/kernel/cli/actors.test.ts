import { expect, it } from 'vitest';
import { formatActors } from '#kernel/cli/actors.js';

it('shows actors as a table, numbers to the right', () => {
  const base = { running: true, generation: 2, restarts: 1, queueDepth: 0, lastExit: undefined };
  const table = formatActors([
    {
      ...base,
      name: 'vcpu-0',
      kind: 'vcpu',
      state: 'running',
      heartbeatAgeMs: 240,
      messagesPerSecond: 0,
      cpuPercent: 97,
    },
    {
      ...base,
      name: 'uart',
      kind: 'uart',
      state: 'idle',
      heartbeatAgeMs: 61_000,
      messagesPerSecond: 12_345,
      cpuPercent: 3,
    },
  ]);
  expect(table.split('\n')).toEqual([
    'NAME    KIND  STATE    GEN  RESTARTS    BEAT  QUEUE  MSG/S  CPU',
    'vcpu-0  vcpu  running    2         1  240 ms      0      0  97%',
    'uart    uart  idle       2         1    61 s      0  12345   3%',
    '',
  ]);
});
