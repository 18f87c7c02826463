// Where everything of one machine lies in its arena, and which actor answers at which guest address. Plain JSON, computed
// once by kernel/builder.ts and handed to every actor in its seed; nobody changes it afterwards. Offsets and lengths
// are bytes from the arena's start.
import type { Region } from '#shared/base/region.js';
import type { GuestMemoryLayout } from '#shared/memory/guest-memory.js';

/** What every actor owns in the arena. */
export interface ActorLayout {
  /** See shared/ipc/doorbell.ts. */
  readonly doorbell: Region;
  /** See shared/ipc/heartbeat.ts. */
  readonly heartbeat: Region;
  /** What the actor must not forget when it is restarted. Zero at the machine's start; kept across restarts. */
  readonly statePage: Region;
  /** Registers that vCPUs and other actors read by load. Zero at the machine's start; kept across restarts. */
  readonly registerPage: Region;
  /** What has happened of each fault rule; see shared/ipc/fault-plan.ts. */
  readonly faults: Region;
}

/** What one vCPU owns. */
export interface VcpuLayout {
  /** The architectural state, shared/x86/cpu-state.ts. Page aligned. */
  readonly state: Region;
  /** LAPIC registers, IRR, ISR, timer deadline. */
  readonly lapic: Region;
  readonly tlb: Region;
  readonly jumpCache: Region;
  readonly codeCache: Region;
  /** Invalidation log: code pages that other vCPUs and devices wrote. */
  readonly log: Region;
  /** Under KVM: struct kvm_run is mapped here. */
  readonly kvmRun?: Region;
}

export interface SharedLayout {
  /** Which pages of RAM hold translated code. */
  readonly codeMap: Region;
  readonly dirtyBitmap: Region;
  /** IOAPIC, PIC, PIT and RTC registers. */
  readonly chipset: Region;
  /** See shared/ipc/machine-event.ts. */
  readonly machineEvent: Region;
  /** See shared/ipc/trace.ts; a machine without it does not trace. */
  readonly traceBudget?: Region;
}

/** One base address register of a PCI function. */
export interface PciBarLayout {
  /** 0–5. A 64-bit BAR takes this one and the next. */
  readonly index: number;
  readonly bytes: number;
  readonly is64: boolean;
  /** The address that the firmware (we) assigned. */
  readonly address: number;
}

export interface PciFunctionLayout {
  /** Bus 0: device << 3 | function. */
  readonly bdf: number;
  /** Whose doorbell rings when the guest changes its config space. */
  readonly actor: string;
  /** 4 KiB shadow of config space: what the guest reads. */
  readonly config: Region;
  /** 4 KiB: 1 bits are writable by the guest. */
  readonly writeMask: Region;
  /** MSI-X table, then the PBA; zero bytes when the function has none. */
  readonly msix: Region;
  readonly bars: readonly PciBarLayout[];
}

export type BusSpaceName = 'port' | 'mmio';

/** A route of the register bus: guest addresses → an actor's register offsets. */
export interface RegisterWindow {
  readonly space: BusSpaceName;
  /** First port or guest-physical address. Of a BAR's window: the address assigned at first. */
  readonly start: number;
  readonly length: number;
  readonly actor: string;
  /** Offset that the actor sees for `start`. */
  readonly base: number;
  /** A posted write returns at once; both keep their order in one ring. */
  readonly write: 'posted' | 'call';
  /**
   * The window is part of a BAR and moves with it: `start` is then (BAR's present address + offset), and the window is
   * closed while the function's memory (or I/O) decoding is off. `function` indexes {@link MachineLayout.pci}.
   */
  readonly bar?: { readonly function: number; readonly index: number; readonly offset: number };
  /** Reads in [shadow.start, shadow.start + shadow.length) of the window are loads from the actor's register page at `offset`. */
  readonly shadow?: { readonly start: number; readonly offset: number; readonly length: number };
  /**
   * A write here is a virtio notification, never a message: bit `queue` is set in the 32-bit word at `pending` of the
   * actor's register page and its doorbell rings with BELL_QUEUE. queue = (address − start) / `stride`, or the datum
   * written when `stride` is 0. Reads give zero.
   */
  readonly doorbell?: { readonly pending: number; readonly stride: number };
  /** The MSI-X table or PBA: plain memory of the arena, read and written in place by the vCPU. */
  readonly memory?: Region;
}

export interface MachineLayout {
  readonly arenaBytes: number;
  readonly ram: GuestMemoryLayout;
  readonly vcpus: readonly VcpuLayout[];
  readonly shared: SharedLayout;
  /** By actor name: vcpu-0, chipset, uart, virtio-blk-0 … */
  readonly actors: Readonly<Record<string, ActorLayout>>;
  /** By {@link mailboxName}. */
  readonly mailboxes: Readonly<Record<string, Region>>;
  readonly pci: readonly PciFunctionLayout[];
  readonly windows: readonly RegisterWindow[];
}

export function vcpuName(index: number): string {
  return `vcpu-${index}`;
}

/** The kernel's name as a sender. */
export const KERNEL_NAME = 'kernel';

export function mailboxName(from: string, to: string): string {
  return `${from}->${to}`;
}
