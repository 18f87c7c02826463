// Builds a machine from its configuration: the one file that names all actors. Reads the guest's images, plans the arena,
// places firmware tables and the kernel in guest RAM, and says which worker runs each actor with which parameters.
import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buildAcpiTables } from '#shared/acpi/tables.js';
import {
  ANSWER_ENTRIES,
  ANSWER_PAYLOAD_BYTES,
  COMPILER_NAME,
  type CompilerParams,
  REQUEST_ENTRIES,
  REQUEST_PAYLOAD_BYTES,
} from '#actors/compiler/protocol.js';
import { uartWindow, type UartParams } from '#actors/uart/protocol.js';
import type { VcpuParams } from '#actors/vcpu/protocol.js';
import type { VirtioBlkParams } from '#actors/virtio-blk/protocol.js';
import { inputSource, portCount, type VirtioConsoleParams } from '#actors/virtio-console/protocol.js';
import type { VirtioRngParams } from '#actors/virtio-rng/protocol.js';
import { monotonicNs, wallNs } from '#shared/base/clock.js';
import { TroupeError } from '#shared/base/error.js';
import * as limits from '#shared/base/limits.js';
import { loadKernel, type LoadedKernel } from '#shared/boot/load-kernel.js';
import type { ActorSeed } from '#shared/ipc/actor.js';
import type { Region } from '#shared/base/region.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import { viewArena, type ArenaViews } from '#shared/memory/arena.js';
import { GuestMemory } from '#shared/memory/guest-memory.js';
import {
  KERNEL_NAME,
  mailboxName,
  vcpuName,
  type MachineLayout,
  type RegisterWindow,
} from '#shared/memory/machine-layout.js';
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';
import { hostBridgePlan } from '#shared/pci/host-bridge.js';
import { blkFunctionPlan } from '#shared/virtio/blk.js';
import { consoleFunctionPlan } from '#shared/virtio/console.js';
import { rngFunctionPlan } from '#shared/virtio/rng.js';
import { resetChipset, startLegacyTimer } from '#shared/x86/chipset-power-on.js';
import { INSIDE_ENGINE, PENDING, PENDING_KICK, RIP } from '#shared/x86/cpu-state.js';
import { createInterruptFabric } from '#shared/x86/interrupt-delivery.js';
import { signalWord } from '#shared/ipc/doorbell.js';
import { chooseAccel } from './accel/choose-accel.js';
import { openKvmMachine, type KvmMachine } from './accel/kvm-machine.js';
import { formatArena, planArena, type MailboxPlan } from './arena-plan.js';
import { checkVictims } from './fault/fault-victims.js';
import type { DiskConfig, MachineConfig, OutputSink, SupervisionConfig } from './machine-config.js';
import type { ActorSpec } from './supervision/child.js';

export interface BuiltMachine {
  readonly memory: WebAssembly.Memory;
  readonly layout: MachineLayout;
  readonly kernelKind: LoadedKernel['kind'];
  readonly devices: readonly ActorSpec[];
  readonly vcpus: readonly ActorSpec[];
  readonly supervision: SupervisionConfig;
  /** COM1's output. */
  readonly serial?: OutputSink;
  /** The machine's engine keeps statistics. */
  readonly engineStatistics: boolean;
  /** Every seed has it; what is injected later is pushed. */
  readonly faults: { readonly seed: number; readonly rules: FaultRule[] };
  /** Modules that a device's replacement needs, and a vCPU's. */
  readonly deviceModules: readonly URL[];
  readonly vcpuModules: readonly URL[];
  /** Gives back what the host keeps for the machine, once no thread uses it any more. */
  readonly release?: () => void;
}

/** An actor that is no vCPU. */
interface DevicePlan {
  readonly name: string;
  readonly kind: string;
  readonly params: unknown;
  readonly pci?: PciFunctionPlan;
  readonly windows?: readonly RegisterWindow[];
  readonly mailboxes?: readonly MailboxPlan[];
}

