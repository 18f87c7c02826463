// Bytes from the kernel's thread to a console actor: cut to messages, posted without waiting, kept here while the ring is
// full. The kernel's thread must never block, so it looks again after a moment.
import { assert } from '#shared/base/error.js';
import { MailboxSender } from '#shared/ipc/mailbox.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import { KERNEL_NAME, mailboxName, type MachineLayout } from '#shared/memory/machine-layout.js';

const RETRY_MS = 5;

export class InputQueue {
  readonly #sender: MailboxSender;
  readonly #waiting: { readonly kind: number; readonly bytes: Uint8Array }[] = [];
  readonly #onRoom: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** `source`: the sender's name in the mailbox's; a console has a mailbox a port. */
  constructor(views: ArenaViews, layout: MachineLayout, actor: string, source: string = KERNEL_NAME) {
    const region = layout.mailboxes[mailboxName(source, actor)];
    const receiver = layout.actors[actor];
    assert(region !== undefined && receiver !== undefined, `${actor} takes input`);
    this.#sender = new MailboxSender(views, region, receiver.doorbell);
  }

  /** `kind`: the messages'. No bytes are a message too. Resolves when the actor has room again, or is gone. */
  async push(kind: number, bytes: Uint8Array): Promise<void> {
    const most = this.#sender.payloadBytes;
    for (let at = 0; at === 0 || at < bytes.length; at += most) {
      this.#waiting.push({ kind, bytes: bytes.slice(at, at + most) });
    }
    this.#drain();
    if (this.#waiting.length === 0 || this.#closed) return;
    await new Promise<void>((resolve) => this.#onRoom.push(resolve));
  }

  close(): void {
    this.#closed = true;
    for (const resolve of this.#onRoom.splice(0)) resolve();
    clearTimeout(this.#timer);
  }

  #drain(): void {
    clearTimeout(this.#timer);
    while (this.#waiting.length > 0 && !this.#closed) {
      const { kind, bytes } = this.#waiting[0]!;
      if (!this.#sender.tryCast(kind, bytes)) {
        this.#timer = setTimeout(() => this.#drain(), RETRY_MS);
        return;
      }
      this.#waiting.shift();
    }
    for (const resolve of this.#onRoom.splice(0)) resolve();
  }
}
