// From what the parts of a machine want to where everything lies: divides the arena, assigns PCI addresses, and writes
// what must stand in the arena before the first actor lives (mailbox headers, PCI config space). Knows no device.
import { codeMapBytes } from '#shared/memory/code-map.js';
import { ECAM_BYTES, PCI_MMIO_BASE, PCI_MMIO_BYTES } from '#shared/acpi/platform.js';
import { TroupeError, assert } from '#shared/base/error.js';
import * as limits from '#shared/base/limits.js';
import type { Region } from '#shared/base/region.js';
import { CHIPSET_PAGE_BYTES } from '#shared/chipset/page-layout.js';
import { DOORBELL_BYTES } from '#shared/ipc/doorbell.js';
import { FAULT_COUNTERS_BYTES } from '#shared/ipc/fault-plan.js';
import { HEARTBEAT_BYTES } from '#shared/ipc/heartbeat.js';
import { MACHINE_EVENT_BYTES } from '#shared/ipc/machine-event.js';
import { formatMailbox, mailboxBytes } from '#shared/ipc/mailbox-layout.js';
import { TRACE_BUDGET_BYTES } from '#shared/ipc/trace.js';
import { ArenaAllocator, type ArenaViews } from '#shared/memory/arena.js';
import { splitRam } from '#shared/memory/guest-memory.js';
import {
  KERNEL_NAME,
  mailboxName,
  vcpuName,
  type ActorLayout,
  type MachineLayout,
  type PciBarLayout,
  type PciFunctionLayout,
  type RegisterWindow,
  type VcpuLayout,
} from '#shared/memory/machine-layout.js';
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';
import { JUMP_CACHE_BYTES, TLB_BYTES } from '#shared/translate/op-record.js';
import { CPU_STATE_BYTES } from '#shared/x86/cpu-state.js';

const PAGE_BYTES = 4096;
const JUMP_CACHES = 2; // user and supervisor code
const LOG_BYTES = 64 * 1024;
/** KVM_GET_VCPU_MMAP_SIZE of x86: kvm_run, the data of ports, the ring of coalesced MMIO. */
const KVM_RUN_BYTES = 3 * PAGE_BYTES;
const ALL_CODE_CACHES_BYTES = 512 * 1024 * 1024;
/** RAM starts on a boundary that a large host page could have. */
const RAM_START_ALIGN = 2 * 1024 * 1024;
const CONFIG_SPACE_BYTES = 4096;
/** Slot 0 is the host bridge. */
const PCI_SLOTS = 32;
const CODE_CACHE_ALIGN = limits.WASM_PAGE_BYTES;

// PCI 3.0 §6.2.
const PCI_COMMAND = 0x04;
const PCI_COMMAND_MEMORY_AND_MASTER = 6;
const PCI_BAR_0 = 0x10;
const PCI_BAR_MEMORY_64 = 4;

export interface MailboxPlan {
  readonly from: string;
  readonly to: string;
  readonly entries: number;
  readonly payloadBytes: number;
}

export interface MachinePlan {
  readonly vcpus: number;
  readonly ramBytes: number;
  /** Actors that are no vCPUs. */
  readonly actors: readonly string[];
  /** Beyond the register bus. */
  readonly mailboxes: readonly MailboxPlan[];
  readonly windows: readonly RegisterWindow[];
  /** Room for what KVM maps instead of for translated code. */
  readonly kvm?: boolean;
  /** Slot 0 first: the host bridge. */
  readonly pci: readonly PciFunctionPlan[];
}

/** The layout of a machine, and all mailboxes that {@link formatArena} must format. */
export interface PlannedMachine {
  readonly layout: MachineLayout;
  readonly mailboxes: readonly MailboxPlan[];
}

