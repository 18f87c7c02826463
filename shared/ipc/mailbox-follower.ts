// For a third party: another thread's mailbox, to wait until what it carries has been served.
import type { Region } from '#shared/base/region.js';
import { hasReached, HEADER_POSITION, openMailbox, type MailboxParts } from '#shared/ipc/mailbox-layout.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import { loadUsedIdx, usedWordIndex } from '#shared/ipc/vring.js';

/** A few microseconds: the receiver is usually at work. */
const SPIN_TURNS = 2000;
/** How long the thread sleeps between two looks after that: nobody wakes it. */
const SLICE_MS = 1;

export class MailboxFollower {
  readonly #v: ArenaViews;
  readonly #parts: MailboxParts;

  constructor(v: ArenaViews, region: Region) {
    this.#v = v;
    this.#parts = openMailbox(v, region);
  }

  /** Waits until all messages that were sent by now are answered, those that were lost on their way included. */
  waitServed(onWait: () => void): void {
    const v = this.#v;
    const parts = this.#parts;
    // The receiver may be ahead of the position that a sender is about to store.
    const target = v.u32[parts.header + HEADER_POSITION]! & 0xffff;
    for (let turn = 0; !hasReached(loadUsedIdx(v, parts), target); turn++) {
      if (turn < SPIN_TURNS) continue;
      Atomics.wait(v.i32, usedWordIndex(parts), Atomics.load(v.i32, usedWordIndex(parts)), SLICE_MS);
      onWait();
    }
  }
}
