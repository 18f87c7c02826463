// The virtio-rng actor: the host's entropy for the guest.
import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import { createVirtioBehaviour } from '#shared/virtio/behaviour.js';
import { VirtioRng } from './device.js';
import { STATE_WORDS } from './state.js';

export function createVirtioRng(ctx: ActorContext): ActorBehaviour {
  // Not imported: every spare thread loads this file, and that module takes it 5 ms.
  const { randomFillSync } = process.getBuiltinModule('node:crypto');
  const device = new VirtioRng({
    views: ctx.views,
    ram: ctx.ram,
    failpoint: ctx.failpoint,
    fillRandom: (target) => void randomFillSync(target),
  });
  return createVirtioBehaviour(ctx, device, STATE_WORDS);
}
