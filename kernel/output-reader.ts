// Bytes from actors to the kernel's thread (the exec ports of the console): mailboxes `actor->kernel`, one doorbell. Lives
// in the event loop: waits without blocking it.
import { assert } from '#shared/base/error.js';
import {
  BELL_CONTROL,
  doorbellIndex,
  ringDoorbell,
  takeDoorbell,
  waitDoorbellAsync,
} from '#shared/ipc/doorbell.js';
import { MailboxReceiver } from '#shared/ipc/mailbox.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import { KERNEL_NAME, mailboxName, type MachineLayout } from '#shared/memory/machine-layout.js';

/** `kind`: the message's. The next message waits for the promise: that is how a slow reader holds the guest back. */
export type OutputListener = (kind: number, bytes: Uint8Array) => void | Promise<void>;

/** A missed wake-up costs this much, no more. */
const POLL_MS = 250;

export class OutputReader {
  readonly #views: ArenaViews;
  readonly #layout: MachineLayout;
  readonly #sources: { readonly receiver: MailboxReceiver; readonly listener: OutputListener }[] = [];
  #closed = false;
  #running: Promise<void> = Promise.resolve();

  constructor(views: ArenaViews, layout: MachineLayout) {
    this.#views = views;
    this.#layout = layout;
  }

  listen(actor: string, listener: OutputListener): void {
    const region = this.#layout.mailboxes[mailboxName(actor, KERNEL_NAME)];
    assert(region !== undefined, `${actor} sends to the kernel`);
    this.#sources.push({ receiver: new MailboxReceiver(this.#views, region), listener });
  }

  /** Reads until {@link close}. */
  start(): void {
    this.#running = this.#run();
  }

  /** Hands on what still stands in the rings, then ends. */
  async close(): Promise<void> {
    this.#closed = true;
    const kernel = this.#layout.actors[KERNEL_NAME]!;
    ringDoorbell(this.#views.i32, doorbellIndex(kernel.doorbell), BELL_CONTROL);
    await this.#running;
    await this.#drain();
  }

  async #run(): Promise<void> {
    const bell = doorbellIndex(this.#layout.actors[KERNEL_NAME]!.doorbell);
    const { i32 } = this.#views;
    while (!this.#closed) {
      takeDoorbell(i32, bell);
      await this.#drain();
      let arrived = false;
      for (const { receiver } of this.#sources) if (receiver.arm()) arrived = true;
      if (arrived) await new Promise((resolve) => setImmediate(resolve));
      else await waitDoorbellAsync(i32, bell, POLL_MS);
    }
  }

  async #drain(): Promise<void> {
    for (const { receiver, listener } of this.#sources) {
      for (let payload = receiver.peek(); payload >= 0; payload = receiver.peek()) {
        const bytes = this.#views.u8.slice(payload, payload + receiver.length);
        const kind = receiver.kind;
        receiver.complete();
        await listener(kind, bytes);
      }
    }
  }
}
