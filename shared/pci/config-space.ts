// Configuration space as a vCPU reaches it: through ports CF8/CFC (configuration mechanism #1, PCI 3.0 §3.2.2.3.2) and
// ECAM (PCIe 6.0 §7.2.2). Served in the vCPU's thread from the shadow pages and write masks in the arena: no actor is
// asked. A write that changes something rings the function's actor with BELL_CONFIG. Bus 0 only; what is not there
// reads all ones. virtio's window onto BARs in config space (virtio-v1.2 §4.1.4.9) is served here too. Leaves out
// write-1-to-clear bits: the machine's functions have none.
import { PCI_CONFIG_ADDRESS } from '#shared/acpi/platform.js';
import { BELL_CONFIG, doorbellIndex, ringDoorbell } from '#shared/ipc/doorbell.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { MachineLayout, PciFunctionLayout } from '#shared/memory/machine-layout.js';
import {
  PCI_BASE_ADDRESS_0,
  PCI_CAPABILITY_LIST,
  PCI_CAP_ID_VNDR,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  PCI_CONFIG_BYTES,
  PCI_LEGACY_CONFIG_BYTES,
} from '#shared/pci/registers.js';

const CONFIG_ENABLE = 0x8000_0000;
const CONFIG_ADDRESS_BITS = 0x80ff_fffc;
const FUNCTIONS_OF_BUS_0 = 256;
const ABSENT = -1;
const ECAM_FUNCTION_SHIFT = 12;

// struct virtio_pci_cfg_cap, virtio-v1.2 §4.1.4.9: offsets from the capability.
const VIRTIO_PCI_CAP_PCI_CFG = 5;
const CFG_CAP_TYPE = 3;
const CFG_CAP_BAR = 4;
const CFG_CAP_OFFSET = 8;
const CFG_CAP_LENGTH = 12;
const CFG_CAP_DATA = 16;

interface FunctionPages {
  readonly config: number;
  readonly writeMask: number;
  readonly bell: number;
  /** Offset of the window's data field in config space; ABSENT when the function has none. */
  readonly windowData: number;
}

/** Memory accesses of at most 4 bytes, as the bus makes them. */
export interface MmioAccess {
  readMmio(address: number, size: number): number;
  writeMmio(address: number, size: number, value: number): void;
}

/** All ones in `size` bytes. */
export function allOnes(size: number): number {
  return size === 1 ? 0xff : size === 2 ? 0xffff : 0xffff_ffff;
}

/** The configuration space of all functions; one per vCPU thread, no state of its own. */
export class PciConfigSpace {
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  readonly #functions: readonly FunctionPages[];
  /** By device << 3 | function; index into {@link #functions} or ABSENT. */
  readonly #byBdf = new Int16Array(FUNCTIONS_OF_BUS_0).fill(ABSENT);
  /** Word index of the CONFIG_ADDRESS latch; ABSENT without a host bridge. */
  readonly #latch: number;
  readonly #mmio: MmioAccess;

