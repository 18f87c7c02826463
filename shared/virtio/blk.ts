// virtio-blk, virtio-v1.2 §5.2: feature bits, configuration space, request layout, and its place on PCI. Leaves out
// multi-queue, lifetime, secure erase and zoned devices.
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';
import { VIRTIO_ID_BLOCK } from '#shared/virtio/constants.js';
import { featureSet, unionFeatures, type FeatureSet } from '#shared/virtio/feature-set.js';
import { virtioFunctionPlan } from '#shared/virtio/pci-layout.js';

// §5.2.3.
export const VIRTIO_BLK_F_SEG_MAX = 2;
export const VIRTIO_BLK_F_RO = 5;
export const VIRTIO_BLK_F_BLK_SIZE = 6;
export const VIRTIO_BLK_F_FLUSH = 9;
export const VIRTIO_BLK_F_DISCARD = 13;
export const VIRTIO_BLK_F_WRITE_ZEROES = 14;

// §5.2.6: request types and status.
export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;
export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;
/** type u32, reserved u32, sector u64. */
export const VIRTIO_BLK_REQ_HEADER_BYTES = 16;
export const VIRTIO_BLK_ID_BYTES = 20;
/** struct virtio_blk_discard_write_zeroes: sector u64, num_sectors u32, flags u32. */
export const VIRTIO_BLK_RANGE_BYTES = 16;
export const VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1;

export const SECTOR_BYTES = 512;
export const BLK_QUEUE_SIZE = 256;
/** What a request's header and status leave of a queue's descriptors. */
const SEG_MAX = BLK_QUEUE_SIZE - 2;
/** Of one range of discard or write zeroes: bounds the time that a request takes. */
export const MAX_RANGE_SECTORS = 8192;
export const MAX_RANGES = 1;
const CONFIG_BYTES = 60;
const CLASS_STORAGE_SCSI = 0x01_00_00;

export function blkFeatures(readonly: boolean): FeatureSet {
  const always = featureSet(VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH);
  const other = readonly
    ? featureSet(VIRTIO_BLK_F_RO)
    : featureSet(VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES);
  return unionFeatures(always, other);
}

/** struct virtio_blk_config, §5.2.4. */
export function blkConfig(capacitySectors: number): Uint8Array {
  const bytes = new Uint8Array(CONFIG_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(capacitySectors), true);
  view.setUint32(12, SEG_MAX, true);
  view.setUint32(20, SECTOR_BYTES, true); // blk_size
  view.setUint16(34, 1, true); // num_queues
  view.setUint32(36, MAX_RANGE_SECTORS, true); // max_discard_sectors
  view.setUint32(40, MAX_RANGES, true); // max_discard_seg
  view.setUint32(44, 1, true); // discard_sector_alignment
  view.setUint32(48, MAX_RANGE_SECTORS, true); // max_write_zeroes_sectors
  view.setUint32(52, MAX_RANGES, true); // max_write_zeroes_seg
  return bytes;
}

/** `actor`: who serves the disk. */
export function blkFunctionPlan(actor: string): PciFunctionPlan {
  return virtioFunctionPlan({
    actor,
    deviceId: VIRTIO_ID_BLOCK,
    classCode: CLASS_STORAGE_SCSI,
    queueCount: 1,
  });
}
