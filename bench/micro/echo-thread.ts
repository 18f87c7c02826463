// The other thread of the transport benchmark, started.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { RingBuffer } from 'ringbuf.js';
import { formatMailbox } from '#shared/ipc/mailbox-layout.js';
import { viewArena } from '#shared/memory/arena.js';
import {
  ARENA_BYTES,
  ENTRIES,
  MAILBOX,
  PAYLOAD_BYTES,
  RING_WORDS,
  type EchoSetup,
  type TransportName,
} from './transport-place.js';

export const REAL_MAILBOX = new URL('../../shared/ipc/mailbox.js', import.meta.url).href;

export interface Echo {
  readonly worker: Worker;
  readonly setup: EchoSetup;
  end(): Promise<void>;
}

/** Resolves when the thread listens. `mailbox`: its module's address. */
export async function startEcho(transport: TransportName, mailbox = REAL_MAILBOX): Promise<Echo> {
  const buffer = new SharedArrayBuffer(ARENA_BYTES);
  formatMailbox(viewArena({ buffer }), MAILBOX, ENTRIES, PAYLOAD_BYTES);
  const ring = (): SharedArrayBuffer =>
    RingBuffer.getStorageForCapacity(RING_WORDS, Uint32Array) as SharedArrayBuffer;
  const setup: EchoSetup = { transport, buffer, rings: [ring(), ring()], mailbox };
  const worker = new Worker(new URL('transport-echo.js', import.meta.url), { workerData: setup });
  await once(worker, 'message');
  return { worker, setup, end: async () => void (await worker.terminate()) };
}
