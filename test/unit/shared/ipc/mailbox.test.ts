import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { peekDoorbell, doorbellIndex, takeDoorbell, BELL_MAILBOX } from '#shared/ipc/doorbell.js';
import { MailboxFollower } from '#shared/ipc/mailbox-follower.js';
import { MailboxReceiver, MailboxSender } from '#shared/ipc/mailbox.js';
import { FaultPoints, type FaultSwitch, type FaultVerdict } from '#shared/ipc/failpoint.js';
import { FAULT_COUNTERS_BYTES } from '#shared/ipc/fault-plan.js';
import * as L from '#shared/ipc/mailbox-layout.js';
import { formatMailbox, mailboxBytes } from '#shared/ipc/mailbox-layout.js';
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

describe('a follower', () => {
  it('waits until all that was sent is answered, a lost publication included', () => {
    const v = makeMailbox();
    const verdicts: FaultVerdict[] = ['none', 'drop'];
    const sender = new MailboxSender(v, region, doorbell, {
      faults: { pass: () => verdicts.shift() ?? 'none', whenArmed: (listener) => listener() },
    });
    const receiver = new MailboxReceiver(v, region);
    const follower = new MailboxFollower(v, region);
    follower.waitServed(() => expect.unreachable('nothing was sent'));
    post(v, sender, 1);
    post(v, sender, 2);
    const seen: number[] = [];
    follower.waitServed(() => {
      const payload = receiver.peek();
      if (payload < 0) return L.republish(v, region, L.findLostPublication(v, region)!, 0);
      seen.push(v.u32[payload >>> 2]!);
      receiver.complete();
    });
    expect(seen).toEqual([1, 2]);
  });
});

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

/** A transport that does to the next messages what the list says, then nothing. */
function faulty(verdicts: FaultVerdict[]) {
  return {
    pass: (): FaultVerdict => verdicts.shift() ?? 'none',
    whenArmed: (listener: () => void) => listener(),
  };
}

const verdict = fc.constantFrom<FaultVerdict>('none', 'drop', 'duplicate', 'corrupt');

