// The state page of a virtio device, version 1: a header with what the transport negotiated, one block a queue, then the
// device's own words. 32-bit words, written by the device's thread alone, kept across restarts; zero means power-on.
import type { Region } from '#shared/base/region.js';
import { assert } from '#shared/base/error.js';
import { queueStateWords } from '#shared/virtio/queue-state.js';

/** 'VIO1'. */
export const STATE_MAGIC = 0x3149_4f56;

// Words of the header; names follow virtio-v1.2 §4.1.4.3.
export const STATE_FORMAT = 0;
export const STATE_DEVICE_ID = 1;
export const DEVICE_STATUS = 2;
export const DEVICE_FEATURE_SELECT = 3;
export const DRIVER_FEATURE_SELECT = 4;
/** Two words, low first. */
export const DRIVER_FEATURE = 5;
export const CONFIG_MSIX_VECTOR = 7;
export const QUEUE_SELECT = 8;
export const CONFIG_GENERATION = 9;
export const ISR_STATUS = 10;
export const ISR_QUEUE = 1; // §4.1.4.5
export const ISR_CONFIG = 2;
/** 1 from before a change of configuration or of DEVICE_NEEDS_RESET until its interrupt is sent. */
export const CONFIG_CHANGING = 11;
export const STATE_HEADER_WORDS = 16;

/** Byte offsets in the arena. */
export interface DeviceStatePlaces {
  readonly header: number;
  readonly queues: readonly number[];
  /** Where the device's own words start. */
  readonly device: number;
  readonly end: number;
}

/** Divides a state page between transport, queues and device. */
export function placeDeviceState(
  page: Region,
  queueSizes: readonly number[],
  deviceWords: number,
): DeviceStatePlaces {
  let at = page.offset + 4 * STATE_HEADER_WORDS;
  const queues = queueSizes.map((size) => {
    const start = at;
    at += 4 * queueStateWords(size);
    return start;
  });
  const end = at + 4 * deviceWords;
  assert(end <= page.offset + page.bytes, 'device state fits into its page');
  return { header: page.offset, queues, device: at, end };
}
