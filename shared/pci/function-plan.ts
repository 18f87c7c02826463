// What a PCI function wants of the machine before any address is known: its config space, its BARs, and how they are
// divided into windows of the register bus. A device's shared/ code returns one; kernel/arena-plan.ts assigns addresses
// and puts the images into the arena. PCI 3.0 §6.2.
import type { RegisterWindow } from '#shared/memory/machine-layout.js';

export interface PciBarPlan {
  /** 0–5; a 64-bit BAR takes the next one too. */
  readonly index: number;
  /** A power of two, at least 4096: no two functions share a page. */
  readonly bytes: number;
  readonly is64: boolean;
}

/** A part of a BAR. What is not covered by a window reads all ones. */
export interface PciWindowPlan {
  readonly bar: number;
  /** From the BAR's start, in bytes. */
  readonly offset: number;
  readonly length: number;
  /** First offset that the actor sees. */
  readonly base: number;
  readonly write: RegisterWindow['write'];
  readonly shadow?: RegisterWindow['shadow'];
  readonly doorbell?: RegisterWindow['doorbell'];
  /** The window is plain memory: the function's MSI-X region from this offset on. */
  readonly msixOffset?: number;
}

export interface PciFunctionPlan {
  /** Actor that serves the function. */
  readonly actor: string;
  /** Up to 4 KiB of config space from offset 0; BARs and the command register are filled in. */
  readonly config: Uint8Array;
  /** As long as `config`: 1 bits are the guest's to write. BARs are filled in. */
  readonly writeMask: Uint8Array;
  /** Bytes of the MSI-X table and PBA. */
  readonly msixBytes: number;
  readonly bars: readonly PciBarPlan[];
  readonly windows: readonly PciWindowPlan[];
}
