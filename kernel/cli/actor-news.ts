// What `troupe run` says of actors to a person: one line for each that ended and was replaced. What ends the machine is not told
// here: the machine's exit says it.
import { CRASH_EXIT_CODE } from '#shared/ipc/failpoint.js';
import type { ActorEvent } from '../index.js';

type ExitEvent = Extract<ActorEvent, { type: 'actor:exit' }>;
type ExitReason = ExitEvent['reason'];

/** Hands `say` the lines that the events of a machine are worth. */
export function tellActorNews(say: (line: string) => void): (event: ActorEvent) => void {
  const ended = new Map<string, ExitReason>();
  return (event) => {
    if (event.type === 'actor:exit') {
      // Its replacement died before it ran.
      const before = ended.get(event.actor);
      if (before !== undefined) say(`${event.actor} ${describeEnd(before)}`);
      ended.set(event.actor, event.reason);
    } else if (event.type === 'actor:restart') {
      const reason = ended.get(event.actor);
      ended.delete(event.actor);
      const end = reason === undefined ? '' : `${describeEnd(reason)} and `;
      say(`${event.actor} ${end}was replaced in ${formatTime(event.downMs)}`);
    }
  };
}

function describeEnd(reason: ExitReason): string {
  switch (reason.kind) {
    case 'normal':
      return 'ended';
    case 'shutdown':
      return 'was stopped';
    case 'error':
      return /heap out of memory|memory limit/.test(reason.message)
        ? 'ran out of memory'
        : `failed (${reason.message.split('\n')[0]!})`;
    case 'exit':
      return reason.code === CRASH_EXIT_CODE
        ? `crashed (exit code ${reason.code})`
        : `exited (code ${reason.code})`;
    case 'hang':
      return 'hung';
    case 'killed':
      return 'was killed';
  }
}

function formatTime(ms: number): string {
  return ms < 10_000 ? `${Math.max(1, Math.round(ms))} ms` : `${Math.round(ms / 1000)} s`;
}
