// Builds the image of a function's configuration space and its write mask, before addresses are assigned: identity,
// capability list, and which bits are the guest's to write. PCI Local Bus 3.0 §6.2, §6.7. BARs and the command
// register's start value are filled in by kernel/arena-plan.ts.
import { assert } from '#shared/base/error.js';
import {
  PCI_CACHE_LINE_SIZE,
  PCI_CAPABILITY_LIST,
  PCI_CLASS,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_SERR,
  PCI_DEVICE_ID,
  PCI_HEADER_BYTES,
  PCI_INTERRUPT_LINE,
  PCI_LEGACY_CONFIG_BYTES,
  PCI_REVISION_ID,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
  PCI_VENDOR_ID,
} from '#shared/pci/registers.js';

export interface PciIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revisionId: number;
  /** Base class << 16 | sub-class << 8 | programming interface. */
  readonly classCode: number;
  readonly subsystemVendorId: number;
  readonly subsystemId: number;
}

/** Bytes 0–255 of a function's configuration space, under construction. */
export class ConfigImage {
  readonly config = new Uint8Array(PCI_LEGACY_CONFIG_BYTES);
  readonly writeMask = new Uint8Array(PCI_LEGACY_CONFIG_BYTES);
  readonly #config = new DataView(this.config.buffer);
  readonly #mask = new DataView(this.writeMask.buffer);
  #end = PCI_HEADER_BYTES;
  /** Where the next capability's offset is to be written. */
  #link = PCI_CAPABILITY_LIST;

  constructor(identity: PciIdentity) {
    const view = this.#config;
    view.setUint16(PCI_VENDOR_ID, identity.vendorId, true);
    view.setUint16(PCI_DEVICE_ID, identity.deviceId, true);
    view.setUint8(PCI_REVISION_ID, identity.revisionId);
    view.setUint8(PCI_CLASS, identity.classCode & 0xff);
    view.setUint16(PCI_CLASS + 1, identity.classCode >>> 8, true);
    view.setUint16(PCI_SUBSYSTEM_VENDOR_ID, identity.subsystemVendorId, true);
    view.setUint16(PCI_SUBSYSTEM_ID, identity.subsystemId, true);
    const command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE;
    this.#mask.setUint16(PCI_COMMAND, command, true);
    this.#mask.setUint8(PCI_CACHE_LINE_SIZE, 0xff);
    this.#mask.setUint8(PCI_INTERRUPT_LINE, 0xff);
  }

  /** Appends a capability; `body` and `mask` start after the id and the link. Returns its offset. */
  addCapability(id: number, body: Uint8Array, mask?: Uint8Array): number {
    const at = (this.#end + 3) & ~3;
    this.#end = at + 2 + body.length;
    assert(this.#end <= this.config.length, 'capabilities fit into 256 bytes');
    this.config[this.#link] = at;
    this.#link = at + 1;
    this.config[at] = id;
    this.config.set(body, at + 2);
    if (mask !== undefined) this.writeMask.set(mask, at + 2);
    const status = this.#config.getUint16(PCI_STATUS, true);
    this.#config.setUint16(PCI_STATUS, status | PCI_STATUS_CAP_LIST, true);
    return at;
  }
}
