// The mailbox between two threads beside what else carries messages between threads of Node: one-way messages a second (until the
// last was taken), and the time from a question to its answer when both sides are hot. The message is a register access. Then
// what failpoints cost the mailbox while no plan is set.
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import * as Comlink from 'comlink';
import { RingBuffer } from 'ringbuf.js';
import { portEndpoint } from '#shared/ipc/port-endpoint.js';
import { REAL_MAILBOX, startEcho } from './echo-thread.js';
import { printFailpointCost } from './failpoint-cost.js';
import { openMailboxEnd } from './mailbox-end.js';
import { quantile } from './quantile.js';
import {
  MESSAGE_WORDS,
  PING_PONG,
  type EchoSetup,
  type Message,
  type TransportName,
} from './transport-place.js';

/** One contestant, its other thread at work. */
interface Transport {
  /** Absent where there are no one-way messages. */
  send?(count: number): void | Promise<void>;
  /** Fills `times` with the time of each round trip, in µs. */
  ask(times: Float64Array): void | Promise<void>;
}

const POSTS = 1_000_000;
const FEW_POSTS = 100_000;
const ASKS = 20_000;
/** The rings and the caches warm up with these. */
const WARM_UP = 2_000;
function timeAsks(times: Float64Array, ask: (i: number) => void): void {
  for (let i = 0; i < times.length; i++) {
    const started = performance.now();
    ask(i);
    times[i] = (performance.now() - started) * 1000;
  }
}

async function timeAsyncAsks(times: Float64Array, ask: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < times.length; i++) {
    const started = performance.now();
    await ask(i);
    times[i] = (performance.now() - started) * 1000;
  }
}

function openPingPong({ buffer }: EchoSetup): Transport {
  const i32 = new Int32Array(buffer, PING_PONG.offset, PING_PONG.bytes / 4);
  let sent = 0;
  const ask = (): void => {
    sent++;
    Atomics.store(i32, 0, sent);
    Atomics.notify(i32, 0);
    while (Atomics.load(i32, 16) !== sent) Atomics.wait(i32, 16, sent - 1);
  };
  return { ask: (times) => timeAsks(times, ask) };
}

function openRings({ rings }: EchoSetup): Transport {
  const outbox = new RingBuffer(rings[0], Uint32Array);
  const inbox = new RingBuffer(rings[1], Uint32Array);
  const message = new Uint32Array(MESSAGE_WORDS);
  const push = (ask: number, value: number): void => {
    message[0] = 8;
    message[1] = ask;
    message[2] = value;
    while (outbox.availableWrite() < MESSAGE_WORDS);
    outbox.push(message);
  };
  const ask = (value: number): void => {
    push(1, value);
    while (inbox.availableRead() < MESSAGE_WORDS);
    inbox.pop(message);
  };
  return {
    send: (count) => {
      for (let i = 1; i < count; i++) push(0, i);
      ask(0);
    },
    ask: (times) => timeAsks(times, ask),
  };
}

function openMessages(worker: Worker): Transport {
  const send = (value: number, ask: boolean): void =>
    worker.postMessage({ offset: 8, size: 4, value, ask } satisfies Message);
  const ask = async (value: number): Promise<void> => {
    send(value, true);
    await once(worker, 'message');
  };
  return {
    send: async (count) => {
      for (let i = 1; i < count; i++) send(i, false);
      await ask(0);
    },
    ask: async (times) => timeAsyncAsks(times, ask),
  };
}

function openComlink(worker: Worker): Transport {
  const remote = Comlink.wrap<{ add(offset: number, size: number, value: number): number }>(
    portEndpoint(worker as never),
  );
  return {
    send: async (count) => {
      let last: Promise<number> = Promise.resolve(0);
      for (let i = 0; i < count; i++) last = remote.add(8, 4, i);
      await last;
    },
    ask: async (times) => timeAsyncAsks(times, async (i) => remote.add(8, 4, i)),
  };
}

async function withTransport<T>(transport: TransportName, work: (open: Transport) => Promise<T>): Promise<T> {
  const { worker, setup, end } = await startEcho(transport, REAL_MAILBOX);
  const openers: Record<TransportName, () => Transport | Promise<Transport>> = {
    mailbox: async () => openMailboxEnd(setup.buffer, REAL_MAILBOX),
    postMessage: () => openMessages(worker),
    comlink: () => openComlink(worker),
    'ringbuf.js': () => openRings(setup),
    'Atomics.wait': () => openPingPong(setup),
  };
  try {
    return await work(await openers[transport]());
  } finally {
    await end();
  }
}

async function perSecond(open: Transport, count: number): Promise<number> {
  await open.send!(WARM_UP);
  const startedMs = performance.now();
  await open.send!(count);
  return (count / (performance.now() - startedMs)) * 1000;
}

async function contest(name: TransportName): Promise<string> {
  return withTransport(name, async (open) => {
    const slow = name === 'postMessage' || name === 'comlink';
    const rate = open.send === undefined ? undefined : await perSecond(open, slow ? FEW_POSTS : POSTS);
    await open.ask(new Float64Array(WARM_UP));
    const times = new Float64Array(ASKS);
    await open.ask(times);
    times.sort();
    const cells = [0.5, 0.99].map((q) => quantile(times, q).toFixed(2));
    return `| ${[name, rate === undefined ? '–' : (rate / 1e6).toFixed(2), ...cells].join(' | ')} |\n`;
  });
}

export async function benchMailbox(): Promise<void> {
  process.stdout.write(
    '\n| between two threads | one-way, M/s | round trip p50, µs | p99, µs |\n| --- | --- | --- | --- |\n',
  );
  const names: TransportName[] = ['mailbox', 'ringbuf.js', 'Atomics.wait', 'postMessage', 'comlink'];
  for (const name of names) process.stdout.write(await contest(name));
  await printFailpointCost();
}
