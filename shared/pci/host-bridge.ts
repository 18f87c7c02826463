// Function 00:00.0: the host bridge. It has no registers of its own beyond the header; a generic vendor and device for
// which Linux has no quirk. Its private words in the arena hold the latch of CONFIG_ADDRESS (port CF8, PCI 3.0
// §3.2.2.3.2), which all vCPUs share as on hardware.
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';
import { ConfigImage } from '#shared/pci/config-image.js';

const HOST_BRIDGE_VENDOR_ID = 0x1b36;
const HOST_BRIDGE_DEVICE_ID = 0x0008;
const CLASS_BRIDGE_HOST = 0x06_00_00;
const PRIVATE_BYTES = 64;

/** `actor`: whose doorbell rings when a guest writes the bridge's config space; it may ignore it. */
export function hostBridgePlan(actor: string): PciFunctionPlan {
  const image = new ConfigImage({
    vendorId: HOST_BRIDGE_VENDOR_ID,
    deviceId: HOST_BRIDGE_DEVICE_ID,
    revisionId: 0,
    classCode: CLASS_BRIDGE_HOST,
    subsystemVendorId: 0x1af4,
    subsystemId: 0x1100,
  });
  return {
    actor,
    config: image.config,
    writeMask: image.writeMask,
    msixBytes: PRIVATE_BYTES,
    bars: [],
    windows: [],
  };
}
