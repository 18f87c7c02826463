// Interrupt messages on the APIC "bus": which LAPICs a destination names, and what each delivery mode does to them.
// Intel SDM vol. 3 §11.6.2 (IPI destinations), §11.12.10 (x2APIC logical ids). Sources are ICR, MSI and IOAPIC. Leaves
// out SMI (there is no SMM), and arbitration: lowest priority takes the least TPR, then the least index.

import * as L from '#shared/x86/lapic-layout.js';
import { type InterruptFabric, acceptVector, loadLapic, signalVcpu } from '#shared/x86/interrupt-fabric.js';
import {
  PENDING_INIT,
  PENDING_INTERRUPT,
  PENDING_NMI,
  PENDING_NMI_AGAIN,
  PENDING_SIPI,
  SIPI_VECTOR,
} from '#shared/x86/cpu-state.js';

/** Broadcast in the destination field of xAPIC messages, MSI and IOAPIC entries, and of x2APIC's ICR. */
export const XAPIC_BROADCAST = 0xff;
export const X2APIC_BROADCAST = 0xffff_ffff;

/** The x2APIC logical id: cluster in the high half, a bit of 16 in the low half. SDM vol. 3 §11.12.10.2. */
export function x2apicLogicalId(id: number): number {
  return (((id >>> 4) << 16) | (1 << (id & 15))) >>> 0;
}

/**
 * Whether `destination` (u32; `broadcast` says its all-ones value) names this vCPU's LAPIC. A disabled LAPIC keeps
 * its id for INIT and SIPI, as the bus unit does on hardware.
 */
export function matchesDestination(
  fabric: InterruptFabric,
  vcpu: number,
  destination: number,
  logical: boolean,
  broadcast: number,
): boolean {
  if (destination >>> 0 === broadcast) return true;
  const x2apic = loadLapic(fabric, vcpu, L.LAPIC_MODE) === L.LAPIC_MODE_X2APIC;
  if (!logical) {
    const id = loadLapic(fabric, vcpu, x2apic ? L.LAPIC_X2APIC_ID : L.LAPIC_XAPIC_ID);
    return id >>> 0 === destination >>> 0;
  }
  if (x2apic) {
    const own = x2apicLogicalId(loadLapic(fabric, vcpu, L.LAPIC_X2APIC_ID));
    return destination >>> 16 === own >>> 16 && (destination & own & 0xffff) !== 0;
  }
  const own = loadLapic(fabric, vcpu, L.LAPIC_LDR) >>> 24;
  const flat = loadLapic(fabric, vcpu, L.LAPIC_DFR) >>> 28 === 0xf;
  if (flat) return (own & destination) !== 0;
  return own >>> 4 === ((destination >>> 4) & 0xf) && (own & destination & 0xf) !== 0;
}

/** Whether a LAPIC takes fixed interrupts: enabled in IA32_APIC_BASE and in SVR. */
export function acceptsFixed(fabric: InterruptFabric, vcpu: number): boolean {
  return (
    loadLapic(fabric, vcpu, L.LAPIC_MODE) !== L.LAPIC_MODE_DISABLED &&
    (loadLapic(fabric, vcpu, L.LAPIC_SVR) & L.SVR_APIC_ENABLED) !== 0
  );
}

/** Hands one message to one vCPU. True when it was taken. */
export function deliverToVcpu(
  fabric: InterruptFabric,
  vcpu: number,
  deliveryMode: number,
  vector: number,
  level: boolean,
): boolean {
  switch (deliveryMode) {
    case L.DELIVERY_FIXED:
    case L.DELIVERY_LOWEST_PRIORITY:
      if (vector < 16 || !acceptsFixed(fabric, vcpu)) return false;
      acceptVector(fabric, vcpu, vector, level);
      return true;
    case L.DELIVERY_NMI:
      // A processor latches a second one while the first waits.
      if ((signalVcpu(fabric, vcpu, PENDING_NMI) & PENDING_NMI) !== 0)
        signalVcpu(fabric, vcpu, PENDING_NMI_AGAIN);
      return true;
    case L.DELIVERY_INIT:
      signalVcpu(fabric, vcpu, PENDING_INIT);
      return true;
    case L.DELIVERY_STARTUP:
      Atomics.store(fabric.words, fabric.state[vcpu]! + (SIPI_VECTOR >> 2), vector);
      signalVcpu(fabric, vcpu, PENDING_SIPI);
      return true;
    case L.DELIVERY_EXTINT:
      Atomics.store(fabric.words, fabric.lapic[vcpu]! + (L.LAPIC_EXTINT_REQUEST >> 2), 1);
      signalVcpu(fabric, vcpu, PENDING_INTERRUPT);
      return true;
    default:
      return false;
  }
}

/** Delivers to every LAPIC that `destination` names, or to one of them in lowest-priority mode. True when taken. */
export function deliverMessage(
  fabric: InterruptFabric,
  destination: number,
  logical: boolean,
  broadcast: number,
  deliveryMode: number,
  vector: number,
  level: boolean,
): boolean {
  if (fabric.wire !== undefined) {
    const message = encodeMsi(destination, logical, deliveryMode, vector, level);
    return fabric.wire.sendMsi(message.addressLow, 0, message.data);
  }
  if (deliveryMode === L.DELIVERY_LOWEST_PRIORITY) {
    const vcpu = findLowestPriority(fabric, destination, logical, broadcast);
    return vcpu >= 0 && deliverToVcpu(fabric, vcpu, deliveryMode, vector, level);
  }
  let taken = false;
  for (let vcpu = 0; vcpu < fabric.vcpuCount; vcpu++) {
    if (!matchesDestination(fabric, vcpu, destination, logical, broadcast)) continue;
    if (deliverToVcpu(fabric, vcpu, deliveryMode, vector, level)) taken = true;
  }
  return taken;
}

/** A message of the IOAPIC as an MSI. SDM vol. 3 §11.11. Allocates: a line's interrupt, not a device's message. */
export function encodeMsi(
  destination: number,
  logical: boolean,
  deliveryMode: number,
  vector: number,
  level: boolean,
): { readonly addressLow: number; readonly data: number } {
  const hint = deliveryMode === L.DELIVERY_LOWEST_PRIORITY ? 8 : 0;
  const addressLow = (0xfee0_0000 | ((destination & 0xff) << 12) | hint | (logical ? 4 : 0)) >>> 0;
  return { addressLow, data: (level ? 0xc000 : 0) | (deliveryMode << 8) | vector };
}

function findLowestPriority(
  fabric: InterruptFabric,
  destination: number,
  logical: boolean,
  broadcast: number,
): number {
  let best = -1;
  let bestPriority = 256;
  for (let vcpu = 0; vcpu < fabric.vcpuCount; vcpu++) {
    if (!acceptsFixed(fabric, vcpu)) continue;
    if (!matchesDestination(fabric, vcpu, destination, logical, broadcast)) continue;
    const priority = loadLapic(fabric, vcpu, L.LAPIC_TPR) & 0xff;
    if (priority < bestPriority) {
      best = vcpu;
      bestPriority = priority;
    }
  }
  return best;
}
