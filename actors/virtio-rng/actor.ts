// The virtio-rng actor: the host's entropy for the guest.
import { randomFillSync } from 'node:crypto';
import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import { createVirtioBehaviour } from '#shared/virtio/behaviour.js';
import { VirtioRng } from './device.js';
import { STATE_WORDS } from './state.js';

export function createVirtioRng(ctx: ActorContext): ActorBehaviour {
  const device = new VirtioRng({
    views: ctx.views,
    ram: ctx.ram,
    failpoint: ctx.failpoint,
    fillRandom: (target) => void randomFillSync(target),
  });
  return createVirtioBehaviour(ctx, device, STATE_WORDS);
}
