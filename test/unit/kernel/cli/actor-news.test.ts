import { expect, it } from 'vitest';
import { tellActorNews } from '#kernel/cli/actor-news.js';
import type { ActorEvent } from '#kernel/index.js';

type ExitReason = Extract<ActorEvent, { type: 'actor:exit' }>['reason'];

const who = { atMs: 1000, actor: 'virtio-blk-0', kind: 'virtio-blk', generation: 1 };
const exit = (reason: ExitReason): ActorEvent => ({ ...who, type: 'actor:exit', reason, message: '' });
const restart = (downMs: number): ActorEvent => ({ ...who, type: 'actor:restart', downMs, fromSpare: true });

function tell(...events: ActorEvent[]): string[] {
  const lines: string[] = [];
  events.forEach(tellActorNews((line) => lines.push(line)));
  return lines;
}

it.each<[ExitReason, string]>([
  [{ kind: 'exit', code: 134 }, 'crashed (exit code 134)'],
  [{ kind: 'exit', code: 3 }, 'exited (code 3)'],
  [{ kind: 'hang', sign: '' }, 'hung'],
  [{ kind: 'killed' }, 'was killed'],
  [{ kind: 'error', message: 'injected fault at loop\n  at x' }, 'failed (injected fault at loop)'],
  [
    { kind: 'error', message: 'Worker terminated due to reaching memory limit: JS heap out of memory' },
    'ran out of memory',
  ],
])('tells %j with the replacement, in one line', (reason, words) => {
  expect(tell(exit(reason), restart(12.3))).toEqual([`virtio-blk-0 ${words} and was replaced in 12 ms`]);
});

it('tells one that died again before its replacement ran, and keeps still about the last end of a machine', () => {
  expect(tell(exit({ kind: 'hang', sign: '' }), exit({ kind: 'exit', code: 1 }), restart(0.2))).toEqual([
    'virtio-blk-0 hung',
    'virtio-blk-0 exited (code 1) and was replaced in 1 ms',
  ]);
  expect(tell(exit({ kind: 'hang', sign: '' }))).toEqual([]);
});
