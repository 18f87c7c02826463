// The flags of `troupe run`: QEMU's habits where it has some. Every refusal is a TroupeError `bad-flag` that names the flag
// and what it takes.
import { ACCELS, ENGINE_TIERS, type Accel, type EngineTier } from '#actors/vcpu/protocol.js';
import { parseArgs } from 'node:util';
import {
  LOG_LEVELS,
  TRACE_CHANNELS,
  TroupeError,
  defaultGuestName,
  parseDisk,
  parseFault,
  parseTimeMs,
  readFaultPlan,
  type DiskConfig,
  type FaultPlan,
  type KernelSeries,
  type LogLevel,
  type TraceChannel,
} from '../index.js';

export interface RunArguments {
  readonly smp: number | undefined;
  readonly memory: string | undefined;
  readonly kernel: string | undefined;
  readonly kernelSeries: KernelSeries | undefined;
  readonly initrd: string | undefined;
  readonly append: string | undefined;
  readonly disks: readonly DiskConfig[];
  readonly exec: string | undefined;
  readonly verbose: boolean;
  /** Absent: a person reads what is worth a line. */
  readonly logLevel: LogLevel | undefined;
  readonly logFile: string | undefined;
  readonly debugExit: boolean;
  readonly tier: EngineTier | undefined;
  readonly translationCache: boolean;
  readonly symbols: string | undefined;
  readonly statistics: readonly StatisticsKind[];
  readonly accel: Accel;
  readonly reboot: boolean;
  readonly trace: readonly TraceChannel[];
  readonly traceFile: string;
  readonly name: string;
  readonly faults: FaultPlan | undefined;
  readonly heartbeatMs: number | undefined;
  readonly help: boolean;
}

/** What `--stats` can show. */
const STATISTICS = ['engine'] as const;
type StatisticsKind = (typeof STATISTICS)[number];

const SERIES: readonly KernelSeries[] = ['6.1', '6.12', 'default'];

