// A vCPU's end of the mailboxes to and from the compiler actor.

import type { ActorContext } from '#shared/ipc/actor.js';
import { assert } from '#shared/base/error.js';
import { MailboxReceiver, MailboxSender } from '#shared/ipc/mailbox.js';
import { mailboxName } from '#shared/memory/machine-layout.js';
import type { RegionRequest } from '#shared/translate/region-request.js';
import type { CompiledModule, RegionService } from '#shared/translate/region-service.js';
import {
  COMPILER_NAME,
  REQUEST_HEADER_BYTES,
  REQUEST_KIND,
  decodeAnswer,
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
  return {
    submit: (ticket: number, request: RegionRequest, address: bigint): boolean => {
      const length = REQUEST_HEADER_BYTES + request.bytes.length;
      if (!sender.hasRoom || length > sender.payloadBytes) return false;
      const payload = sender.reserve();
      views.u32[payload >>> 2] = ticket;
      views.u32[(payload >>> 2) + 1] = Number(address & 0xffff_ffffn);
      views.u32[(payload >>> 2) + 2] = Number(address >> 32n);
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
  };
}
