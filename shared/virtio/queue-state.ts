// One virtqueue's part of its device's state page: where the driver put the rings, how far the device came, and the
// in-flight set. 32-bit words, written by the device's thread alone. The arena is the truth; queue.ts's fields are a cache.

// Words of a queue's block.
export const QUEUE_SIZE = 0;
export const QUEUE_ENABLED = 1;
export const QUEUE_MSIX_VECTOR = 2;
/** Guest-physical addresses, low word first. */
export const QUEUE_DESC = 3;
export const QUEUE_DRIVER = 5;
export const QUEUE_DEVICE = 7;
/** The next position of the available ring to take, modulo 2^16. Everything before it is in flight or used. */
export const QUEUE_NEXT_AVAIL = 9;
/** The used index that the device published last and has accounted for. */
export const QUEUE_NEXT_USED = 10;
/** Position + 1 of the request whose used element is being published; 0 when none is. */
export const QUEUE_COMPLETING = 11;
/** A word of the device's that takes effect with that publication. */
export const QUEUE_COMMIT = 12;
export const QUEUE_HEADER_WORDS = 16;

// Words of an in-flight entry; the entry of a position is at position mod size.
export const ENTRY_VALID = 0;
/** position << 16 | head. */
export const ENTRY_REQUEST = 1;
export const ENTRY_MARK = 2;
export const ENTRY_WORDS = 4;

/** Words of the block of a queue of at most `maxSize` entries. */
export function queueStateWords(maxSize: number): number {
  return QUEUE_HEADER_WORDS + maxSize * ENTRY_WORDS;
}
