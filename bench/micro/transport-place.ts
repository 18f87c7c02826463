// Where the parts of the transport benchmark lie in its shared memory; both of its threads know it.
import { MAILBOX_ENTRIES, MAILBOX_PAYLOAD_BYTES } from '#shared/base/limits.js';
import { DOORBELL_BYTES } from '#shared/ipc/doorbell.js';
import { FAULT_COUNTERS_BYTES } from '#shared/ipc/fault-plan.js';
import { mailboxBytes } from '#shared/ipc/mailbox-layout.js';

export const ENTRIES = MAILBOX_ENTRIES;
export const PAYLOAD_BYTES = MAILBOX_PAYLOAD_BYTES;
/** A message of all contestants: what a register access is. */
export const MESSAGE_WORDS = 3;
/** Of ringbuf.js, the same room. */
export const RING_WORDS = ENTRIES * MESSAGE_WORDS;

export const BELL = { offset: 0, bytes: DOORBELL_BYTES };
/** Two words: question and answer, a cache line each. */
export const PING_PONG = { offset: 64, bytes: 128 };
export const COUNTERS = { offset: 192, bytes: FAULT_COUNTERS_BYTES };
export const MAILBOX = {
  offset: COUNTERS.offset + COUNTERS.bytes,
  bytes: mailboxBytes(ENTRIES, PAYLOAD_BYTES),
};
export const ARENA_BYTES = MAILBOX.offset + MAILBOX.bytes;

export type TransportName = 'mailbox' | 'postMessage' | 'comlink' | 'ringbuf.js' | 'Atomics.wait';

export interface EchoSetup {
  readonly transport: TransportName;
  readonly buffer: SharedArrayBuffer;
  /** Of ringbuf.js: to this thread, and back. */
  readonly rings: readonly [SharedArrayBuffer, SharedArrayBuffer];
  /** The mailbox's module. */
  readonly mailbox: string;
}

/** What postMessage carries. */
export interface Message {
  readonly offset: number;
  readonly size: number;
  readonly value: number;
  /** An answer is wanted. */
  readonly ask: boolean;
}