  /** `mmio`: carries out what a guest asks for through virtio's window. */
  constructor(v: ArenaViews, layout: MachineLayout, mmio: MmioAccess) {
    this.#mmio = mmio;
    this.#u8 = v.u8;
    this.#u32 = v.u32;
    this.#i32 = v.i32;
    this.#functions = layout.pci.map((pci) => ({
      config: pci.config.offset,
      writeMask: pci.writeMask.offset,
      bell: doorbellIndex(layout.actors[pci.actor]!.doorbell),
      windowData: findWindowData(v.u8, pci),
    }));
    layout.pci.forEach((pci, i) => (this.#byBdf[pci.bdf & 0xff] = i));
    const bridge = layout.pci.find((pci) => pci.bdf === 0);
    this.#latch = bridge === undefined || bridge.msix.bytes < 4 ? ABSENT : bridge.msix.offset >>> 2;
  }

  /** Index into `layout.pci` of the function at bus 0, or −1. */
  find(bdf: number): number {
    return this.#byBdf[bdf & 0xff]!;
  }

  /** `size` 1, 2 or 4; bytes that lie outside the function's space read all ones. */
  read(bdf: number, offset: number, size: number): number {
    const pages = this.#functions[this.find(bdf)];
    if (pages === undefined || bdf > 0xff || offset + size > PCI_CONFIG_BYTES) return allOnes(size);
    if (offset === pages.windowData) {
      const address = this.#windowAddress(pages, size);
      return address < 0 ? 0 : this.#mmio.readMmio(address, size);
    }
    return this.#load(pages.config + offset, size);
  }

  #load(at: number, size: number): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.#u8[at + i]!;
    return value;
  }

  /** Where the window looks at present, or −1: the driver must have written a length equal to the access's. */
  #windowAddress(pages: FunctionPages, size: number): number {
    const capability = pages.config + pages.windowData - CFG_CAP_DATA;
    const bar = this.#u8[capability + CFG_CAP_BAR]!;
    const length = this.#load(capability + CFG_CAP_LENGTH, 4);
    const command = this.#load(pages.config + PCI_COMMAND, 2);
    if (bar > 5 || length !== size || (command & PCI_COMMAND_MEMORY) === 0) return ABSENT;
    const base = this.#load(pages.config + PCI_BASE_ADDRESS_0 + 4 * bar, 4);
    const offset = this.#load(capability + CFG_CAP_OFFSET, 4);
    // 32-bit memory BARs only, and never beyond the function's own: a BAR's size is what its write mask leaves fixed.
    const fixed = ~this.#load(pages.writeMask + PCI_BASE_ADDRESS_0 + 4 * bar, 4) >>> 0;
    if (base === 0 || (base & 7) !== 0 || offset + size > fixed + 1 || offset % size !== 0) return ABSENT;
    return base + offset;
  }

  write(bdf: number, offset: number, size: number, value: number): void {
    const pages = this.#functions[this.find(bdf)];
    if (pages === undefined || bdf > 0xff || offset + size > PCI_CONFIG_BYTES) return;
    if (offset === pages.windowData) {
      const address = this.#windowAddress(pages, size);
      if (address >= 0) this.#mmio.writeMmio(address, size, value);
      return;
    }
    let changed = false;
    for (let i = 0; i < size; i++) {
      const at = pages.config + offset + i;
      const mask = this.#u8[pages.writeMask + offset + i]!;
      const old = this.#u8[at]!;
      const now = (old & ~mask) | ((value >>> (8 * i)) & mask);
      if (now === old) continue;
      this.#u8[at] = now;
      changed = true;
    }
    if (changed) ringDoorbell(this.#i32, pages.bell, BELL_CONFIG);
  }

  /** True when an access at CF8–CFF is the configuration mechanism's: CF8 takes only whole words, so that CF9 stays free. */
  claimsPort(port: number, size: number): boolean {
    if (port >= PCI_CONFIG_ADDRESS + 4) return port < PCI_CONFIG_ADDRESS + 8;
    return port === PCI_CONFIG_ADDRESS && size === 4;
  }

  readPort(port: number, size: number): number {
    const latch = this.#loadLatch();
    if (port < PCI_CONFIG_ADDRESS + 4) return latch;
    if (latch < CONFIG_ENABLE || !this.#withinPort(port, size)) return allOnes(size);
    return this.read(latchedBdf(latch), latchedOffset(latch, port), size);
  }

  writePort(port: number, size: number, value: number): void {
    if (port < PCI_CONFIG_ADDRESS + 4) {
      if (this.#latch !== ABSENT) this.#u32[this.#latch] = value & CONFIG_ADDRESS_BITS;
      return;
    }
    const latch = this.#loadLatch();
    if (latch < CONFIG_ENABLE || !this.#withinPort(port, size)) return;
    this.write(latchedBdf(latch), latchedOffset(latch, port), size, value);
  }

  #loadLatch(): number {
    return this.#latch === ABSENT ? 0 : this.#u32[this.#latch]!;
  }

  #withinPort(port: number, size: number): boolean {
    return (port & 3) + size <= 4;
  }

  readEcam(offset: number, size: number): number {
    return this.read(offset >>> ECAM_FUNCTION_SHIFT, offset % PCI_CONFIG_BYTES, size);
  }

  writeEcam(offset: number, size: number, value: number): void {
    this.write(offset >>> ECAM_FUNCTION_SHIFT, offset % PCI_CONFIG_BYTES, size, value);
  }
}

function findWindowData(u8: Uint8Array, pci: PciFunctionLayout): number {
  let at = u8[pci.config.offset + PCI_CAPABILITY_LIST]!;
  for (let hops = 0; at !== 0 && hops < PCI_LEGACY_CONFIG_BYTES / 4; hops++) {
    const capability = pci.config.offset + at;
    const isWindow =
      u8[capability] === PCI_CAP_ID_VNDR && u8[capability + CFG_CAP_TYPE] === VIRTIO_PCI_CAP_PCI_CFG;
    if (isWindow) return at + CFG_CAP_DATA;
    at = u8[capability + 1]!;
  }
  return ABSENT;
}

function latchedBdf(latch: number): number {
  return (latch >>> 8) & 0xffff;
}

function latchedOffset(latch: number, port: number): number {
  return ((latch & 0xfc) + (port & 3)) % PCI_LEGACY_CONFIG_BYTES;
}
