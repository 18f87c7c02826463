import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { peekDoorbell, doorbellIndex, takeDoorbell, BELL_MAILBOX } from '#shared/ipc/doorbell.js';
import { MailboxReceiver, MailboxSender, formatMailbox, mailboxBytes } from '#shared/ipc/mailbox.js';
import { viewArena } from '#shared/memory/arena.js';

const ENTRIES = 8;
const PAYLOAD = 16;
const doorbell = { offset: 0, bytes: 64 };
const region = { offset: 64, bytes: mailboxBytes(ENTRIES, PAYLOAD) };

function makeMailbox() {
  const v = viewArena({ buffer: new SharedArrayBuffer(64 + region.bytes) });
  formatMailbox(v, region, ENTRIES, PAYLOAD);
  return v;
}

function post(v: ReturnType<typeof viewArena>, sender: MailboxSender, value: number): void {
  const payload = sender.reserve();
  v.u32[payload >>> 2] = value;
  sender.post(payload, 7, 4);
}

describe('mailbox', () => {
  it('behaves as a bounded queue whose head stays until it is answered, across restarts of both ends', () => {
    const command = fc.oneof(
      fc.constant('post' as const),
      fc.constant('serve' as const),
      fc.constant('restart receiver' as const),
      fc.constant('restart sender' as const),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 300 }), (commands) => {
        const v = makeMailbox();
        let sender = new MailboxSender(v, region, doorbell, { generation: 1 });
        let receiver = new MailboxReceiver(v, region);
        const model: number[] = [];
        let next = 1;
        let generation = 1;
        for (const c of commands) {
          if (c === 'post' && model.length < ENTRIES) {
            post(v, sender, next);
            model.push(next++);
          } else if (c === 'serve') {
            const payload = receiver.peek();
            if (model.length === 0) expect(payload).toBe(-1);
            else {
              expect(v.u32[payload >>> 2]).toBe(model[0]);
              expect(receiver.sequence).toBe(model[0]);
              expect(receiver.kind).toBe(7);
              receiver.complete();
              model.shift();
            }
          } else if (c === 'restart receiver') {
            receiver.peek();
            receiver = new MailboxReceiver(v, region);
          } else if (c === 'restart sender' && model.length === 0) {
            sender = new MailboxSender(v, region, doorbell, { generation: ++generation });
          }
          expect(sender.inFlight).toBe(model.length);
          expect(sender.hasRoom).toBe(model.length < ENTRIES);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('keeps its order when the 16-bit indices wrap', () => {
    const v = makeMailbox();
    const sender = new MailboxSender(v, region, doorbell);
    const receiver = new MailboxReceiver(v, region);
    for (let i = 1; i <= 70_000; i++) {
      post(v, sender, i);
      if (i % 5 !== 0) continue;
      for (let k = i - 4; k <= i; k++) {
        expect(v.u32[receiver.peek() >>> 2]).toBe(k);
        receiver.complete();
      }
    }
    expect(receiver.peek()).toBe(-1);
  });

  it('rings once after arm, not for every message', () => {
    const v = makeMailbox();
    const sender = new MailboxSender(v, region, doorbell);
    const receiver = new MailboxReceiver(v, region);
    const bell = doorbellIndex(doorbell);
    post(v, sender, 1);
    expect(takeDoorbell(v.i32, bell)).toBe(BELL_MAILBOX);
    post(v, sender, 2);
    expect(peekDoorbell(v.i32, bell)).toBe(0);
    expect(receiver.arm()).toBe(true);
    while (receiver.peek() >= 0) receiver.complete();
    expect(receiver.arm()).toBe(false);
    post(v, sender, 3);
    expect(peekDoorbell(v.i32, bell)).toBe(BELL_MAILBOX);
  });

  it('refuses to cast into a full ring', () => {
    const v = makeMailbox();
    const sender = new MailboxSender(v, region, doorbell);
    for (let i = 0; i < ENTRIES; i++) expect(sender.tryCast(1, new Uint8Array([i]))).toBe(true);
    expect(sender.tryCast(1, new Uint8Array([9]))).toBe(false);
    const receiver = new MailboxReceiver(v, region);
    expect(v.u8[receiver.peek()]).toBe(0);
    expect(receiver.length).toBe(1);
    receiver.complete();
    expect(sender.tryCast(1, new Uint8Array([9]))).toBe(true);
  });
});
