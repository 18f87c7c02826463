// Measures one actor from outside, twice a heartbeat period: its age without a beat, what waits for it, messages and requests a
// second, processor time. Reads the arena and the host; the actor knows nothing of it.
import { loadDepth, loadHeartbeat, loadWork, heartbeatIndex } from '#shared/ipc/heartbeat.js';
import { loadMailboxCounts } from '#shared/ipc/mailbox-layout.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { ActorLayout } from '#shared/memory/machine-layout.js';
import type { Region } from '#shared/base/region.js';

/** A rate is taken over at least so long. */
const WINDOW_MS = 1000;

interface Reading {
  readonly atMs: number;
  readonly messages: number;
  readonly cpuMs: number;
}

export class ActorMeter {
  /** Since the heartbeat was last seen to move. */
  heartbeatAgeMs = 0;
  messagesPerSecond = 0;
  cpuPercent = 0;
  readonly #v: ArenaViews;
  readonly #heart: number;
  readonly #inboxes: readonly Region[];
  #count = -1;
  #movedMs = 0;
  #reading: Reading | undefined;

  constructor(v: ArenaViews, layout: ActorLayout, inboxes: readonly Region[]) {
    this.#v = v;
    this.#heart = heartbeatIndex(layout.heartbeat);
    this.#inboxes = inboxes;
  }

  /** Unanswered messages, and requests that wait in virtqueues. */
  get queueDepth(): number {
    return this.#inboxes.reduce(
      (sum, inbox) => sum + loadMailboxCounts(this.#v, inbox).depth,
      loadDepth(this.#v.i32, this.#heart),
    );
  }

  /** `cpuMs`: processor time of the actor's thread so far. */
  turn(nowMs: number, cpuMs: () => number): void {
    const count = loadHeartbeat(this.#v.i32, this.#heart);
    if (count !== this.#count) {
      this.#count = count;
      this.#movedMs = nowMs;
    }
    this.heartbeatAgeMs = nowMs - this.#movedMs;
    const last = this.#reading;
    if (last !== undefined && nowMs - last.atMs < WINDOW_MS) return;
    const next = { atMs: nowMs, messages: this.#messages(), cpuMs: cpuMs() };
    this.#reading = next;
    if (last === undefined) return;
    const seconds = (nowMs - last.atMs) / 1000;
    this.messagesPerSecond = ((next.messages - last.messages) >>> 0) / seconds;
    this.cpuPercent = Math.max(0, next.cpuMs - last.cpuMs) / seconds / 10;
  }

  /** Modulo 2^32. */
  #messages(): number {
    const sent = this.#inboxes.reduce((sum, inbox) => sum + loadMailboxCounts(this.#v, inbox).sent, 0);
    return (sent + loadWork(this.#v.i32, this.#heart)) >>> 0;
  }
}
