// `troupe run`: a guest on this terminal, or one command in it (`--exec`). Returns the exit code; throws TroupeError for
// what the user can mend.
import { closeSync, openSync } from 'node:fs';
import {
  TroupeError,
  Session,
  type AccelChoice,
  type AssetProgress,
  type MachineExit,
  type SessionOptions,
  yieldToActors,
} from '../index.js';
import { tellActorNews } from './actor-news.js';
import type { RunArguments } from './args.js';
import { formatEngineStatistics } from './statistics.js';
import { attachTerminal, reportSize, type TerminalUser } from './terminal.js';

export const EXIT_BAD_INPUT = 2;
/** EX_SOFTWARE of sysexits.h. */
export const EXIT_FAILED = 70;
/** A guest that resets sooner than this after its start would do so for ever. */
const REBOOT_LOOP_MS = 4000;
const TRACE_LIMIT_BYTES = 64 * 2 ** 20;
const CTRL_C = 3;
const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

export async function run(args: RunArguments): Promise<number> {
  const logFd = args.logFile === undefined ? undefined : openOutput(args.logFile, 'a', '--log-file');
  const traceFd = args.trace.length === 0 ? undefined : openOutput(args.traceFile, 'w', '--trace-file');
  try {
    const options = sessionOptions(args, logFd, traceFd);
    return args.exec === undefined
      ? await runInteractive(args, options)
      : await runExec(args, args.exec, options);
  } finally {
    if (logFd !== undefined) closeSync(logFd);
    if (traceFd !== undefined) closeSync(traceFd);
  }
}

function openOutput(path: string, flags: 'a' | 'w', flag: string): number {
  try {
    return openSync(path, flags);
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new TroupeError('file-unreadable', `cannot write ${path}: ${reason}`, `check ${flag}`, { cause });
  }
}

function sessionOptions(
  args: RunArguments,
  logFd: number | undefined,
  traceFd: number | undefined,
): SessionOptions {
  const own = args.kernel !== undefined;
  const quiet = args.exec !== undefined && !args.verbose;
  // JSON is for files and for who asks for a level.
  const plain = logFd === undefined && args.logLevel === undefined;
  const serial = logFd ?? (own && args.exec === undefined ? 1 : quiet ? 'none' : 2);
  return {
    vcpus: args.smp,
    memory: args.memory,
    kernel: args.kernel,
    kernelSeries: args.kernelSeries,
    initrd: args.initrd,
    append: args.append,
    disks: args.disks,
    debugExit: args.debugExit,
    tier: args.tier,
    translationCache: args.translationCache ? undefined : 'none',
    symbols: args.symbols,
    engineStatistics: args.statistics.includes('engine'),
    name: args.name,
    faults: args.faults,
    supervision: args.heartbeatMs === undefined ? undefined : { heartbeatMs: args.heartbeatMs },
    accel: args.accel,
    onAccel: (choice) => tellAccel(args, choice),
    verbose: args.verbose || logFd !== undefined,
    shell: args.exec === undefined,
    serial,
    console: args.exec === undefined ? 1 : 'none',
    execPorts: args.exec !== undefined,
    input: own && usesSerialConsole(args.append ?? '') ? 'serial' : undefined,
    trace:
      traceFd === undefined
        ? undefined
        : { channels: args.trace, fd: traceFd, limitBytes: TRACE_LIMIT_BYTES },
    log: { level: args.logLevel, fd: logFd, format: plain ? 'text' : 'json' },
    onActorEvent: plain ? tellActorNews(complain) : undefined,
    onAssetProgress: showProgress,
  };
}

/** Of several console= words the last is the one that /dev/console reads. */
function usesSerialConsole(append: string): boolean {
  const last = append
    .split(/\s+/)
    .filter((w) => w.startsWith('console='))
    .at(-1);
  return last?.startsWith('console=ttyS') ?? false;
}

/** One line where something was chosen; a quiet `--exec` says only what the user can mend. */
function tellAccel(args: RunArguments, { explanation, notable }: AccelChoice): void {
  endProgress();
  const quiet = args.exec !== undefined && !args.verbose;
  if (notable || (args.accel === 'auto' && !quiet)) complain(explanation);
}

let progressShown = false;

function showProgress({ message, percent }: AssetProgress): void {
  const line = percent === undefined ? message : `${message} ${Math.floor(percent)} %`;
  if (process.stderr.isTTY === true) {
    process.stderr.write(`\r\x1b[K${line}`);
    progressShown = true;
  } else if (percent === undefined) process.stderr.write(`troupe: ${line}\n`);
}

function endProgress(): void {
  if (progressShown) process.stderr.write('\r\x1b[K');
  progressShown = false;
}

