// What a machine is to be: the typed configuration that the builder takes, and the check of what a user or a program gave.
// Every refusal is a TroupeError that names the field and the fix; nothing is opened or allocated here.
import { homedir } from 'node:os';
import { join } from 'node:path';
import { TroupeError } from '#shared/base/error.js';
import * as limits from '#shared/base/limits.js';
import { checkFaultPlan, type FaultPlan } from '#shared/ipc/fault-plan.js';
import { LOG_LEVELS, type LogFormat, type LogLevel } from '#shared/ipc/log.js';
import { ENGINE_TIERS, type Accel, type EngineTier } from '#actors/vcpu/protocol.js';
import type { TraceSeed } from '#shared/ipc/trace.js';

export interface DiskConfig {
  readonly path: string;
  readonly readonly?: boolean;
  /** virtio-blk's device id, up to 20 bytes. */
  readonly serial?: string;
}

/** Where a console's output goes: a file descriptor of this process, or nowhere; 'kernel' hands it to this thread. */
export type OutputSink = number | 'none';

export interface MachineConfig {
  /** 1 … 64. */
  readonly vcpus: number;
  /** Guest RAM, whole MiB. */
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly initrd: string | undefined;
  readonly append: string;
  readonly disks: readonly DiskConfig[];
  /** isa-debug-exit at port 0xf4; multiboot kernels always have it. */
  readonly debugExit: boolean;
  readonly tier: EngineTier;
  /** Folder in which tier 'auto' keeps compiled code for the next boot; 'none' keeps none. */
  readonly translationCache: string;
  /** What runs the guest's code; 'auto' is KVM where it works. */
  readonly accel: Accel;
  /** The wasm engine counts guest instructions and keeps statistics; see {@link Machine.engineStatistics}. */
  readonly engineStatistics: boolean;
  /** A System.map or /proc/kallsyms of the guest's kernel: regions of the wasm engine are named by its functions in CPU profiles. */
  readonly symbols: string | undefined;
  /** COM1's output. */
  readonly serial: OutputSink;
  /** hvc0's output. */
  readonly console: OutputSink | 'kernel';
  /** The named ports that serve exec; see kernel/exec-channel.ts. */
  readonly execPorts: boolean;
  readonly trace: TraceSeed | undefined;
  readonly log: LogConfig;
  readonly supervision: SupervisionConfig;
  readonly faults: FaultPlan | undefined;
}

export interface LogConfig {
  readonly level: LogLevel;
  /** Open file descriptor; 2 is stderr. */
  readonly fd: number;
  readonly format: LogFormat;
}

export interface SupervisionConfig {
  /** Restarts that are allowed within `periodMs`: of device actors, and of vCPUs. */
  readonly intensity: number;
  readonly periodMs: number;
  /** Silence after which an actor that is inside the host counts as hung; 0 turns the watch off. */
  readonly hangMs: number;
  /** An actor that runs in a circle is found within two of these. */
  readonly heartbeatMs: number;
  /** Warm threads that wait for a device's death: more than one pays where deaths follow each other closely. */
  readonly spares: number;
}

export const DEFAULT_VCPUS = 2;
export const DEFAULT_MEMORY_BYTES = 512 * 2 ** 20;
export const DEFAULT_SUPERVISION: SupervisionConfig = {
  intensity: 10,
  periodMs: 10_000,
  hangMs: 10_000,
  heartbeatMs: 500,
  spares: 1,
};
const MAX_SERIAL_BYTES = 20; // VIRTIO_BLK_ID_BYTES

/** Everything optional but the kernel. */
export type MachineOptions = { readonly kernel: string } & {
  readonly [K in Exclude<keyof MachineConfig, 'kernel' | 'memoryBytes' | 'log' | 'supervision'>]?:
    MachineConfig[K] | undefined;
} & {
  /** Bytes, or a size as {@link parseSize} takes it. */
  readonly memory?: number | string | undefined;
  readonly log?: { readonly [K in keyof LogConfig]?: LogConfig[K] | undefined } | undefined;
  readonly supervision?: Partial<SupervisionConfig> | undefined;
};

/** '512M', '1G', '1048576K' or plain MiB ('512') → bytes. Throws `bad-config`. */
export function parseSize(text: string, what: string): number {
  const match = /^(\d+)([KMGkmg]?)(?:i?[Bb])?$/.exec(text.trim());
  if (match === null) {
    throw new TroupeError('bad-config', `${what}: '${text}' is not a size`, `give it as 512M or 1G`);
  }
  const unit = match[2]!.toUpperCase();
  return Number(match[1]) * (unit === 'K' ? 2 ** 10 : unit === 'G' ? 2 ** 30 : 2 ** 20);
}

