// The other thread of the mailbox benchmark: answers every message at once, and sleeps as an actor does.
import { parentPort, workerData } from 'node:worker_threads';
import { doorbellIndex, peekDoorbell, takeDoorbell, waitDoorbell } from '#shared/ipc/doorbell.js';
import { MailboxReceiver } from '#shared/ipc/mailbox.js';
import { viewArena } from '#shared/memory/arena.js';
import { BELL, MAILBOX } from './mailbox-place.js';

const SPIN_TURNS = 1000;
const SLEEP_MS = 1000;

const v = viewArena({ buffer: workerData as SharedArrayBuffer });
const receiver = new MailboxReceiver(v, MAILBOX);
const bell = doorbellIndex(BELL);
parentPort!.postMessage('ready');
for (;;) {
  takeDoorbell(v.i32, bell);
  if (receiver.peek() >= 0) {
    receiver.complete();
    continue;
  }
  if (receiver.arm()) continue;
  let turns = SPIN_TURNS;
  while (turns-- > 0 && peekDoorbell(v.i32, bell) === 0);
  if (turns < 0) waitDoorbell(v.i32, bell, SLEEP_MS);
}