export const CONSOLE_NAME = 'virtio-console-0';
export const CHIPSET_NAME = 'chipset';
const RNG_NAME = 'virtio-rng-0';
export const UART_NAME = 'uart';
const SHUTDOWN_MS = 2000;
/** Decoded blocks and compiled regions are on the JavaScript heap. */
const VCPU_HEAP_MIB = 512;
const COMPILER_HEAP_MIB = 192;
/** A third of a vCPU's share where both want a processor: woken by a request, it would otherwise take the asking vCPU's own. */
const COMPILER_NICE = 5;
const COMPILER_KIND = 'compiler';
/** How a worker of an actor starts; a test may put sources elsewhere. */
const ACTORS = new URL('../actors/', import.meta.url);
const BUILT_ACTORS = import.meta.url.endsWith('.ts') ? new URL('../dist/actors/', import.meta.url) : ACTORS;

export function actorEntry(kind: string): URL {
  return new URL(`${kind}/main.cjs`, BUILT_ACTORS);
}

/** Reads the images and builds. Rejects with TroupeError; nothing is left open or running then. */
export async function buildMachine(config: MachineConfig): Promise<BuiltMachine> {
  const [image, initrd] = await Promise.all([
    readImage(config.kernel, 'kernel', '--kernel'),
    config.initrd === undefined ? undefined : readImage(config.initrd, 'initrd', '--initrd'),
    config.symbols === undefined ? undefined : readImage(config.symbols, 'symbol file', '--symbols'),
    ...config.disks.map(checkDisk),
  ]);
  const plans = planDevices(config);
  const vcpus = Array.from({ length: config.vcpus }, (_, i) => ({ name: vcpuName(i), kind: 'vcpu' }));
  for (const rule of config.faults?.rules ?? []) checkVictims(rule, [...vcpus, ...plans]);
  const pci = [hostBridgePlan(CHIPSET_NAME), ...plans.flatMap((p) => (p.pci === undefined ? [] : [p.pci]))];
  const kvmWanted = chooseAccel(config).accel === 'kvm';
  const planned = planArena({
    kvm: kvmWanted,
    vcpus: config.vcpus,
    ramBytes: config.memoryBytes,
    actors: plans.map((p) => p.name),
    mailboxes: plans.flatMap((p) => p.mailboxes ?? []),
    windows: plans.flatMap((p) => p.windows ?? []),
    pci,
  });
  const { layout } = planned;
  const memory = allocateArena(layout.arenaBytes);
  const views = viewArena(memory);
  formatArena(views, planned, pci);
  const fabric = createInterruptFabric(memory, layout);
  resetChipset(fabric, monotonicNs(), wallNs());
  const ram = new GuestMemory(memory, layout.ram);
  const loaded = loadGuest(config, ram, image, initrd);
  if (loaded.kind === 'multiboot') startLegacyTimer(fabric, monotonicNs());
  const kvm = kvmWanted ? openKvmMachine(memory, layout) : undefined;
  const faults = { seed: config.faults?.seed ?? 0, rules: [...(config.faults?.rules ?? [])] };
  const seed = makeSeed({ ...config, faults }, memory, layout, kvm);
  // The compiler is none of them: its modules take longer to load than all others together, and no request waits for it.
  const kinds = [...new Set(plans.map((plan) => plan.kind))].filter((kind) => kind !== COMPILER_KIND);
  // Bare-metal kernels have no other way to report how they ended.
  const debugExit = config.debugExit || loaded.kind === 'multiboot';
  return {
    memory,
    layout,
    kernelKind: loaded.kind,
    devices: plans.map((plan) => ({
      ...actorSpec(layout, seed(plan.name, plan.kind, plan.params)),
      ...(plan.kind === COMPILER_KIND && { heapMib: COMPILER_HEAP_MIB, nice: COMPILER_NICE }),
    })),
    vcpus: layout.vcpus.map((vcpu, index): ActorSpec => {
      const initial = index === 0 ? { initial: loaded } : {};
      const statistics = config.engineStatistics;
      const params: VcpuParams = { index, ...initial, debugExit, tier: config.tier, statistics };
      const spec = actorSpec(layout, seed(vcpuName(index), 'vcpu', params));
      const pendingWord = (vcpu.state.offset + PENDING) >>> 2;
      const kick = (): void => {
        signalWord(views.i32, pendingWord, PENDING_KICK);
        kvm?.kick(index);
      };
      return {
        ...spec,
        heapMib: VCPU_HEAP_MIB,
        killGently: true,
        kick,
        cannotGoOn: () => vcpuObstacle(views, vcpu.state),
      };
    }),
    supervision: config.supervision,
    serial: config.serial,
    engineStatistics: config.engineStatistics && kvm === undefined,
    faults,
    vcpuModules: [new URL(`vcpu/engine-${kvm === undefined ? 'wasm' : 'kvm'}/vcpu-engine.cjs`, BUILT_ACTORS)],
    deviceModules: kinds.map((kind) => new URL(`${kind}/actor.cjs`, BUILT_ACTORS)),
    ...(kvm && { release: () => kvm.close() }),
  };
}