const OPTIONS = {
  smp: { type: 'string' },
  memory: { type: 'string', short: 'm' },
  kernel: { type: 'string' },
  'guest-kernel': { type: 'string' },
  initrd: { type: 'string' },
  append: { type: 'string' },
  disk: { type: 'string', multiple: true },
  exec: { type: 'string' },
  verbose: { type: 'boolean' },
  'log-level': { type: 'string' },
  'log-file': { type: 'string' },
  'debug-exit': { type: 'boolean' },
  tier: { type: 'string' },
  'no-translation-cache': { type: 'boolean' },
  symbols: { type: 'string' },
  stats: { type: 'string' },
  accel: { type: 'string' },
  'no-reboot': { type: 'boolean' },
  trace: { type: 'string' },
  'trace-file': { type: 'string' },
  name: { type: 'string' },
  fault: { type: 'string', multiple: true },
  'fault-plan': { type: 'string' },
  seed: { type: 'string' },
  heartbeat: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

export const RUN_HELP = `usage: troupe run [options]

Boots a virtual machine on this terminal: a stock Debian kernel with a busybox shell, or your own kernel.

  --smp N                 virtual CPUs, 1 to 64 (default 2)
  -m, --memory SIZE       guest memory: 512M, 1G, … (default 512M)
  --kernel FILE           a bzImage, PVH ELF or multiboot1 ELF of your own
  --initrd FILE           its initial RAM disk (the one module of a multiboot kernel)
  --append "WORDS"        kernel command line; added to the stock guest's own
  --guest-kernel SERIES   which stock kernel: 6.1, 6.12 or default
  --disk FILE[,readonly][,serial=ID]
                          a raw image as a virtio disk; may be repeated
  --exec "COMMAND"        boot quietly, run a shell command, exit with its code;
                          what is piped in is the command's stdin
  --verbose               the guest kernel's whole log on stderr
  --log-level LEVEL       Troupe's own log as JSON, one line an event: ${LOG_LEVELS.slice(0, 4).join(', ')},
                          ${LOG_LEVELS.slice(4).join(', ')} (default: warnings, in plain words)
  --log-file FILE         Troupe's log (JSON) and the guest kernel's log into a file
  --debug-exit            isa-debug-exit at port 0xf4: exit code (value << 1) | 1
                          (a multiboot kernel always has it)
  --accel ACCEL           what runs the guest: ${ACCELS.join(', ')} (default auto: KVM where
                          it works, else the wasm engine)
  --tier TIER             of the wasm engine: ${ENGINE_TIERS.join(', ')} (default auto: hot code becomes
                          WebAssembly; interp boots a little sooner; compiled compiles all)
  --no-translation-cache  with --tier auto: neither use nor keep compiled code of other boots
  --stats engine          counts what the wasm engine does, guest instructions too, and
                          prints it on stderr at the end; costs some speed
  --symbols FILE          the guest kernel's System.map or /proc/kallsyms: names its functions
                          in Node's CPU profiles (bench/README.md); without a translation cache
  --no-reboot             a reset of the guest ends the process
  --trace CHANNELS        of ${TRACE_CHANNELS.join(',')}; comma-separated
  --trace-file FILE       where the trace goes (default troupe.trace; bounded)
  --name NAME             how troupe actors and troupe fault call the guest
                          (default guest-PID)
  --fault 'ACTOR: FAULT'  break an actor: 'virtio-blk-0: crash at request.completed
                          after 1000, every 500', 'vcpu-1: hang at 5s'; may be repeated
  --fault-plan FILE       faults from a YAML file
  --seed N                of faults by chance (default: the plan's, or 0)
  --heartbeat TIME        an actor that hangs is found within two of these (default 500ms)
  -h, --help              this text

Environment: TROUPE_TIER is what --tier is when it is not given; TROUPE_TRANSLATION_CACHE the
folder of compiled code ('none': as --no-translation-cache).

Keys: Ctrl-A x quits, Ctrl-A a sends Ctrl-A, Ctrl-A h shows the keys.
Exit code: 0 after poweroff, 2 for bad input, 70 when the machine failed, 130 after Ctrl-C.

examples:
  troupe run
  troupe run --smp 4 --memory 1G --disk data.img --disk base.img,readonly
  troupe run --exec 'nproc; cat /proc/cpuinfo'
  troupe run --kernel bzImage --initrd root.cpio.gz --append 'console=ttyS0'
`;

function badFlag(message: string, hint: string): TroupeError {
  return new TroupeError('bad-flag', message, hint);
}

function oneOf<T extends string>(flag: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((a) => a === value);
  if (found === undefined) throw badFlag(`${flag} ${value} is not known`, `use one of ${allowed.join(', ')}`);
  return found;
}

/** Throws TroupeError `bad-flag`. */
export function parseRunArguments(argv: readonly string[]): RunArguments {
  const values = parse(argv);
  const trace = (values.trace ?? '').split(',').filter((c) => c !== '');
  return {
    smp: parseCount('--smp', values.smp),
    memory: values.memory,
    kernel: values.kernel,
    kernelSeries:
      values['guest-kernel'] === undefined
        ? undefined
        : oneOf('--guest-kernel', values['guest-kernel'], SERIES),
    initrd: values.initrd,
    append: values.append,
    disks: (values.disk ?? []).map(parseDisk),
    exec: values.exec,
    verbose: values.verbose ?? false,
    logLevel:
      values['log-level'] === undefined ? undefined : oneOf('--log-level', values['log-level'], LOG_LEVELS),
    logFile: values['log-file'],
    debugExit: values['debug-exit'] ?? false,
    tier: values.tier === undefined ? undefined : oneOf('--tier', values.tier, ENGINE_TIERS),
    translationCache: !(values['no-translation-cache'] ?? false),
    symbols: values.symbols,
    statistics: (values.stats ?? '')
      .split(',')
      .filter((kind) => kind !== '')
      .map((kind) => oneOf('--stats', kind, STATISTICS)),
    accel: oneOf('--accel', values.accel ?? 'auto', ACCELS),
    reboot: !(values['no-reboot'] ?? false),
    trace: trace.map((c) => oneOf('--trace', c, TRACE_CHANNELS)),
    traceFile: values['trace-file'] ?? 'troupe.trace',
    name: values.name ?? defaultGuestName(),
    faults: readFaults(values.fault ?? [], values['fault-plan'], parseCount('--seed', values.seed)),
    heartbeatMs: parseTime('--heartbeat', values.heartbeat),
    help: values.help ?? false,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, strict: true, allowPositionals: false }).values;
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const first = text.split(/\. |\n/)[0]!;
    throw new TroupeError('bad-flag', first, 'see troupe run --help', { cause });
  }
}

function readFaults(
  texts: readonly string[],
  file: string | undefined,
  seed: number | undefined,
): FaultPlan | undefined {
  if (texts.length === 0 && file === undefined && seed === undefined) return undefined;
  const plan = file === undefined ? { seed: 0, rules: [] } : readFaultPlan(file);
  return { seed: seed ?? plan.seed, rules: [...plan.rules, ...texts.map(parseFault)] };
}

function parseTime(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const timeMs = parseTimeMs(text);
  if (timeMs === undefined || timeMs < 20)
    throw badFlag(`${flag} ${text} is not a time from 20ms`, `give it as ${flag} 500ms`);
  return timeMs;
}

function parseCount(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw badFlag(`${flag} ${text} is not a number`, `give it as ${flag} 2`);
  return Number(text);
}