/** Opens a session that signals stop; `signalled` gives the exit code they mean. */
async function openStoppable(
  options: SessionOptions,
): Promise<{ session: Session; signalled: () => number | undefined; release: () => void }> {
  let code: number | undefined;
  let session: Session | undefined;
  const onSignal = (signal: keyof typeof SIGNALS): void => {
    code = 128 + SIGNALS[signal];
    if (session === undefined) process.exit(code);
    void session.stop();
  };
  const names = Object.keys(SIGNALS) as (keyof typeof SIGNALS)[];
  for (const name of names) process.on(name, onSignal);
  const release = (): void => {
    for (const name of names) process.off(name, onSignal);
  };
  try {
    yieldToActors();
    session = await Session.open(options);
  } catch (error) {
    release();
    throw error;
  } finally {
    endProgress();
  }
  return { session, signalled: () => code, release };
}

/** What the terminal's keys mean: before the guest runs, only how to leave. */
function terminalUser(current: () => Session | undefined, onQuit: () => void): TerminalUser {
  return {
    onKeys: (bytes) => {
      const session = current();
      if (session !== undefined) void session.type(bytes);
      else if (bytes.includes(CTRL_C)) process.exit(128 + SIGNALS.SIGINT);
    },
    onQuit: () => {
      const session = current();
      if (session === undefined) process.exit(0);
      onQuit();
      void session.stop();
    },
    onResize: (columns, rows) => current()?.resizeTerminal(columns, rows),
  };
}

async function runInteractive(args: RunArguments, options: SessionOptions): Promise<number> {
  for (;;) {
    const startedMs = performance.now();
    const now: { session?: Session; quit: boolean } = { quit: false };
    const user = terminalUser(
      () => now.session,
      () => (now.quit = true),
    );
    let detach = (): void => {};
    const onBuild = (): void => {
      endProgress();
      detach = attachTerminal(user);
    };
    const { session, signalled, release } = await openStoppable({ ...options, onBuild }).catch(
      (error: unknown) => {
        detach();
        throw error;
      },
    );
    now.session = session;
    reportSize(user);
    const exit = await session.wait();
    detach();
    release();
    tellStatistics(args, session);
    if (now.quit) return 0;
    const code = signalled();
    if (code !== undefined) return code;
    const restarts = exit.kind === 'reset' || exit.kind === 'triple-fault';
    if (!restarts || !args.reboot) return exitCode(exit);
    if (performance.now() - startedMs < REBOOT_LOOP_MS) {
      complain('the guest reset itself right after its start; its kernel log (--verbose) may say why');
      return 1;
    }
  }
}

function tellStatistics(args: RunArguments, session: Session): void {
  if (args.statistics.includes('engine'))
    process.stderr.write(formatEngineStatistics(session.engineStatistics()));
}

function exitCode(exit: MachineExit): number {
  switch (exit.kind) {
    case 'poweroff':
    case 'stopped':
    case 'reset':
      return 0;
    case 'debug-exit':
      return exit.code;
    case 'triple-fault':
      complain(`vCPU ${exit.vcpu} met a triple fault`);
      return 1;
    case 'failed':
      complain(`the machine failed: ${exit.message}`);
      if (exit.bundle !== undefined) complain(`what is left of it is in ${exit.bundle}`);
      return EXIT_FAILED;
  }
}

function complain(message: string): void {
  process.stderr.write(`troupe: ${message}\n`);
}

async function runExec(args: RunArguments, command: string, options: SessionOptions): Promise<number> {
  const { session, signalled, release } = await openStoppable(options);
  // A reader that has gone (troupe … | head) ends the command.
  const onBrokenPipe = (): void => void session.stop();
  process.stdout.on('error', onBrokenPipe);
  try {
    const stdin = process.stdin.isTTY === true ? undefined : process.stdin;
    return await session.exec(command, {
      stdin,
      onStdout: (bytes) => writeAll(process.stdout, bytes),
      onStderr: (bytes) => writeAll(process.stderr, bytes),
    });
  } catch (error) {
    const code = signalled();
    if (code !== undefined) return code;
    if (process.stdout.errored !== null) return 0;
    const exit = await session.stop();
    if (exit.kind === 'debug-exit') return exit.code;
    if (exit.kind === 'failed') return exitCode(exit);
    throw error;
  } finally {
    await session.stop();
    release();
    tellStatistics(args, session);
    process.stdin.destroy();
  }
}

/** Resolves when the stream takes more: so a slow reader slows the guest instead of filling memory. */
async function writeAll(stream: NodeJS.WriteStream, bytes: Uint8Array): Promise<void> {
  if (stream.write(bytes) || stream.destroyed) return;
  await new Promise<void>((resolve) => {
    stream.once('drain', resolve);
    stream.once('close', resolve);
  });
}
