// The other thread of the transport benchmark: takes every message and answers those that ask, as the transport would have it.
import { parentPort, workerData } from 'node:worker_threads';
import * as Comlink from 'comlink';
import { RingBuffer } from 'ringbuf.js';
import { portEndpoint, type ActorPort } from '#shared/ipc/port-endpoint.js';
import { doorbellIndex, peekDoorbell, takeDoorbell, waitDoorbell } from '#shared/ipc/doorbell.js';
import type * as MailboxModule from '#shared/ipc/mailbox.js';
import { viewArena } from '#shared/memory/arena.js';
import { BELL, MAILBOX, MESSAGE_WORDS, PING_PONG, type EchoSetup, type Message } from './transport-place.js';

/** As an actor's loop has them. */
const SPIN_TURNS = 1000;
const SLEEP_MS = 1000;

const { transport, buffer, rings, mailbox } = workerData as EchoSetup;
const port = parentPort!;

async function serveMailbox(): Promise<never> {
  const { MailboxReceiver } = (await import(mailbox)) as typeof MailboxModule;
  const v = viewArena({ buffer });
  const receiver = new MailboxReceiver(v, MAILBOX);
  const bell = doorbellIndex(BELL);
  for (;;) {
    takeDoorbell(v.i32, bell);
    const payload = receiver.peek();
    if (payload >= 0) {
      v.u32[(payload >>> 2) + 2]! += 1;
      receiver.complete(receiver.kind === 1 ? 4 * MESSAGE_WORDS : 0);
      continue;
    }
    if (receiver.arm()) continue;
    let turns = SPIN_TURNS;
    while (turns-- > 0 && peekDoorbell(v.i32, bell) === 0);
    if (turns < 0) waitDoorbell(v.i32, bell, SLEEP_MS);
  }
}

function servePingPong(): never {
  const i32 = new Int32Array(buffer, PING_PONG.offset, PING_PONG.bytes / 4);
  for (let seen = 0; ; seen++) {
    while (Atomics.load(i32, 0) === seen) Atomics.wait(i32, 0, seen, SLEEP_MS);
    Atomics.store(i32, 16, seen + 1);
    Atomics.notify(i32, 16);
  }
}

function serveRings(): never {
  const inbox = new RingBuffer(rings[0], Uint32Array);
  const outbox = new RingBuffer(rings[1], Uint32Array);
  const message = new Uint32Array(MESSAGE_WORDS);
  for (;;) {
    if (inbox.availableRead() < MESSAGE_WORDS) continue;
    inbox.pop(message);
    message[2]! += 1;
    if (message[1] === 1) outbox.push(message);
  }
}

function serveMessages(): void {
  port.on('message', ({ value, ask }: Message) => {
    if (ask) port.postMessage(value + 1);
  });
}

function serveComlink(): void {
  Comlink.expose(
    { add: (_offset: number, _size: number, value: number) => value + 1 },
    portEndpoint(port as ActorPort),
  );
}

port.postMessage('ready');
if (transport === 'mailbox') await serveMailbox();
else if (transport === 'Atomics.wait') servePingPong();
else if (transport === 'ringbuf.js') serveRings();
else if (transport === 'comlink') serveComlink();
else serveMessages();
