// What a kind of virtio device is to its transport: identity, features, queues, configuration space, and what to do
// with requests. virtio-v1.2 §2. Devices hold no state that must outlive them but in their state words.
import type { DeviceQueue, QueueError } from '#shared/virtio/queue.js';
import type { FeatureSet } from '#shared/virtio/feature-set.js';

/** What a guest can do wrong to a device: the device then says DEVICE_NEEDS_RESET. */
export type GuestError = QueueError | 'request-malformed';

/** How {@link VirtioDevice.serve} left a queue. */
export type ServeResult =
  /** Nothing more to do until the next notification. */
  | { readonly kind: 'idle' }
  /** The share of this turn is used up: call again. */
  | { readonly kind: 'more' }
  | { readonly kind: 'error'; readonly error: GuestError };

export const SERVE_IDLE: ServeResult = { kind: 'idle' };
export const SERVE_MORE: ServeResult = { kind: 'more' };

export interface VirtioDevice {
  /** VIRTIO_ID_*. */
  readonly deviceId: number;
  /** Of the device type; the transport adds its own. */
  readonly features: FeatureSet;
  /** Largest sizes, powers of two; one a queue, at most 32. */
  readonly queueSizes: readonly number[];
  /** The device-specific configuration space as it is now. */
  readonly config: Uint8Array;
  /** The driver wrote device-specific configuration; most devices have nothing to write. */
  writeConfig?(offset: number, size: number, value: number): void;
  /** The driver has set DRIVER_OK with these features, or a new generation found it set. */
  start(features: FeatureSet): void;
  /**
   * After a restart, before anything is served: the guest saw the completion that this word was committed with, the
   * device may not have acted on it. Must bear being called again.
   */
  recoverCommit?(queue: number, word: number): void;
  /** Serves a queue; bounded work. */
  serve(index: number, queue: DeviceQueue): ServeResult;
  /** The driver reset one queue, or `undefined`: the whole device. */
  reset(index?: number): void;
}
