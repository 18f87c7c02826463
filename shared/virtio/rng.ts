// virtio-rng, the entropy device, virtio-v1.2 §5.4: one queue of buffers to fill; no features, no configuration.
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';
import { VIRTIO_ID_RNG } from '#shared/virtio/constants.js';
import { virtioFunctionPlan } from '#shared/virtio/pci-layout.js';

export const RNG_QUEUE_SIZE = 64;
const CLASS_OTHER = 0xff_00_00;

/** `actor`: who serves it. */
export function rngFunctionPlan(actor: string): PciFunctionPlan {
  return virtioFunctionPlan({ actor, deviceId: VIRTIO_ID_RNG, classCode: CLASS_OTHER, queueCount: 1 });
}
