// A vCPU's end of the mailboxes to and from the compiler actor.

import type { ActorContext } from '#shared/ipc/actor.js';
import { assert } from '#shared/base/error.js';
import { MailboxReceiver, MailboxSender } from '#shared/ipc/mailbox.js';
import { mailboxName } from '#shared/memory/machine-layout.js';
import { HeadFilter } from '#shared/translate/head-filter.js';
import type { RegionRequest } from '#shared/translate/region-request.js';
import type { CompiledModule, RegionService } from '#shared/translate/region-service.js';
import {
  ASK_BYTES,
  ASK_KIND,
  COMPILER_NAME,
  REQUEST_HEADER_BYTES,
  REQUEST_KIND,
  decodeAnswer,
  headFilterRegion,
} from '#actors/compiler/protocol.js';

/** Undefined in a machine without a compiler. */
export function openCompilerLink(ctx: ActorContext): RegionService | undefined {
  const outgoing = ctx.layout.mailboxes[mailboxName(ctx.name, COMPILER_NAME)];
  const incoming = ctx.layout.mailboxes[mailboxName(COMPILER_NAME, ctx.name)];
  if (outgoing === undefined || incoming === undefined) return undefined;
  const compiler = ctx.layout.actors[COMPILER_NAME];
  assert(compiler !== undefined, 'who has mailboxes is an actor');
  const { views } = ctx;
  const sender = new MailboxSender(views, outgoing, compiler.doorbell, {
    ...ctx.senderOptions,
    postsOnly: true,
  });
  const receiver = new MailboxReceiver(views, incoming);
  const heads = new HeadFilter(views.buffer, headFilterRegion(compiler.statePage));
  return {
    submit: (ticket: number, request: RegionRequest, exact: boolean, address: bigint): boolean => {
      const length = REQUEST_HEADER_BYTES + request.bytes.length;
      if (!sender.hasRoom || length > sender.payloadBytes) return false;
      const payload = sender.reserve();
      views.u32[payload >>> 2] = ticket;
      views.u32[(payload >>> 2) + 1] = exact ? 1 : 0;
      views.u32[(payload >>> 2) + 2] = Number(address & 0xffff_ffffn);
      views.u32[(payload >>> 2) + 3] = Number(address >> 32n);
      views.u8.set(request.bytes, payload + REQUEST_HEADER_BYTES);
      sender.post(payload, REQUEST_KIND, length);
      return true;
    },
    take: (): CompiledModule | undefined => {
      for (;;) {
        const payload = receiver.peek();
        if (payload < 0) return undefined;
        const answer = decodeAnswer(views.u8.subarray(payload, payload + receiver.length));
        receiver.complete();
        if (answer !== undefined) return answer;
      }
    },
    offers: {
      mayHave: (head: number): boolean => heads.has(head),
      ask: (ticket: number, head: number): boolean => {
        if (!sender.hasRoom) return false;
        const payload = sender.reserve();
        views.u32[payload >>> 2] = ticket;
        views.u32[(payload >>> 2) + 1] = head;
        sender.post(payload, ASK_KIND, ASK_BYTES);
        return true;
      },
    },
  };
}