export function planArena(plan: MachinePlan): PlannedMachine {
  assert(
    plan.pci.length <= PCI_SLOTS && PCI_SLOTS * 8 * CONFIG_SPACE_BYTES <= ECAM_BYTES,
    'functions fit on bus 0',
  );
  const arena = new ArenaAllocator(limits.MAX_ARENA_BYTES);
  arena.allocate(PAGE_BYTES, PAGE_BYTES); // offset 0 is nobody's
  const vcpuNames = Array.from({ length: plan.vcpus }, (_, i) => vcpuName(i));
  const actors: Record<string, ActorLayout> = {};
  for (const name of [KERNEL_NAME, ...vcpuNames, ...plan.actors]) actors[name] = allocateActor(arena);
  const { pci, windows } = placePci(arena, plan.pci);
  const allWindows = [...plan.windows, ...windows];
  const mailboxPlans = [...plan.mailboxes, ...busMailboxes(vcpuNames, allWindows)];
  const mailboxes: Record<string, Region> = {};
  for (const { from, to, entries, payloadBytes } of mailboxPlans) {
    mailboxes[mailboxName(from, to)] = arena.allocate(mailboxBytes(entries, payloadBytes));
  }
  const shared = {
    codeMap: arena.allocate(codeMapBytes(plan.ramBytes), PAGE_BYTES),
    dirtyBitmap: arena.allocate(Math.ceil(plan.ramBytes / PAGE_BYTES / 8), PAGE_BYTES),
    chipset: arena.allocate(Math.max(CHIPSET_PAGE_BYTES, PAGE_BYTES), PAGE_BYTES),
    machineEvent: arena.allocate(MACHINE_EVENT_BYTES),
    traceBudget: arena.allocate(TRACE_BUDGET_BYTES),
  };
  const vcpus = vcpuNames.map(() =>
    plan.kvm === true ? allocateKvmVcpu(arena) : allocateVcpu(arena, plan.vcpus),
  );
  const ramOffset = Math.ceil(arena.usedBytes / RAM_START_ALIGN) * RAM_START_ALIGN;
  const arenaBytes = ramOffset + plan.ramBytes;
  if (arenaBytes > limits.MAX_ARENA_BYTES) {
    const most = Math.floor((limits.MAX_ARENA_BYTES - ramOffset) / 2 ** 20);
    throw new TroupeError(
      'bad-config',
      `${plan.ramBytes / 2 ** 20} MiB of memory do not fit beside ${plan.vcpus} vCPUs`,
      `use --memory ${most}M or less`,
    );
  }
  const ram = splitRam(ramOffset, plan.ramBytes);
  const layout = { arenaBytes, ram, vcpus, shared, actors, mailboxes, pci, windows: allWindows };
  return { layout, mailboxes: mailboxPlans };
}

/** Writes what the arena holds before the machine starts; all else is zero. */
export function formatArena(v: ArenaViews, planned: PlannedMachine, pci: readonly PciFunctionPlan[]): void {
  for (const { from, to, entries, payloadBytes } of planned.mailboxes) {
    formatMailbox(v, planned.layout.mailboxes[mailboxName(from, to)]!, entries, payloadBytes);
  }
  const view = new DataView(v.buffer);
  pci.forEach((functionPlan, i) => writeConfigSpace(v, view, planned.layout.pci[i]!, functionPlan));
}

function allocateActor(arena: ArenaAllocator): ActorLayout {
  return {
    doorbell: arena.allocate(DOORBELL_BYTES),
    heartbeat: arena.allocate(HEARTBEAT_BYTES),
    statePage: arena.allocate(limits.STATE_PAGE_BYTES, PAGE_BYTES),
    registerPage: arena.allocate(limits.REGISTER_PAGE_BYTES, PAGE_BYTES),
    faults: arena.allocate(FAULT_COUNTERS_BYTES),
  };
}

function allocateVcpu(arena: ArenaAllocator, vcpus: number): VcpuLayout {
  const share = Math.floor(ALL_CODE_CACHES_BYTES / vcpus / CODE_CACHE_ALIGN) * CODE_CACHE_ALIGN;
  return {
    state: arena.allocate(CPU_STATE_BYTES, PAGE_BYTES),
    lapic: arena.allocate(PAGE_BYTES, PAGE_BYTES),
    tlb: arena.allocate(TLB_BYTES, PAGE_BYTES),
    jumpCache: arena.allocate(JUMP_CACHES * JUMP_CACHE_BYTES, PAGE_BYTES),
    log: arena.allocate(LOG_BYTES, PAGE_BYTES),
    codeCache: arena.allocate(Math.min(limits.CODE_CACHE_BYTES, share), CODE_CACHE_ALIGN),
  };
}