/** Where no replacement could go on: half of an instruction may be done. */
function vcpuObstacle({ i32 }: ArenaViews, state: Region): string | undefined {
  if (i32[(state.offset + INSIDE_ENGINE) >>> 2] === 0) return undefined;
  const at = (state.offset + RIP) >>> 2;
  const rip = (BigInt(i32[at + 1]! >>> 0) << 32n) | BigInt(i32[at]! >>> 0);
  return (
    'it was inside guest code, where its state is not exact: the guest is stopped rather than go on wrong ' +
    `(RIP at the last exact point 0x${rip.toString(16)})`
  );
}

function planDevices(config: MachineConfig): DevicePlan[] {
  const fromKernel = (to: string): MailboxPlan => ({
    from: KERNEL_NAME,
    to,
    entries: limits.INPUT_MAILBOX_ENTRIES,
    payloadBytes: limits.INPUT_MAILBOX_PAYLOAD_BYTES,
  });
  return [
    { name: CHIPSET_NAME, kind: 'chipset', params: {} },
    {
      name: UART_NAME,
      kind: 'uart',
      params: { output: config.serial === 'none' ? 'none' : 'kernel' } satisfies UartParams,
      windows: [uartWindow(UART_NAME)],
      mailboxes: [fromKernel(UART_NAME)],
    },
    ...(config.tier === 'interp' ? [] : [planCompiler(config)]),
    planConsole(config),
    {
      name: RNG_NAME,
      kind: 'virtio-rng',
      params: {} satisfies VirtioRngParams,
      pci: rngFunctionPlan(RNG_NAME),
    },
    ...config.disks.map((disk, i): DevicePlan => {
      const name = `virtio-blk-${i}`;
      const { path, readonly = false, serial = name } = disk;
      const params: VirtioBlkParams = { path: resolve(path), readonly, serial };
      return { name, kind: 'virtio-blk', params, pci: blkFunctionPlan(name) };
    }),
  ];
}

/** Bigger messages than others': requests carry decoded code, answers WebAssembly modules. */
function planCompiler(config: MachineConfig): DevicePlan {
  const vcpus = Array.from({ length: config.vcpus }, (_, index) => vcpuName(index));
  // A heat of 1 compiles what nobody wants to find again.
  // Names of functions are in the code; those of another boot may be of another kernel, or of none.
  const named = config.symbols !== undefined;
  const kept = config.tier === 'auto' && config.translationCache !== 'none' && !named;
  const cacheFolder = kept ? resolve(config.translationCache) : undefined;
  const symbolsPath = config.symbols === undefined ? undefined : resolve(config.symbols);
  const requests = { entries: REQUEST_ENTRIES, payloadBytes: REQUEST_PAYLOAD_BYTES };
  const answers = { entries: ANSWER_ENTRIES, payloadBytes: ANSWER_PAYLOAD_BYTES };
  return {
    name: COMPILER_NAME,
    kind: COMPILER_KIND,
    params: { vcpus, cacheFolder, symbolsPath, statistics: config.engineStatistics } satisfies CompilerParams,
    mailboxes: vcpus.flatMap((vcpu) => [
      { from: vcpu, to: COMPILER_NAME, ...requests },
      { from: COMPILER_NAME, to: vcpu, ...answers },
    ]),
  };
}