describe('a mailbox over a faulty transport', () => {
  it('hands on every message once, whole and in order, across restarts of both ends', () => {
    const command = fc.constantFrom('post', 'serve', 'serve', 'audit', 'restart receiver', 'restart sender');
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 200 }),
        fc.array(verdict, { maxLength: 100 }),
        fc.array(verdict, { maxLength: 100 }),
        (commands, sending, receiving) => {
          const v = makeMailbox();
          const open = {
            sender: () =>
              new MailboxSender(v, region, doorbell, { faults: faulty(sending), postsOnly: true }),
            receiver: () => new MailboxReceiver(v, region, faulty(receiving)),
          };
          let sender = open.sender();
          let receiver = open.receiver();
          let sent = 0;
          let seen = 0;
          const serve = (): void => {
            const payload = receiver.peek();
            if (payload < 0) return;
            expect(v.u32[payload >>> 2]).toBe(++seen);
            expect([receiver.sequence, receiver.kind, receiver.length]).toEqual([seen, 7, 4]);
            receiver.complete();
          };
          const audit = (): void => {
            const lost = L.findLostPublication(v, region);
            if (lost !== undefined) L.republish(v, region, lost, doorbellIndex(doorbell));
          };
          for (const c of commands) {
            if (c === 'post' && sender.hasRoom) post(v, sender, ++sent);
            else if (c === 'serve') serve();
            else if (c === 'audit') audit();
            else if (c === 'restart receiver') receiver = open.receiver();
            else if (c === 'restart sender') sender = open.sender();
          }
          sending.length = 0;
          receiving.length = 0;
          for (let turn = 0; turn < 3 * ENTRIES; turn++) {
            audit();
            serve();
          }
          expect(seen).toBe(sent);
          expect(sender.inFlight).toBe(0);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('passes no failpoint before it is armed, and each one after', () => {
    const v = makeMailbox();
    const passed: string[] = [];
    const listeners: (() => void)[] = [];
    const faults: FaultSwitch = {
      pass: (point) => {
        passed.push(point);
        return 'none';
      },
      whenArmed: (listener) => void listeners.push(listener),
    };
    const sender = new MailboxSender(v, region, doorbell, { faults });
    const receiver = new MailboxReceiver(v, region, faults);
    const carry = (value: number): void => {
      post(v, sender, value);
      expect(v.u32[receiver.peek() >>> 2]).toBe(value);
      expect(receiver.peek()).toBeGreaterThan(0); // the head again: no new hit
      receiver.complete();
      expect(receiver.peek()).toBe(-1);
    };
    carry(1);
    expect(passed).toEqual([]);
    for (const listener of listeners) listener();
    carry(2);
    carry(3);
    const points = ['message.send', 'message.receive', 'message.answer'];
    expect(passed).toEqual([...points, ...points]);
    expect(sender.inFlight).toBe(0);
  });

  it('obeys a rule that is injected while messages are in the ring', () => {
    const v = viewArena({ buffer: new SharedArrayBuffer(64 + region.bytes + FAULT_COUNTERS_BYTES) });
    formatMailbox(v, region, ENTRIES, PAYLOAD);
    const nobody = (): never => expect.unreachable('nothing but messages suffers');
    const effects = { exit: nobody, exhaustMemory: nobody, hang: nobody, delay: nobody };
    const counters = { offset: 64 + region.bytes, bytes: FAULT_COUNTERS_BYTES };
    const actor = { name: 'disk', kind: 'disk', generation: 1 };
    const faults = new FaultPoints(undefined, actor, effects, v.i32, counters);
    const sender = new MailboxSender(v, region, doorbell);
    const receiver = new MailboxReceiver(v, region, faults);
    post(v, sender, 1);
    post(v, sender, 2);
    faults.arm(0, { actor: 'disk', action: 'drop', point: 'message.receive', after: 1, times: 2 });
    expect([receiver.peek(), receiver.peek()]).toEqual([-1, -1]);
    for (const value of [1, 2]) {
      expect(v.u32[receiver.peek() >>> 2]).toBe(value);
      receiver.complete();
    }
    expect(sender.inFlight).toBe(0);
  });

  it('knows a replaced end that is armed', () => {
    const v = makeMailbox();
    const old = new MailboxSender(v, region, doorbell, { faults: faulty([]), postsOnly: true });
    post(v, old, 1);
    const oldReceiver = new MailboxReceiver(v, region, faulty([]));
    expect(v.u32[oldReceiver.peek() >>> 2]).toBe(1);
    new MailboxReceiver(v, region);
    oldReceiver.complete();
    expect(old.inFlight).toBe(1);
    expect(oldReceiver.peek()).toBe(-1);
    new MailboxSender(v, region, doorbell, { postsOnly: true });
    expect(() => post(v, old, 2)).toThrow(/stale sender/);
  });

  it('ends a receiver when both copies of a message are damaged', () => {
    const v = makeMailbox();
    const sender = new MailboxSender(v, region, doorbell);
    post(v, sender, 1);
    const parts = L.openMailbox(v, region);
    const slot = L.slotWord(parts, 0);
    v.u32[slot + L.SLOT_HEADER_BYTES / 4]! ^= 1;
    v.u32[slot + parts.twinBytes / 4 + L.SLOT_KIND]! ^= 1;
    expect(() => new MailboxReceiver(v, region).peek()).toThrow(/neither copy of message 1 is whole/);
  });

  it('ignores the late answer of a receiver that was replaced, and refuses a sender that was', () => {
    const v = makeMailbox();
    const oldSender = new MailboxSender(v, region, doorbell, { postsOnly: true });
    post(v, oldSender, 1);
    const oldReceiver = new MailboxReceiver(v, region);
    expect(v.u32[oldReceiver.peek() >>> 2]).toBe(1);
    const receiver = new MailboxReceiver(v, region);
    oldReceiver.complete();
    expect(oldSender.inFlight).toBe(1);
    expect(v.u32[receiver.peek() >>> 2]).toBe(1);
    receiver.complete();
    const sender = new MailboxSender(v, region, doorbell, { postsOnly: true });
    expect(() => post(v, oldSender, 2)).toThrow(/stale sender/);
    post(v, sender, 2);
    expect(oldReceiver.peek()).toBe(-1);
    expect(receiver.sequence).toBe(1);
    expect(v.u32[receiver.peek() >>> 2]).toBe(2);
  });
});
