// How a halted vCPU waits. To sleep and be woken costs the host tens of microseconds on either side, so a vCPU whose last halts were
// short looks at its PENDING word for a while before it sleeps. The window follows the halts, as that of KVM's halt polling does
// (Linux, Documentation/virt/kvm/halt-polling.rst): it doubles after a short halt and is gone after a long one, so that an idle
// guest costs nothing.

import { loadPending, waitPending } from '#shared/x86/vcpu-words.js';

const FIRST_WINDOW_MS = 0.02;
/** Another vCPU's answer takes about so long; a halt that lasts longer is no short one. */
export const LONGEST_WINDOW_MS = 0.3;
/** Looks at the word between two looks at the clock. */
const LOOKS = 200;

export interface HaltSurroundings {
  nowMs(): number;
  /** Sleeps while the word is 0, at most `timeoutMs`. */
  sleep(i32: Int32Array, pending: number, timeoutMs: number): void;
}

const HOST: HaltSurroundings = { nowMs: () => performance.now(), sleep: waitPending };

export class HaltPoll {
  readonly #host: HaltSurroundings;
  /** For how long the next halt looks before it sleeps. */
  windowMs = 0;

  constructor(host: HaltSurroundings = HOST) {
    this.#host = host;
  }

  /** Until something is pending, at most `timeoutMs`. Blocks the thread. */
  wait(i32: Int32Array, pending: number, timeoutMs: number): void {
    const start = this.#host.nowMs();
    const spinMs = Math.min(this.windowMs, timeoutMs);
    let spentMs = 0;
    while (spentMs < spinMs) {
      for (let i = 0; i < LOOKS; i++) if (loadPending(i32, pending) !== 0) return;
      spentMs = this.#host.nowMs() - start;
    }
    if (timeoutMs > spentMs) this.#host.sleep(i32, pending, timeoutMs - spentMs);
    this.#adapt(this.#host.nowMs() - start);
  }

  #adapt(haltedMs: number): void {
    if (haltedMs > LONGEST_WINDOW_MS) this.windowMs = 0;
    else this.windowMs = Math.min(Math.max(this.windowMs * 2, FIRST_WINDOW_MS), LONGEST_WINDOW_MS);
  }
}