/** Fills in defaults and checks. Throws TroupeError `bad-config` or `too-little-memory`. */
export function resolveConfig(options: MachineOptions): MachineConfig {
  const vcpus = options.vcpus ?? DEFAULT_VCPUS;
  checkVcpus(vcpus);
  const disks = options.disks ?? [];
  checkDisks(disks);
  if (options.faults !== undefined) checkFaultPlan(options.faults);
  const append = options.append ?? '';
  if (Buffer.byteLength(append) >= limits.MAX_COMMAND_LINE_BYTES) {
    const most = limits.MAX_COMMAND_LINE_BYTES - 1;
    throw new TroupeError(
      'bad-config',
      `the kernel command line is longer than ${most} bytes`,
      'shorten --append',
    );
  }
  if (options.kernel === '')
    throw new TroupeError('bad-config', 'no kernel is named', 'give one with --kernel FILE');
  const level = options.log?.level ?? 'warn';
  if (!LOG_LEVELS.includes(level)) {
    throw new TroupeError(
      'bad-config',
      `'${level}' is not a log level`,
      `use one of ${LOG_LEVELS.join(', ')}`,
    );
  }
  return {
    vcpus,
    memoryBytes: checkMemory(options.memory ?? DEFAULT_MEMORY_BYTES),
    kernel: options.kernel,
    initrd: options.initrd,
    append,
    disks,
    debugExit: options.debugExit ?? false,
    tier: options.tier ?? defaultTier(),
    translationCache: options.translationCache ?? defaultCacheFolder(),
    accel: options.accel ?? 'auto',
    engineStatistics: options.engineStatistics ?? false,
    symbols: options.symbols,
    serial: options.serial ?? 'none',
    console: options.console ?? 'none',
    execPorts: options.execPorts ?? false,
    trace: options.trace,
    log: { level, fd: options.log?.fd ?? 2, format: options.log?.format ?? 'json' },
    supervision: { ...DEFAULT_SUPERVISION, ...options.supervision },
    faults: options.faults,
  };
}

/** TROUPE_TIER is for running tests and measurements on another tier. */
function defaultTier(): EngineTier {
  const wanted = process.env['TROUPE_TIER'] || 'auto';
  const tier = ENGINE_TIERS.find((known) => known === wanted);
  if (tier !== undefined) return tier;
  const message = `TROUPE_TIER: '${wanted}' is not a tier`;
  throw new TroupeError('bad-config', message, `use one of ${ENGINE_TIERS.join(', ')}`);
}

function defaultCacheFolder(): string {
  const own = process.env['TROUPE_TRANSLATION_CACHE'];
  if (own) return own;
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'troupe/regions');
}

function checkVcpus(vcpus: number): void {
  if (Number.isInteger(vcpus) && vcpus >= limits.MIN_VCPUS && vcpus <= limits.MAX_VCPUS) return;
  throw new TroupeError(
    'bad-config',
    `a machine cannot have ${vcpus} vCPUs`,
    `use --smp ${limits.MIN_VCPUS} to ${limits.MAX_VCPUS}`,
  );
}

function checkMemory(memory: number | string): number {
  const bytes = typeof memory === 'string' ? parseSize(memory, 'memory') : memory;
  if (!Number.isSafeInteger(bytes) || bytes % 2 ** 20 !== 0) {
    throw new TroupeError(
      'bad-config',
      `${bytes} bytes of memory are not whole MiB`,
      'give --memory as 512M or 1G',
    );
  }
  if (bytes < limits.MIN_RAM_BYTES) {
    const least = limits.MIN_RAM_BYTES / 2 ** 20;
    throw new TroupeError(
      'too-little-memory',
      `${bytes / 2 ** 20} MiB of memory are too little`,
      `use --memory ${least}M or more`,
    );
  }
  if (bytes > limits.MAX_ARENA_BYTES) {
    throw new TroupeError(
      'bad-config',
      `${bytes / 2 ** 30} GiB of memory are too much`,
      'use --memory 3G or less',
    );
  }
  return bytes;
}

function checkDisks(disks: readonly DiskConfig[]): void {
  if (disks.length > limits.MAX_DISKS) {
    const hint = `attach ${limits.MAX_DISKS} at most`;
    throw new TroupeError('bad-config', `${disks.length} disks are too many`, hint);
  }
  for (const { path, serial } of disks) {
    if (path === '')
      throw new TroupeError('bad-config', 'a disk has no path', 'give --disk FILE[,readonly][,serial=ID]');
    if (serial !== undefined && Buffer.byteLength(serial) > MAX_SERIAL_BYTES) {
      const message = `serial '${serial}' of disk ${path} is too long`;
      throw new TroupeError('bad-config', message, `use ${MAX_SERIAL_BYTES} bytes at most`);
    }
  }
}

/** 'a.img', 'b.img,readonly', 'c.img,serial=root' → a disk. Throws `bad-flag`. */
export function parseDisk(text: string): DiskConfig {
  const [path, ...words] = text.split(',');
  let disk: DiskConfig = { path: path! };
  for (const word of words) {
    if (word === 'readonly' || word === 'ro') disk = { ...disk, readonly: true };
    else if (word.startsWith('serial=')) disk = { ...disk, serial: word.slice('serial='.length) };
    else {
      const message = `--disk ${text}: '${word}' is not known`;
      throw new TroupeError('bad-flag', message, 'use --disk FILE[,readonly][,serial=ID]');
    }
  }
  return disk;
}