/** The terminal's output goes through the kernel's thread, which is not killed: that is what makes it exactly-once. */
function planConsole(config: MachineConfig): DevicePlan {
  const ports = portCount(config.execPorts);
  const params: VirtioConsoleParams = {
    output: config.console === 'none' ? 'none' : 'kernel',
    execPorts: config.execPorts,
  };
  const output: MailboxPlan = {
    from: CONSOLE_NAME,
    to: KERNEL_NAME,
    entries: limits.MAILBOX_ENTRIES,
    payloadBytes: limits.INPUT_MAILBOX_PAYLOAD_BYTES,
  };
  const inputs = Array.from({ length: ports }, (_, port): MailboxPlan => ({
    from: inputSource(port),
    to: CONSOLE_NAME,
    entries: limits.INPUT_MAILBOX_ENTRIES,
    payloadBytes: limits.INPUT_MAILBOX_PAYLOAD_BYTES,
  }));
  return {
    name: CONSOLE_NAME,
    kind: 'virtio-console',
    params,
    pci: consoleFunctionPlan(CONSOLE_NAME, ports),
    mailboxes: [output, ...inputs],
  };
}

function loadGuest(
  config: MachineConfig,
  ram: GuestMemory,
  image: Uint8Array,
  initrd: Uint8Array | undefined,
): LoadedKernel {
  const acpi = buildAcpiTables({ vcpus: config.vcpus });
  const loaded = loadKernel(ram, image, {
    kernelName: config.kernel,
    append: config.append,
    initrd,
    initrdString: config.initrd,
    rsdp: acpi.rsdp,
  });
  for (const { gpa, bytes } of acpi.blobs) ram.copyIn(gpa, bytes);
  return loaded;
}

function makeSeed(
  config: MachineConfig,
  memory: WebAssembly.Memory,
  layout: MachineLayout,
  kvm: KvmMachine | undefined,
) {
  return (name: string, kind: string, params: unknown): ActorSpec['seed'] => ({
    name,
    kind,
    memory,
    layout,
    params,
    faults: config.faults,
    logLevel: config.log.level,
    logFd: config.log.fd,
    logFormat: config.log.format,
    trace: config.trace,
    kvm: kvm?.link,
  });
}

function actorSpec(layout: MachineLayout, seed: Omit<ActorSeed, 'generation' | 'startPaused'>): ActorSpec {
  return {
    name: seed.name,
    restart: 'permanent',
    shutdownMs: SHUTDOWN_MS,
    entry: actorEntry(seed.kind),
    layout: layout.actors[seed.name]!,
    inboxes: inboxesOf(layout, seed.name),
    seed,
  };
}

function inboxesOf(layout: MachineLayout, actor: string): readonly Region[] {
  const suffix = mailboxName('', actor);
  return Object.entries(layout.mailboxes).flatMap(([name, region]) =>
    name.endsWith(suffix) ? [region] : [],
  );
}

/** A disk that cannot be opened is told before the guest starts, not by an actor that fails. */
async function checkDisk(disk: DiskConfig): Promise<undefined> {
  const { path } = disk;
  try {
    const { R_OK, W_OK } = constants;
    await access(path, disk.readonly === true ? R_OK : R_OK | W_OK);
    if ((await stat(path)).isDirectory()) throw new Error('it is a directory');
    return undefined;
  } catch (cause) {
    throw unreadable(
      `the disk ${path}`,
      cause,
      'check --disk; an image that you may only read needs ,readonly',
    );
  }
}

function unreadable(what: string, cause: unknown, hint: string): TroupeError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const reasons: Record<string, string> = {
    ENOENT: 'there is no such file',
    EACCES: 'permission denied',
    EISDIR: 'it is a directory',
  };
  const reason = reasons[code ?? ''] ?? message;
  return new TroupeError('file-unreadable', `cannot open ${what}: ${reason}`, hint, { cause });
}

async function readImage(path: string, what: string, flag: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw unreadable(`the ${what} ${path}`, cause, `check ${flag}`);
  }
}

function allocateArena(bytes: number): WebAssembly.Memory {
  const pages = Math.ceil(bytes / limits.WASM_PAGE_BYTES);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (cause) {
    throw new TroupeError(
      'bad-config',
      `the host has no address space for ${Math.ceil(bytes / 2 ** 20)} MiB of guest memory`,
      'use a smaller --memory',
      { cause },
    );
  }
}
