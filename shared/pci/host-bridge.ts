// The PCI host bridge as a function of bus 0: slot 0, no BARs, nothing that a guest may write. PCI 3.0 §6.1. The ids are
// those of QEMU's generic PCIe host bridge, which every guest knows and none has a driver for.
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';

const PCI_VENDOR_ID_REDHAT = 0x1b36;
const PCI_DEVICE_ID_REDHAT_PCIE_HOST = 0x0008;
const PCI_CLASS_BRIDGE_HOST = 0x0600;
const HEADER_BYTES = 64;

/** `actor`: who hears of changes to config space; there are none. */
export function hostBridgePlan(actor: string): PciFunctionPlan {
  const config = new Uint8Array(HEADER_BYTES);
  const view = new DataView(config.buffer);
  view.setUint16(0x00, PCI_VENDOR_ID_REDHAT, true);
  view.setUint16(0x02, PCI_DEVICE_ID_REDHAT_PCIE_HOST, true);
  view.setUint16(0x0a, PCI_CLASS_BRIDGE_HOST, true);
  return { actor, config, writeMask: new Uint8Array(HEADER_BYTES), msixBytes: 0, bars: [], windows: [] };
}
