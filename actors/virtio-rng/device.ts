// virtio-rng as a device: fills what the driver offers with the host's random numbers. virtio-v1.2 §5.4. At-least-once: a
// buffer that is filled again holds other random numbers, which no guest can tell.
import type { Failpoint } from '#shared/ipc/failpoint.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { VIRTIO_ID_RNG } from '#shared/virtio/constants.js';
import { DescriptorChain } from '#shared/virtio/descriptor-chain.js';
import { SERVE_IDLE, SERVE_MORE, type ServeResult, type VirtioDevice } from '#shared/virtio/device.js';
import { featureSet } from '#shared/virtio/feature-set.js';
import type { DeviceQueue } from '#shared/virtio/queue.js';
import { RNG_QUEUE_SIZE } from '#shared/virtio/rng.js';

const TURN_REQUESTS = 64;
/** Of one request: a longer buffer comes back partly filled, as §5.4.6 allows. */
const MAX_FILL_BYTES = 64 * 1024;

export interface RngEnvironment {
  readonly views: ArenaViews;
  readonly ram: GuestMemory;
  readonly failpoint: Failpoint;
  /** Fills `target` with random bytes; it is never shared memory, which the host's generator refuses. */
  readonly fillRandom: (target: Uint8Array) => void;
}

export class VirtioRng implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_RNG;
  readonly features = featureSet();
  readonly queueSizes = [RNG_QUEUE_SIZE];
  readonly config = new Uint8Array(0);
  readonly #env: RngEnvironment;
  readonly #chain: DescriptorChain;
  readonly #random = new Uint8Array(MAX_FILL_BYTES);

  constructor(env: RngEnvironment) {
    this.#env = env;
    this.#chain = new DescriptorChain(env.views, env.ram);
  }

  start(): void {}

  reset(): void {}

  serve(_index: number, queue: DeviceQueue): ServeResult {
    const chain = this.#chain;
    for (let requests = 0; requests < TURN_REQUESTS; requests++) {
      const taken = queue.take(chain);
      if (taken.kind === 'error') return taken;
      if (taken.kind === 'empty') {
        if (queue.arm()) continue;
        return SERVE_IDLE;
      }
      if (chain.writableBytes === 0) return { kind: 'error', error: 'request-malformed' };
      const bytes = this.#random.subarray(0, Math.min(chain.writableBytes, MAX_FILL_BYTES));
      this.#env.fillRandom(bytes);
      chain.copyToWritable(0, bytes);
      this.#env.failpoint('request.executed');
      queue.complete(chain, bytes.length);
    }
    return SERVE_MORE;
  }
}
