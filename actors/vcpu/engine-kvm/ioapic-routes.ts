// Which level-triggered vectors KVM must tell of at EOI. With a split irqchip the IOAPIC is ours, and the LAPICs learn from
// the routing table which vectors have a pin that waits for the EOI (Linux Documentation/virt/kvm/api.rst,
// KVM_CAP_SPLIT_IRQCHIP). The table changes when the guest moves a level pin to another vector or CPU: rarely.

import { IOAPIC_PINS } from '#shared/acpi/platform.js';
import type { Addon } from '#native/addon.js';
import * as C from '#shared/chipset/page-layout.js';
import { encodeMsi } from '#shared/x86/apic-message.js';
import { loadChipset, type InterruptFabric } from '#shared/x86/interrupt-fabric.js';

const LEVEL = 1 << 15;
const LOGICAL = 1 << 11;

export class IoapicRoutes {
  readonly #addon: Addon;
  readonly #vmFd: number;
  readonly #fabric: InterruptFabric;
  /** What the table was made of. */
  #signature = '';

  constructor(addon: Addon, vmFd: number, fabric: InterruptFabric) {
    this.#addon = addon;
    this.#vmFd = vmFd;
    this.#fabric = fabric;
  }

  /** After a write to the IOAPIC, or a restore. */
  refresh(): void {
    const rows: number[] = [];
    for (let pin = 0; pin < IOAPIC_PINS; pin++) {
      const low = loadChipset(this.#fabric, C.IOAPIC_REDIRECTION_LOW + pin * 4);
      if ((low & LEVEL) === 0) continue;
      const destination = loadChipset(this.#fabric, C.IOAPIC_REDIRECTION_HIGH + pin * 4) >>> 24;
      const { addressLow, data } = encodeMsi(
        destination,
        (low & LOGICAL) !== 0,
        (low >>> 8) & 7,
        low & 0xff,
        true,
      );
      rows.push(pin, addressLow, 0, data);
    }
    const signature = rows.join();
    if (signature === this.#signature) return;
    this.#signature = signature;
    this.#addon.setMsiRoutes(this.#vmFd, Uint32Array.from(rows));
  }
}
