// Looks through a machine's mailboxes for publications that were lost after their sender had gone on to other things: no later
// message covers such a one up, and the sender waits for no answer. What stands so for two looks is made good.
import { doorbellIndex } from '#shared/ipc/doorbell.js';
import {
  findLostPublication,
  loadMailboxCounts,
  republish,
  type MailboxCounts,
} from '#shared/ipc/mailbox-layout.js';
import type { Region } from '#shared/base/region.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { MachineLayout } from '#shared/memory/machine-layout.js';

const PERIOD_MS = 100;

interface Audited {
  readonly name: string;
  readonly region: Region;
  /** The receiver's. */
  readonly bell: number;
  /** Lost at the last look. */
  lost: number | undefined;
}

export class MailboxAudit {
  readonly #views: ArenaViews;
  readonly #mailboxes: readonly Audited[];
  #timer: NodeJS.Timeout | undefined;

  constructor(views: ArenaViews, layout: MachineLayout) {
    this.#views = views;
    this.#mailboxes = Object.entries(layout.mailboxes).map(([name, region]) => {
      const receiver = name.slice(name.indexOf('->') + 2);
      return { name, region, bell: doorbellIndex(layout.actors[receiver]!.doorbell), lost: undefined };
    });
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), PERIOD_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  look(): void {
    for (const mailbox of this.#mailboxes) {
      const { region, bell, lost } = mailbox;
      mailbox.lost = findLostPublication(this.#views, region);
      if (lost !== undefined && mailbox.lost === lost) republish(this.#views, region, lost, bell);
    }
  }

  counts(): ReadonlyMap<string, MailboxCounts> {
    return new Map(this.#mailboxes.map(({ name, region }) => [name, loadMailboxCounts(this.#views, region)]));
  }
}