/** The parts of the wasm engine are empty. */
function allocateKvmVcpu(arena: ArenaAllocator): VcpuLayout {
  const state = arena.allocate(CPU_STATE_BYTES, PAGE_BYTES);
  const lapic = arena.allocate(PAGE_BYTES, PAGE_BYTES);
  const none = { offset: lapic.offset, bytes: 0 };
  const kvmRun = arena.allocate(KVM_RUN_BYTES, PAGE_BYTES);
  return { state, lapic, tlb: none, jumpCache: none, log: none, codeCache: none, kvmRun };
}

/** One from every vCPU to every actor that a window sends messages to. */
function busMailboxes(vcpuNames: readonly string[], windows: readonly RegisterWindow[]): MailboxPlan[] {
  const messaged = windows.filter((w) => w.doorbell === undefined && w.memory === undefined);
  const receivers = [...new Set(messaged.map((w) => w.actor))];
  const entries = limits.MAILBOX_ENTRIES;
  const payloadBytes = limits.MAILBOX_PAYLOAD_BYTES;
  return receivers.flatMap((to) => vcpuNames.map((from) => ({ from, to, entries, payloadBytes })));
}

function placePci(
  arena: ArenaAllocator,
  plans: readonly PciFunctionPlan[],
): { pci: PciFunctionLayout[]; windows: RegisterWindow[] } {
  let nextAddress = PCI_MMIO_BASE;
  const assign = (bytes: number): number => {
    const address = Math.ceil(nextAddress / bytes) * bytes;
    nextAddress = address + bytes;
    assert(nextAddress <= PCI_MMIO_BASE + PCI_MMIO_BYTES, 'BARs fit into the window');
    return address;
  };
  const pci = plans.map((plan, slot): PciFunctionLayout => {
    const bars = plan.bars.map((bar): PciBarLayout => ({ ...bar, address: assign(bar.bytes) }));
    return {
      bdf: slot << 3,
      actor: plan.actor,
      config: arena.allocate(CONFIG_SPACE_BYTES, PAGE_BYTES),
      writeMask: arena.allocate(CONFIG_SPACE_BYTES, PAGE_BYTES),
      msix: arena.allocate(plan.msixBytes, PAGE_BYTES),
      bars,
    };
  });
  const windows = plans.flatMap((plan, i) => plan.windows.map((w) => placeWindow(plan, pci[i]!, i, w)));
  return { pci, windows };
}

function placeWindow(
  plan: PciFunctionPlan,
  layout: PciFunctionLayout,
  index: number,
  window: PciFunctionPlan['windows'][number],
): RegisterWindow {
  const { bar, offset, length, base, write, shadow, doorbell, msixOffset } = window;
  const address = layout.bars.find((b) => b.index === bar)?.address;
  assert(address !== undefined, 'a window lies in a BAR of its function');
  return {
    space: 'mmio',
    start: address + offset,
    length,
    actor: plan.actor,
    base,
    write,
    bar: { function: index, index: bar, offset },
    ...(shadow === undefined ? {} : { shadow }),
    ...(doorbell === undefined ? {} : { doorbell }),
    ...(msixOffset === undefined
      ? {}
      : { memory: { offset: layout.msix.offset + msixOffset, bytes: length } }),
  };
}

function writeConfigSpace(
  v: ArenaViews,
  view: DataView,
  layout: PciFunctionLayout,
  plan: PciFunctionPlan,
): void {
  const config = layout.config.offset;
  const mask = layout.writeMask.offset;
  v.u8.set(plan.config, config);
  v.u8.set(plan.writeMask, mask);
  for (const { index, bytes, is64, address } of layout.bars) {
    const at = PCI_BAR_0 + 4 * index;
    view.setUint32(config + at, (address | (is64 ? PCI_BAR_MEMORY_64 : 0)) >>> 0, true);
    view.setUint32(mask + at, ~(bytes - 1) >>> 0, true);
    if (!is64) continue;
    view.setUint32(config + at + 4, Math.floor(address / 2 ** 32), true);
    view.setUint32(mask + at + 4, 0xffff_ffff, true);
  }
  if (layout.bars.length > 0) {
    const command = view.getUint16(config + PCI_COMMAND, true);
    view.setUint16(config + PCI_COMMAND, command | PCI_COMMAND_MEMORY_AND_MASTER, true);
  }
}
