// The device's side of MSI-X: a vector is sent when the function and the vector are unmasked, else remembered in the
// pending-bit array and sent when the guest unmasks it (its vCPU writes the table in place and rings BELL_CONFIG). Table and
// PBA live in the arena; only the device writes the PBA. PCI Local Bus 3.0 §6.8.2, §6.8.3.
import type { ArenaViews } from '#shared/memory/arena.js';
import type { PciFunctionLayout } from '#shared/memory/machine-layout.js';
import {
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_MSIX_ENTRY_BYTES,
  PCI_MSIX_ENTRY_CTRL_MASKBIT,
  PCI_MSIX_ENTRY_DATA,
  PCI_MSIX_ENTRY_LOWER_ADDR,
  PCI_MSIX_ENTRY_UPPER_ADDR,
  PCI_MSIX_ENTRY_VECTOR_CTRL,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
} from '#shared/pci/registers.js';

export type SendMsi = (addressLo: number, addressHi: number, data: number) => void;

/** Where the parts of one function's MSI-X are. */
export interface MsixPlace {
  /** Offset of the capability in config space. */
  readonly capability: number;
  readonly vectors: number;
  /** Of the PBA in the function's `msix` region, whose start is the table. */
  readonly pbaOffset: number;
}

export class MsixFunction {
  readonly vectors: number;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #send: SendMsi;
  readonly #flags: number;
  readonly #command: number;
  readonly #table: number;
  readonly #pba: number;

  constructor(v: ArenaViews, pci: PciFunctionLayout, place: MsixPlace, send: SendMsi) {
    this.vectors = place.vectors;
    this.#u16 = v.u16;
    this.#u32 = v.u32;
    this.#send = send;
    this.#flags = (pci.config.offset + place.capability + PCI_MSIX_FLAGS) >>> 1;
    this.#command = (pci.config.offset + PCI_COMMAND) >>> 1;
    this.#table = pci.msix.offset >>> 2;
    this.#pba = (pci.msix.offset + place.pbaOffset) >>> 2;
  }

  /** May the function access memory, messages included? */
  get isBusMaster(): boolean {
    return (this.#u16[this.#command]! & PCI_COMMAND_MASTER) !== 0;
  }

  /** Sends the vector, or remembers it while it is masked; a vector outside the table (NO_VECTOR) is nobody's. */
  signal(vector: number): void {
    if (vector >= this.vectors) return;
    if ((this.#u16[this.#flags]! & PCI_MSIX_FLAGS_ENABLE) === 0) return;
    if (this.#isMasked(vector)) this.#u32[this.#pba + (vector >>> 5)]! |= 1 << (vector & 31);
    else this.#sendVector(vector);
  }

  /** After BELL_CONFIG: sends what was pending and is unmasked now. */
  sendPending(): void {
    if ((this.#u16[this.#flags]! & PCI_MSIX_FLAGS_ENABLE) === 0) return;
    for (let vector = 0; vector < this.vectors; vector++) {
      const word = this.#pba + (vector >>> 5);
      const bit = 1 << (vector & 31);
      if ((this.#u32[word]! & bit) === 0 || this.#isMasked(vector)) continue;
      // Sent before it is forgotten: a device that dies between the two sends twice, which a driver does not mind.
      this.#sendVector(vector);
      this.#u32[word]! &= ~bit;
    }
  }

  #isMasked(vector: number): boolean {
    if ((this.#u16[this.#flags]! & PCI_MSIX_FLAGS_MASKALL) !== 0 || !this.isBusMaster) return true;
    return (this.#entry(vector, PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT) !== 0;
  }

  #sendVector(vector: number): void {
    const lo = this.#entry(vector, PCI_MSIX_ENTRY_LOWER_ADDR);
    const hi = this.#entry(vector, PCI_MSIX_ENTRY_UPPER_ADDR);
    this.#send(lo, hi, this.#entry(vector, PCI_MSIX_ENTRY_DATA));
  }

  #entry(vector: number, field: number): number {
    return this.#u32[this.#table + ((vector * PCI_MSIX_ENTRY_BYTES + field) >>> 2)]!;
  }
}
