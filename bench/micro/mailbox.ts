// The mailbox between two threads: a call and its answer, and one-way messages, as a vCPU uses them for registers.
import { Worker } from 'node:worker_threads';
import { MailboxSender, formatMailbox } from '#shared/ipc/mailbox.js';
import { viewArena } from '#shared/memory/arena.js';
import { BELL, ENTRIES, MAILBOX, PAYLOAD_BYTES, ARENA_BYTES } from './mailbox-place.js';

const CALLS = 100_000;
const POSTS = 1_000_000;

export async function benchMailbox(): Promise<void> {
  const buffer = new SharedArrayBuffer(ARENA_BYTES);
  const v = viewArena({ buffer });
  formatMailbox(v, MAILBOX, ENTRIES, PAYLOAD_BYTES);
  const worker = new Worker(new URL('mailbox-echo.js', import.meta.url), { workerData: buffer });
  await new Promise((resolve) => worker.once('message', resolve));
  const sender = new MailboxSender(v, MAILBOX, BELL);
  const perCall = measure(CALLS, () => {
    const payload = sender.reserve();
    sender.call(payload, 1, 4);
  });
  const perPost = measure(POSTS, () => {
    const payload = sender.reserve();
    sender.post(payload, 1, 4);
  });
  await worker.terminate();
  process.stdout.write(
    `mailbox: call and answer ${perCall.toFixed(2)} µs, one-way message ${perPost.toFixed(3)} µs\n`,
  );
}

/** Microseconds each. */
function measure(count: number, work: () => void): number {
  const startedMs = performance.now();
  for (let i = 0; i < count; i++) work();
  return ((performance.now() - startedMs) * 1000) / count;
}
