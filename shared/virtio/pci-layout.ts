// How a virtio device looks on PCI: ids, the capabilities that say where its register structures are, BAR 0 with those
// structures and BAR 1 with the MSI-X table and PBA. virtio-v1.2 §4.1.2, §4.1.4. Modern only: no legacy or transitional
// interface, no INTx.
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';
import { ConfigImage } from '#shared/pci/config-image.js';
import type { MsixPlace } from '#shared/pci/msix.js';
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_ID_VNDR,
  PCI_HEADER_BYTES,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
} from '#shared/pci/registers.js';

export const VIRTIO_PCI_VENDOR_ID = 0x1af4;
/** + the device's virtio id, §4.1.2.1. */
export const VIRTIO_PCI_DEVICE_ID_BASE = 0x1040;
const REVISION_ID = 1;
const SUBSYSTEM_ID = 0x1100;

// §4.1.4: structure types.
export const VIRTIO_PCI_CAP_COMMON_CFG = 1;
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2;
export const VIRTIO_PCI_CAP_ISR_CFG = 3;
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4;
export const VIRTIO_PCI_CAP_PCI_CFG = 5;

/** Register structures in BAR 0; the actor sees the same offsets. */
export const REGISTER_BAR = 0;
export const REGISTER_BAR_BYTES = 0x4000;
export const COMMON_CFG_OFFSET = 0x0000;
export const ISR_CFG_OFFSET = 0x1000;
export const DEVICE_CFG_OFFSET = 0x2000;
export const NOTIFY_CFG_OFFSET = 0x3000;
export const STRUCTURE_BYTES = 0x1000;
export const COMMON_CFG_BYTES = 60;
/** queue_notify_off of queue q is q. */
export const NOTIFY_OFF_MULTIPLIER = 4;
/** Of the 32-bit word of notified queues in the actor's register page. */
export const PENDING_QUEUES_OFFSET = 0;
/** That word has a bit a queue. */
export const MAX_QUEUES = 32;

export const MSIX_BAR = 1;
export const MSIX_BAR_BYTES = 0x1000;
export const MSIX_PBA_OFFSET = 0x800;
export const MSIX_CAPABILITY_OFFSET = PCI_HEADER_BYTES;

export interface VirtioPciIdentity {
  /** The actor that serves it. */
  readonly actor: string;
  /** VIRTIO_ID_*. */
  readonly deviceId: number;
  /** PCI base class << 16 | sub-class << 8 | interface. */
  readonly classCode: number;
  readonly queueCount: number;
}

/** One vector for configuration changes, one a queue. */
export function vectorCount(queueCount: number): number {
  return queueCount + 1;
}

export function msixPlace(queueCount: number): MsixPlace {
  return {
    capability: MSIX_CAPABILITY_OFFSET,
    vectors: vectorCount(queueCount),
    pbaOffset: MSIX_PBA_OFFSET,
  };
}

export function virtioFunctionPlan(identity: VirtioPciIdentity): PciFunctionPlan {
  const image = new ConfigImage({
    vendorId: VIRTIO_PCI_VENDOR_ID,
    deviceId: VIRTIO_PCI_DEVICE_ID_BASE + identity.deviceId,
    revisionId: REVISION_ID,
    classCode: identity.classCode,
    subsystemVendorId: VIRTIO_PCI_VENDOR_ID,
    subsystemId: SUBSYSTEM_ID,
  });
  addMsix(image, vectorCount(identity.queueCount));
  addStructure(image, VIRTIO_PCI_CAP_COMMON_CFG, COMMON_CFG_OFFSET, COMMON_CFG_BYTES);
  addStructure(image, VIRTIO_PCI_CAP_ISR_CFG, ISR_CFG_OFFSET, 1);
  addStructure(image, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_CFG_OFFSET, STRUCTURE_BYTES);
  const notifyBytes = identity.queueCount * NOTIFY_OFF_MULTIPLIER;
  const multiplier = [NOTIFY_OFF_MULTIPLIER, 0, 0, 0];
  addStructure(image, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_CFG_OFFSET, notifyBytes, multiplier);
  addConfigAccess(image);
  const registers = { bar: REGISTER_BAR, length: STRUCTURE_BYTES, write: 'posted' as const };
  return {
    actor: identity.actor,
    config: image.config,
    writeMask: image.writeMask,
    msixBytes: MSIX_BAR_BYTES,
    bars: [
      { index: REGISTER_BAR, bytes: REGISTER_BAR_BYTES, is64: false },
      { index: MSIX_BAR, bytes: MSIX_BAR_BYTES, is64: false },
    ],
    windows: [
      { ...registers, offset: COMMON_CFG_OFFSET, base: COMMON_CFG_OFFSET },
      { ...registers, offset: ISR_CFG_OFFSET, base: ISR_CFG_OFFSET },
      { ...registers, offset: DEVICE_CFG_OFFSET, base: DEVICE_CFG_OFFSET },
      {
        ...registers,
        offset: NOTIFY_CFG_OFFSET,
        length: notifyBytes,
        base: NOTIFY_CFG_OFFSET,
        doorbell: { pending: PENDING_QUEUES_OFFSET, stride: NOTIFY_OFF_MULTIPLIER },
      },
      { bar: MSIX_BAR, offset: 0, length: MSIX_BAR_BYTES, base: 0, write: 'posted', msixOffset: 0 },
    ],
  };
}

/** PCI 3.0 §6.8.2.3: table size − 1; only ENABLE and MASKALL are writable. */
function addMsix(image: ConfigImage, vectors: number): void {
  const body = new Uint8Array(10);
  const view = new DataView(body.buffer);
  view.setUint16(0, vectors - 1, true);
  view.setUint32(2, MSIX_BAR, true);
  view.setUint32(6, MSIX_PBA_OFFSET | MSIX_BAR, true);
  const mask = new Uint8Array(10);
  new DataView(mask.buffer).setUint16(0, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, true);
  image.addCapability(PCI_CAP_ID_MSIX, body, mask);
}

/** struct virtio_pci_cap without id and link: cap_len, cfg_type, bar, id, padding, offset, length; §4.1.4. */
function structureBody(type: number, bar: number, offset: number, length: number, extra: number): Uint8Array {
  const body = new Uint8Array(14 + extra);
  const view = new DataView(body.buffer);
  body[0] = 2 + body.length;
  body[1] = type;
  body[2] = bar;
  view.setUint32(6, offset, true);
  view.setUint32(10, length, true);
  return body;
}

function addStructure(
  image: ConfigImage,
  type: number,
  offset: number,
  length: number,
  extra: readonly number[] = [],
): void {
  const body = structureBody(type, REGISTER_BAR, offset, length, extra.length);
  body.set(extra, 14);
  image.addCapability(PCI_CAP_ID_VNDR, body);
}

/** §4.1.4.9: bar, offset, length and the 4 data bytes are the driver's to write. */
function addConfigAccess(image: ConfigImage): void {
  const body = structureBody(VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0, 4);
  const mask = new Uint8Array(body.length).fill(0xff, 6);
  mask[2] = 0xff;
  image.addCapability(PCI_CAP_ID_VNDR, body, mask);
}
