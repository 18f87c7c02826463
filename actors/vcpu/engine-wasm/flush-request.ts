// Asks other vCPUs to drop their TLBs and waits until they have: before a page's bytes are decoded nobody may still
// write it unseen. A vCPU that waits serves such requests itself, so two that wait for each other both go on. One outside its
// engine (halted, paused, or its thread being replaced) writes nothing, and looks at the request before it does.

import { signalWord } from '#shared/ipc/doorbell.js';
import {
  clearPending,
  countFlush,
  isInsideEngine,
  loadFlushCount,
  waitFlushCount,
} from '#shared/x86/vcpu-words.js';
import type { Region } from '#shared/base/region.js';
import { INSIDE_ENGINE, PENDING, PENDING_TLB_FLUSH, TLB_FLUSH_ACK } from '#shared/x86/cpu-state.js';

/** A vCPU that leaves its engine wakes nobody who waits for its flush: one looks again after this. */
const LOOK_AGAIN_MS = 1;

export class FlushRequests {
  readonly #i32: Int32Array;
  readonly #states: readonly Region[];
  readonly #vcpu: number;
  readonly #flushOwn: () => void;
  readonly #beat: () => void;

  /** `beat` shows life while this vCPU waits. */
  constructor(
    i32: Int32Array,
    states: readonly Region[],
    vcpu: number,
    flushOwn: () => void,
    beat: () => void,
  ) {
    this.#i32 = i32;
    this.#states = states;
    this.#vcpu = vcpu;
    this.#flushOwn = flushOwn;
    this.#beat = beat;
  }

  /** Serves a request made to this vCPU, if there is one. */
  serve(): void {
    const state = this.#states[this.#vcpu]!.offset >>> 2;
    const before = clearPending(this.#i32, state + PENDING / 4, PENDING_TLB_FLUSH);
    if ((before & PENDING_TLB_FLUSH) === 0) return;
    this.#flushOwn();
    countFlush(this.#i32, state + TLB_FLUSH_ACK / 4);
  }

  /**
   * Makes the vCPUs in `mask` (bit v mod 32), but for this one, flush; returns when each has, or is where it will before it runs guest code. One
   * that does neither hangs inside its engine: that is its heartbeat's watch's business, and the machine ends.
   */
  request(mask: number): void {
    const waiting: { state: number; seen: number }[] = [];
    for (let v = 0; v < this.#states.length; v++) {
      if (v === this.#vcpu || (mask & (1 << (v & 31))) === 0) continue;
      const state = this.#states[v]!.offset >>> 2;
      waiting.push({ state, seen: loadFlushCount(this.#i32, state + TLB_FLUSH_ACK / 4) });
      signalWord(this.#i32, state + PENDING / 4, PENDING_TLB_FLUSH);
    }
    for (const { state, seen } of waiting) {
      const ack = state + TLB_FLUSH_ACK / 4;
      while (
        loadFlushCount(this.#i32, ack) === seen &&
        isInsideEngine(this.#i32, state + INSIDE_ENGINE / 4)
      ) {
        this.serve();
        this.#beat();
        waitFlushCount(this.#i32, ack, seen, LOOK_AGAIN_MS);
      }
    }
  }
}
