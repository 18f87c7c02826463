// Asks other vCPUs to drop their TLBs and waits until they have: before a page's bytes are decoded nobody may still
// write it unseen. A vCPU that waits serves such requests itself, so two that wait for each other both go on.

import { signalWord } from '#shared/ipc/doorbell.js';
import { clearPending, countFlush, loadFlushCount, waitFlushCount } from '#shared/x86/vcpu-words.js';
import type { Region } from '#shared/base/region.js';
import { PENDING, PENDING_TLB_FLUSH, TLB_FLUSH_ACK } from '#shared/x86/cpu-state.js';

/** A vCPU that does not answer for so long has lost its thread; its replacement starts with an empty TLB. */
const GIVE_UP_MS = 2000;

export class FlushRequests {
  readonly #i32: Int32Array;
  readonly #states: readonly Region[];
  readonly #vcpu: number;
  readonly #flushOwn: () => void;

  constructor(i32: Int32Array, states: readonly Region[], vcpu: number, flushOwn: () => void) {
    this.#i32 = i32;
    this.#states = states;
    this.#vcpu = vcpu;
    this.#flushOwn = flushOwn;
  }

  /** Serves a request made to this vCPU, if there is one. */
  serve(): void {
    const state = this.#states[this.#vcpu]!.offset >>> 2;
    const before = clearPending(this.#i32, state + PENDING / 4, PENDING_TLB_FLUSH);
    if ((before & PENDING_TLB_FLUSH) === 0) return;
    this.#flushOwn();
    countFlush(this.#i32, state + TLB_FLUSH_ACK / 4);
  }

  /** Makes the vCPUs in `mask` (bit v mod 32), but for this one, flush; returns when they have. */
  request(mask: number): void {
    const waiting: { ack: number; seen: number }[] = [];
    for (let v = 0; v < this.#states.length; v++) {
      if (v === this.#vcpu || (mask & (1 << (v & 31))) === 0) continue;
      const state = this.#states[v]!.offset >>> 2;
      const ack = state + TLB_FLUSH_ACK / 4;
      waiting.push({ ack, seen: loadFlushCount(this.#i32, ack) });
      signalWord(this.#i32, state + PENDING / 4, PENDING_TLB_FLUSH);
    }
    for (const { ack, seen } of waiting) {
      for (let waitedMs = 0; loadFlushCount(this.#i32, ack) === seen && waitedMs < GIVE_UP_MS; waitedMs++) {
        this.serve();
        waitFlushCount(this.#i32, ack, seen, 1);
      }
    }
  }
}
