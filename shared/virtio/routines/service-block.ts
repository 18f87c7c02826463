// What the routines that serve a virtqueue know of their device: a block of 32-bit words at the end of the device's state page,
// written anew by each generation before it calls them, and the segments of the request in hand. Nothing of it outlives the thread.
import { MAX_VCPUS, STATE_PAGE_BYTES } from '#shared/base/limits.js';
import type { Region } from '#shared/base/region.js';

// Byte offsets in the block. Arena offsets, where nothing else is said.
export const DOORBELL = 0;
export const HEARTBEAT = 4;
/** The word of notified queues in the register page. */
export const PENDING_QUEUES = 8;
/** PCI's command register. */
export const PCI_COMMAND_PLACE = 12;
/** The queue's block in the state page, queue-state.ts. */
export const QUEUE = 16;
export const RING_DESC = 20;
export const RING_AVAIL = 24;
export const RING_USED = 28;
/** Entries. */
export const RING_SIZE = 32;
/** RAM's start, and bytes below and above the hole. */
export const RAM = 36;
export const LOW_RAM = 40;
export const HIGH_RAM = 44;
export const CODE_MAP = 48;
/** 0 or 1: what was negotiated. */
export const EVENT_IDX = 52;
export const INDIRECT = 56;
/** 0 or 1. */
export const READ_ONLY = 60;
/** u64, in sectors. */
export const CAPACITY = 64;
/** Used index at the last interrupt; written by the routines, too. */
export const SIGNALLED_USED = 72;

/** MSI-X: the capability's flags, the table, and how many vectors it has. */
export const MSIX_FLAGS_PLACE = 112;
export const MSIX_TABLE = 116;
export const MSIX_VECTORS = 120;
/** The word of the ISR status. */
export const ISR_PLACE = 124;
/** 0 where the LAPICs are not the vCPUs' pages. */
export const VCPU_COUNT = 76;
/** Pairs of words: LAPIC page and PENDING word. */
export const VCPUS = 128;
export const VCPU_BYTES = 8;

// Of the request in hand.
export const HEAD = 80;
export const POSITION = 84;
/** Segments of the chain, the device-readable ones of them, and bytes of data: all but header and status. */
export const SEGMENT_COUNT = 88;
export const READABLE_COUNT = 92;
export const DATA_BYTES = 96;
/** VIRTIO_BLK_T_*. */
export const REQUEST_TYPE = 100;
/** u64. */
export const REQUEST_SECTOR = 104;
/** Pairs of words: arena offset and bytes. */
export const SEGMENTS = VCPUS + MAX_VCPUS * VCPU_BYTES;
export const SEGMENT_BYTES = 8;
/** A longer chain is served the usual way. */
export const MAX_SEGMENTS = 256;

const BLOCK_BYTES = SEGMENTS + MAX_SEGMENTS * SEGMENT_BYTES;

/** Where the block is in a state page. */
export function serviceBlock(page: Region): Region {
  return { offset: page.offset + STATE_PAGE_BYTES - BLOCK_BYTES, bytes: BLOCK_BYTES };
}

/** Writes words of the block, which begins at word index `block`: pairs of byte offset and value. */
export function fillServiceBlock(
  u32: Uint32Array,
  block: number,
  words: readonly (readonly [offset: number, value: number])[],
): void {
  for (const [offset, value] of words) u32[block + (offset >>> 2)] = value;
}
