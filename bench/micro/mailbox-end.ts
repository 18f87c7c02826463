// The sending end of the mailbox in the transport benchmark, with its loops: a module of its own, so that who compares two mailboxes
// can load it once for each. V8 learns at each call site which objects come by, and the second kind that it meets costs more.
import { FaultPoints, type FaultSwitch } from '#shared/ipc/failpoint.js';
import type * as MailboxModule from '#shared/ipc/mailbox.js';
import { viewArena } from '#shared/memory/arena.js';
import { BELL, COUNTERS, MAILBOX, MESSAGE_WORDS } from './transport-place.js';

const LENGTH = 4 * MESSAGE_WORDS;

export interface MailboxEnd {
  /** Returns when the last message was taken. */
  send(count: number): void;
  /** Fills `times` with the time of each round trip, in µs. */
  ask(times: Float64Array): void;
}

/** As an actor has them without a plan. */
function makeFaults(buffer: SharedArrayBuffer): FaultSwitch {
  const nobody = (): never => {
    throw new Error('no fault is planned');
  };
  const effects = { exit: nobody, exhaustMemory: nobody, hang: nobody, delay: nobody };
  const actor = { name: 'vcpu-0', kind: 'vcpu', generation: 1 };
  return new FaultPoints(undefined, actor, effects, new Int32Array(buffer), COUNTERS);
}

/** `mailbox`: the module's address. */
export async function openMailboxEnd(buffer: SharedArrayBuffer, mailbox: string): Promise<MailboxEnd> {
  const { MailboxSender } = (await import(mailbox)) as typeof MailboxModule;
  const v = viewArena({ buffer });
  const sender = new MailboxSender(v, MAILBOX, BELL, { faults: makeFaults(buffer) });
  const write = (value: number): number => {
    const payload = sender.reserve();
    const word = payload >>> 2;
    v.u32[word] = 8;
    v.u32[word + 1] = 4;
    v.u32[word + 2] = value;
    return payload;
  };
  return {
    send: (count) => {
      for (let i = 1; i < count; i++) sender.post(write(i), 2, LENGTH);
      sender.call(write(0), 2, LENGTH); // answered when all before it are
    },
    ask: (times) => {
      for (let i = 0; i < times.length; i++) {
        const started = performance.now();
        sender.call(write(i), 1, LENGTH);
        times[i] = (performance.now() - started) * 1000;
      }
    },
  };
}
