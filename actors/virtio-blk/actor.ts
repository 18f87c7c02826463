// The virtio-blk actor: a disk image behind a virtio-blk device. Everything that must outlive a generation is in the state
// page; the file is opened anew by each.
import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import { BLK_QUEUE_SIZE, SECTOR_BYTES } from '#shared/virtio/blk.js';
import { createVirtioBehaviour, type VirtioBehaviour } from '#shared/virtio/behaviour.js';
import { placeDeviceState } from '#shared/virtio/device-state.js';
import { VirtioBlk } from './device.js';
import type { VirtioBlkParams } from './protocol.js';
import { RawFile } from './raw-file.js';
import { RequestPath } from './request-path.js';
import { STATE_CAPACITY, STATE_WORDS } from './state.js';

export { warmUp } from './request-path.js';

export function createVirtioBlk(ctx: ActorContext): ActorBehaviour {
  const params = ctx.params as VirtioBlkParams;
  const backend = new RawFile(params.path, params.readonly);
  let behaviour: VirtioBehaviour | undefined = undefined;
  const capacitySectors = keepCapacity(ctx, backend.capacityBytes / SECTOR_BYTES);
  const device = new VirtioBlk({
    views: ctx.views,
    ram: ctx.ram,
    failpoint: ctx.failpoint,
    log: ctx.log,
    backend,
    serial: params.serial,
    capacitySectors,
    completed: (queue) => {
      ctx.beat();
      behaviour?.transport.signalQueue(queue);
    },
  });
  behaviour = createVirtioBehaviour(ctx, device, STATE_WORDS);
  const path = new RequestPath(ctx, device, behaviour, { capacitySectors, readonly: backend.readonly });
  return {
    ...behaviour,
    waitForWork: (timeoutMs) => path.waitForWork(timeoutMs),
    halt: () => backend.close(),
  };
}

/** The capacity that the first generation found. */
function keepCapacity(ctx: ActorContext, found: number): number {
  const { device } = placeDeviceState(ctx.statePage, [BLK_QUEUE_SIZE], STATE_WORDS);
  const word = (device >>> 2) + STATE_CAPACITY;
  const { u32 } = ctx.views;
  const kept = u32[word + 1]! * 0x1_0000_0000 + u32[word]!;
  if (kept !== 0) return kept;
  u32[word + 1] = Math.floor(found / 0x1_0000_0000);
  u32[word] = found % 0x1_0000_0000;
  return found;
}
