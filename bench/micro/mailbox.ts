// The mailbox between two threads beside what else carries messages between threads of Node: one-way messages a second (until the
// last was taken), and the time from a question to its answer when both sides are hot. The message is a register access. Then
// what failpoints cost the mailbox while no plan is set.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import * as Comlink from 'comlink';
import { RingBuffer } from 'ringbuf.js';
import { portEndpoint } from '#shared/ipc/actor.js';
import { FaultPoints, type FaultSwitch } from '#shared/ipc/failpoint.js';
import { formatMailbox } from '#shared/ipc/mailbox-layout.js';
import type * as MailboxModule from '#shared/ipc/mailbox.js';
import { viewArena } from '#shared/memory/arena.js';
import { removeBareMailboxes, writeBareMailbox } from './bare-mailbox.js';
import {
  ARENA_BYTES,
  BELL,
  COUNTERS,
  ENTRIES,
  MAILBOX,
  MESSAGE_WORDS,
  PAYLOAD_BYTES,
  PING_PONG,
  RING_WORDS,
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

const REAL_MAILBOX = '#shared/ipc/mailbox.js';
const POSTS = 1_000_000;
const FEW_POSTS = 100_000;
const ASKS = 20_000;
/** The rings and the caches warm up with these. */
const WARM_UP = 2_000;
/** Even. */
const OVERHEAD_PAIRS = 8;
const OVERHEAD_TURNS = 30;
const OVERHEAD_POSTS = 20_000;
const OVERHEAD_ASKS = 1_000;
const OVERHEAD_WARM_UP = 200_000;

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

async function openMailbox({ buffer, mailbox }: EchoSetup, faults?: FaultSwitch): Promise<Transport> {
  const { MailboxSender } = (await import(mailbox)) as typeof MailboxModule;
  const v = viewArena({ buffer });
  const sender = new MailboxSender(v, MAILBOX, BELL, { faults });
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
      for (let i = 1; i < count; i++) sender.post(write(i), 2, 4 * MESSAGE_WORDS);
      sender.call(write(0), 2, 4 * MESSAGE_WORDS); // answered when all before it are
    },
    ask: (times) => timeAsks(times, (i) => sender.call(write(i), 1, 4 * MESSAGE_WORDS)),
  };
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

async function withTransport<T>(
  transport: TransportName,
  work: (open: Transport, setup: EchoSetup) => Promise<T>,
  mailbox = REAL_MAILBOX,
): Promise<T> {
  const buffer = new SharedArrayBuffer(ARENA_BYTES);
  formatMailbox(viewArena({ buffer }), MAILBOX, ENTRIES, PAYLOAD_BYTES);
  const ring = (): SharedArrayBuffer =>
    RingBuffer.getStorageForCapacity(RING_WORDS, Uint32Array) as SharedArrayBuffer;
  const setup: EchoSetup = { transport, buffer, rings: [ring(), ring()], mailbox };
  const worker = new Worker(new URL('transport-echo.js', import.meta.url), { workerData: setup });
  await once(worker, 'message');
  const openers: Record<TransportName, () => Transport | Promise<Transport>> = {
    mailbox: async () => openMailbox(setup, makeFaults(buffer)),
    postMessage: () => openMessages(worker),
    comlink: () => openComlink(worker),
    'ringbuf.js': () => openRings(setup),
    'Atomics.wait': () => openPingPong(setup),
  };
  try {
    return await work(await openers[transport](), setup);
  } finally {
    await worker.terminate();
  }
}

const quantile = (sorted: Float64Array, q: number): number => sorted[Math.floor(q * (sorted.length - 1))]!;

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

/** As an actor has them without a plan. */
function makeFaults(buffer: ArrayBufferLike): FaultSwitch {
  const nobody = (): never => {
    throw new Error('no fault is planned');
  };
  const effects = { exit: nobody, exhaustMemory: nobody, hang: nobody, delay: nobody };
  const actor = { name: 'vcpu-0', kind: 'vcpu', generation: 1 };
  return new FaultPoints(undefined, actor, effects, new Int32Array(buffer), COUNTERS);
}

interface Overhead {
  /** In a message's time. */
  readonly post: number;
  /** In a round trip's median. */
  readonly ask: number;
}

const median = (values: number[]): number => quantile(Float64Array.from(values).sort(), 0.5);

/**
 * What `second` costs more than `first`, both mailboxes' modules. Both live at once and take turns of a few ms, and each is the one that
 * came to life first half of the time, so that whatever the machine does falls on both. Medians of the turns' ratios.
 */
async function compareMailboxes(first: string, second: string): Promise<Overhead> {
  const posts: number[] = [];
  const asks: number[] = [];
  const takeTurns = async (both: readonly [Transport, Transport]): Promise<void> => {
    const times = new Float64Array(OVERHEAD_ASKS);
    for (const open of both) await perSecond(open, OVERHEAD_WARM_UP);
    for (let turn = 0; turn < OVERHEAD_TURNS; turn++) {
      const post = [0, 0];
      const ask = [0, 0];
      for (const kind of turn % 2 === 0 ? [0, 1] : [1, 0]) {
        post[kind] = 1 / (await perSecond(both[kind]!, OVERHEAD_POSTS));
        await both[kind]!.ask(times);
        ask[kind] = quantile(times.sort(), 0.5);
      }
      posts.push(post[1]! / post[0]!);
      asks.push(ask[1]! / ask[0]!);
    }
  };
  for (let pair = 0; pair < OVERHEAD_PAIRS; pair++) {
    const [elder, younger] = pair % 2 === 0 ? [first, second] : [second, first];
    await withTransport(
      'mailbox',
      async (a) =>
        withTransport('mailbox', async (b) => takeTurns(pair % 2 === 0 ? [a, b] : [b, a]), younger),
      elder,
    );
  }
  return { post: median(posts) - 1, ask: median(asks) - 1 };
}

async function printOverhead(): Promise<void> {
  const bare = writeBareMailbox();
  const twin = writeBareMailbox();
  try {
    const cost = await compareMailboxes(bare, REAL_MAILBOX);
    const noise = await compareMailboxes(bare, twin);
    const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
    process.stdout.write(
      `\nfailpoints without a plan cost a message ${percent(cost.post)}, a round trip ${percent(cost.ask)}, against a mailbox from which ` +
        `they are cut out; two of those differ by ${percent(noise.post)} and ${percent(noise.ask)} ` +
        `(medians of ${OVERHEAD_PAIRS * OVERHEAD_TURNS} turns)\n`,
    );
  } finally {
    removeBareMailboxes();
  }
}

export async function benchMailbox(): Promise<void> {
  process.stdout.write(
    '\n| between two threads | one-way, M/s | round trip p50, µs | p99, µs |\n| --- | --- | --- | --- |\n',
  );
  const names: TransportName[] = ['mailbox', 'ringbuf.js', 'Atomics.wait', 'postMessage', 'comlink'];
  for (const name of names) process.stdout.write(await contest(name));
  await printOverhead();
}
