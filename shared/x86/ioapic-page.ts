// The I/O APIC (82093AA, with version 0x20's EOI register) on the chipset page: every thread serves it directly, by
// atomics and without a lock. A line has up to 32 sources (a bit each), so that devices share a pin. Remote IRR is
// taken and dropped by compare-exchange: whoever wins sends the message, so each assertion is sent exactly once.
// Pin polarity is stored but not obeyed: `level` means asserted. Edges on a masked pin are lost, as in the datasheet.

import * as C from '#shared/chipset/page-layout.js';
import { IOAPIC_PINS } from '#shared/acpi/platform.js';
import {
  type InterruptFabric,
  andChipset,
  exchangeChipset,
  loadChipset,
  orChipset,
  storeChipset,
} from '#shared/x86/interrupt-fabric.js';
import { DELIVERY_LOWEST_PRIORITY } from '#shared/x86/lapic-layout.js';
import { XAPIC_BROADCAST, deliverMessage } from '#shared/x86/apic-message.js';

// MMIO offsets of the two windows and the EOI register.
export const IOREGSEL = 0x00;
export const IOWIN = 0x10;
export const IOAPIC_EOI = 0x40;

// Low word of a redirection entry.
const LOGICAL = 1 << 11;
const REMOTE_IRR = 1 << 14;
const LEVEL = 1 << 15;
const MASKED = 1 << 16;
/** Delivery status and remote IRR are read-only. */
const WRITABLE = 0x1_afff;

/** Power-on state: every pin masked. */
export function resetIoapic(fabric: InterruptFabric): void {
  storeChipset(fabric, C.IOAPIC_INDEX, 0);
  storeChipset(fabric, C.IOAPIC_ID_REGISTER, 0);
  for (let pin = 0; pin < IOAPIC_PINS; pin++) {
    storeChipset(fabric, low(pin), MASKED);
    storeChipset(fabric, C.IOAPIC_REDIRECTION_HIGH + pin * 4, 0);
  }
}

/** Drives one source of a pin; a pin outside the table is ignored. Callable from any thread. */
export function setIoapicLine(fabric: InterruptFabric, pin: number, level: boolean, source: number): void {
  if (pin < 0 || pin >= IOAPIC_PINS) return;
  const bit = 1 << (source & 31);
  const word = C.IOAPIC_LINE_SOURCES + pin * 4;
  if (!level) {
    andChipset(fabric, word, ~bit);
    return;
  }
  const was = orChipset(fabric, word, bit);
  const entry = loadChipset(fabric, low(pin));
  if (isLevel(entry)) serviceLevel(fabric, pin);
  else if (was === 0 && (entry & MASKED) === 0) send(fabric, pin, entry);
}

/** EOI of a level vector, broadcast by a LAPIC or written to the EOI register: drops remote IRR, sends again while high. */
export function endOfInterrupt(fabric: InterruptFabric, vector: number): void {
  for (let pin = 0; pin < IOAPIC_PINS; pin++) {
    const entry = loadChipset(fabric, low(pin));
    if ((entry & 0xff) !== vector || !isLevel(entry)) continue;
    andChipset(fabric, low(pin), ~REMOTE_IRR);
    serviceLevel(fabric, pin);
  }
}

/** A 32-bit read at an offset of the IOAPIC's page. */
export function ioapicRead(fabric: InterruptFabric, offset: number): number {
  if (offset === IOREGSEL) return loadChipset(fabric, C.IOAPIC_INDEX);
  if (offset !== IOWIN) return 0;
  const index = loadChipset(fabric, C.IOAPIC_INDEX);
  if (index === 0 || index === 2) return loadChipset(fabric, C.IOAPIC_ID_REGISTER);
  if (index === 1) return ((IOAPIC_PINS - 1) << 16) | 0x20;
  const pin = (index - 0x10) >> 1;
  if (pin < 0 || pin >= IOAPIC_PINS) return 0;
  return loadChipset(fabric, (index & 1) === 0 ? low(pin) : C.IOAPIC_REDIRECTION_HIGH + pin * 4);
}

/** A 32-bit write at an offset of the IOAPIC's page. */
export function ioapicWrite(fabric: InterruptFabric, offset: number, value: number): void {
  if (offset === IOREGSEL) return storeChipset(fabric, C.IOAPIC_INDEX, value & 0xff);
  if (offset === IOAPIC_EOI) return endOfInterrupt(fabric, value & 0xff);
  if (offset !== IOWIN) return;
  const index = loadChipset(fabric, C.IOAPIC_INDEX);
  if (index === 0) return storeChipset(fabric, C.IOAPIC_ID_REGISTER, value & 0x0f00_0000);
  const pin = (index - 0x10) >> 1;
  if (pin < 0 || pin >= IOAPIC_PINS) return;
  if ((index & 1) !== 0) storeChipset(fabric, C.IOAPIC_REDIRECTION_HIGH + pin * 4, value & 0xff00_0000);
  else writeLow(fabric, pin, value);
}

function low(pin: number): number {
  return C.IOAPIC_REDIRECTION_LOW + pin * 4;
}

/** Only fixed and lowest-priority messages get an EOI: NMI, INIT and ExtINT pins behave as edges. */
function isLevel(entry: number): boolean {
  return (entry & LEVEL) !== 0 && ((entry >>> 8) & 7) <= DELIVERY_LOWEST_PRIORITY;
}

/** A change to edge drops remote IRR (software's way to an EOI on old parts); a line that is high at unmask is sent. */
function writeLow(fabric: InterruptFabric, pin: number, value: number): void {
  for (;;) {
    const was = loadChipset(fabric, low(pin));
    const kept = isLevel(value) ? was & REMOTE_IRR : 0;
    if (exchangeChipset(fabric, low(pin), was, (value & WRITABLE) | kept)) break;
  }
  if (isLevel(value)) serviceLevel(fabric, pin);
}

/** Sends a level interrupt when the line is high, unmasked and not in service: the winner of remote IRR sends. */
function serviceLevel(fabric: InterruptFabric, pin: number): void {
  for (;;) {
    const entry = loadChipset(fabric, low(pin));
    if ((entry & (MASKED | REMOTE_IRR)) !== 0 || !isLevel(entry)) return;
    if (loadChipset(fabric, C.IOAPIC_LINE_SOURCES + pin * 4) === 0) return;
    if (!exchangeChipset(fabric, low(pin), entry, entry | REMOTE_IRR)) continue;
    // A message that nobody takes would block the pin for ever: no EOI will come.
    if (!send(fabric, pin, entry)) andChipset(fabric, low(pin), ~REMOTE_IRR);
    return;
  }
}

function send(fabric: InterruptFabric, pin: number, entry: number): boolean {
  const destination = loadChipset(fabric, C.IOAPIC_REDIRECTION_HIGH + pin * 4) >>> 24;
  const deliveryMode = (entry >>> 8) & 7;
  const logical = (entry & LOGICAL) !== 0;
  const vector = entry & 0xff;
  return deliverMessage(fabric, destination, logical, XAPIC_BROADCAST, deliveryMode, vector, isLevel(entry));
}
