// How devices interrupt the guest: a message (MSI, MSI-X), or a line (GSI) into the IOAPIC and, below 16, the 8259
// pair. Callable from any thread, lock-free, without a hop to the chipset actor. PCI Local Bus 3.0 §6.8,
// SDM vol. 3 §11.11 (message address and data), ACPI 6.5 §5.2.12.5 (ISA IRQ 0 is GSI 2 by source override).

import { PIT_GSI } from '#shared/acpi/platform.js';
import { setPicLine } from '#shared/chipset/pic-lines.js';
import { XAPIC_BROADCAST, deliverMessage } from '#shared/x86/apic-message.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { setIoapicLine } from '#shared/x86/ioapic-page.js';

export { createInterruptFabric, signalVcpu } from '#shared/x86/interrupt-fabric.js';
export type { InterruptFabric, InterruptLayout } from '#shared/x86/interrupt-fabric.js';

/**
 * Sends an MSI. An address outside 0xFEExxxxx is the guest's mistake: nothing is sent, and false is returned. `data`
 * is the message data as programmed: vector, delivery mode and trigger.
 */
export function deliverMsi(
  fabric: InterruptFabric,
  addressLo: number,
  addressHi: number,
  data: number,
): boolean {
  if (addressHi !== 0 || addressLo >>> 20 !== 0xfee) return false;
  if (fabric.wire !== undefined) return fabric.wire.sendMsi(addressLo, addressHi, data);
  const destination = (addressLo >>> 12) & 0xff;
  const logical = (addressLo & 4) !== 0;
  const level = (data & 0x8000) !== 0;
  return deliverMessage(fabric, destination, logical, XAPIC_BROADCAST, (data >>> 8) & 7, data & 0xff, level);
}

/**
 * Drives a GSI. For an edge pin the rise is the interrupt (lower it again before the next); a level pin interrupts
 * while any source holds it. `source` (0–31) tells devices that share a GSI apart: a PCI device passes its slot.
 */
export function setGsi(fabric: InterruptFabric, gsi: number, level: boolean, source = 0): void {
  setIoapicLine(fabric, gsi, level, source);
  if (gsi > 0 && gsi < 16) setPicLine(fabric, gsi === PIT_GSI ? 0 : gsi, level);
}

/** Drives an ISA IRQ: IRQ 0 is at GSI 2, the others are at the GSI of their number. */
export function setIsaIrq(fabric: InterruptFabric, irq: number, level: boolean): void {
  setGsi(fabric, irq === 0 ? PIT_GSI : irq, level);
}
