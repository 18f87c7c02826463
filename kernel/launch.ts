// launch(): a guest whose kernel runs as a child process, so that a busy event loop here cannot hold up supervision, and a fault
// there cannot take this program down. The two talk over Node's IPC channel; when this process dies, the child sees the
// channel close and ends the guest.
import { fork, type ChildProcess } from 'node:child_process';
import { TroupeError } from '#shared/base/error.js';
import { parseFault } from '#shared/ipc/fault-text.js';
import type { FaultPlan, FaultRule } from '#shared/ipc/fault-plan.js';
import type { Accel, EngineTier } from '#actors/vcpu/protocol.js';
import type { LogLevel } from '#shared/ipc/log.js';
import type { KernelSeries } from '#kernel/assets/kernel-package.js';
import type { ChildCall, ChildCallName, ChildMessage, ChildResult } from './child-protocol.js';
import type { EngineStatistics } from './engine-statistics.js';
import type { MachineExit } from './machine.js';
import type { DiskConfig, SupervisionConfig } from './machine-config.js';
import type { ActorEventOf, ActorEventType } from './supervision/actor-event.js';
import type { ActorStatus } from './supervision/child.js';

export interface LaunchOptions {
  /** 1 … 64, default 2. */
  readonly vcpus?: number;
  /** Bytes or '512M', '1G'; default 512 MiB. */
  readonly memory?: number | string;
  /** What runs the guest's code; default 'auto': KVM where it works. 'kvm' rejects with `kvm-unavailable` where it does not. */
  readonly accel?: Accel;
  /** Folder in which our own engine keeps compiled code for the next boot; default in the user's cache folder, 'none' keeps none. */
  readonly translationCache?: string;
  /** Tier of our own engine: 'auto' (default), 'interp' or 'compiled'. */
  readonly tier?: EngineTier;
  /** Our own engine counts guest instructions and keeps statistics, for {@link Vm.engineStatistics}; costs some speed. */
  readonly engineStatistics?: boolean;
  /** A kernel of your own; default the stock Debian cloud kernel with an initramfs that serves exec(). */
  readonly kernel?: string;
  readonly initrd?: string;
  /** Words for the kernel's command line. */
  readonly append?: string;
  readonly kernelSeries?: KernelSeries;
  readonly disks?: readonly DiskConfig[];
  /** Log of the kernel and its actors, to stderr; default 'warn'. */
  readonly logLevel?: LogLevel;
  /** The guest kernel's log, to stderr. */
  readonly verbose?: boolean;
  readonly supervision?: Partial<SupervisionConfig>;
  readonly faults?: FaultPlan;
  /** Under which `troupe fault` and `troupe actors` find the guest. */
  readonly name?: string;
  /** Where a diagnostic bundle goes when supervision gives the machine up; default in the user's state folder. */
  readonly bundleFolder?: string;
  /** The guest must be up within this; default 120 000. */
  readonly readyMs?: number;
}

export interface ExecOptions {
  readonly stdin?: string | Uint8Array;
  readonly timeoutMs?: number;
  /** Output as it comes; it is in the result too. */
  readonly onStdout?: (bytes: Uint8Array) => void;
  readonly onStderr?: (bytes: Uint8Array) => void;
}

export interface ExecResult {
  /** As a shell's $?: 128 + n for signal n. */
  readonly exitCode: number;
  /** UTF-8; the bytes stand beside it. */
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutBytes: Uint8Array;
  readonly stderrBytes: Uint8Array;
}

/** A running guest. */
export interface Vm extends AsyncDisposable {
  /** Runs a shell command in the guest. */
  exec(command: string, options?: ExecOptions): Promise<ExecResult>;
  /** Bytes for the guest's terminal. */
  type(bytes: string | Uint8Array): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  readonly actors: {
    /** The actors of the machine as they are now. */
    list(): Promise<ActorStatus[]>;
  };
  /** What our own engine did so far; undefined without the option `engineStatistics` and under KVM. */
  engineStatistics(): Promise<EngineStatistics | undefined>;
  readonly faults: {
    /** A fault from now on, in the words of `--fault` ('virtio-blk-0: crash') or as data. Rejects with `bad-flag` or `bad-config`. */
    inject(fault: string | FaultRule): Promise<void>;
  };
  /** Hears of exits, restarts, escalations and faults of actors; the result ends that. */
  on<T extends ActorEventType>(type: T, listener: (event: ActorEventOf<T>) => void): () => void;
  /**
   * Ends one actor's thread as a crash would; supervision restarts it. A vCPU's ends at a safe point; with `force` at once, which
   * ends the guest when that is inside guest code.
   */
  kill(actor: string, options?: { readonly force?: boolean }): Promise<void>;
  /** Ends the guest and its kernel process. May be called more than once. */
  stop(): Promise<void>;
  /** Resolves when the guest has ended. */
  wait(): Promise<MachineExit>;
  /** Process id of the guest's kernel. */
  readonly pid: number;
}

const CHILD_ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? '../dist/kernel/child-main.js' : './child-main.js',
  import.meta.url,
);

/** Starts a guest; resolves when it serves exec() (with a kernel of your own: when it runs). */
export async function launch(options: LaunchOptions = {}): Promise<Vm> {
  const child = fork(CHILD_ENTRY, [], {
    serialization: 'advanced',
    stdio: ['ignore', 2, 2, 'ipc'],
    execArgv: [],
  });
  const vm = new ChildVm(child);
  try {
    await vm.call('open', options);
  } catch (error) {
    await vm.stop();
    throw error;
  }
  return vm;
}

interface PendingCall {
  readonly onStdout: ((bytes: Uint8Array) => void) | undefined;
  readonly onStderr: ((bytes: Uint8Array) => void) | undefined;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

class ChildVm implements Vm {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, PendingCall>();
  readonly #exited: Promise<void>;
  readonly #exit: Promise<MachineExit>;
  readonly #listeners = new Set<{ readonly type: ActorEventType; listener(event: never): void }>();
  #settleExit: (exit: MachineExit) => void = () => {};
  #nextId = 1;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#exit = new Promise((resolve) => {
      this.#settleExit = resolve;
    });
    this.#exited = new Promise((resolve) => {
      const onEnd = (how: string): void => {
        this.#settleExit({ kind: 'failed', message: `the kernel process ${how}` });
        const error = new TroupeError('not-running', `the kernel process ${how}`);
        for (const call of this.#pending.values()) call.reject(error);
        this.#pending.clear();
        resolve();
      };
      child.once('exit', (code, signal) =>
        onEnd(signal === null ? `exited with ${code}` : `died of ${signal}`),
      );
      child.once('error', (error) => onEnd(`failed: ${error.message}`));
    });
    child.on('message', (message) => this.#take(message as ChildMessage));
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  async exec(command: string, options: ExecOptions = {}): Promise<ExecResult> {
    const stdout: Uint8Array[] = [];
    const stderr: Uint8Array[] = [];
    const stdin = typeof options.stdin === 'string' ? Buffer.from(options.stdin) : options.stdin;
    const sinks = {
      onStdout: (bytes: Uint8Array) => {
        stdout.push(bytes);
        options.onStdout?.(bytes);
      },
      onStderr: (bytes: Uint8Array) => {
        stderr.push(bytes);
        options.onStderr?.(bytes);
      },
    };
    const request = { command, stdin, timeoutMs: options.timeoutMs };
    const exitCode = await this.call('exec', request, sinks);
    const stdoutBytes = Buffer.concat(stdout);
    const stderrBytes = Buffer.concat(stderr);
    return {
      exitCode,
      stdout: stdoutBytes.toString('utf8'),
      stderr: stderrBytes.toString('utf8'),
      stdoutBytes,
      stderrBytes,
    };
  }

  async type(bytes: string | Uint8Array): Promise<void> {
    await this.call('type', typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
  }

  async pause(): Promise<void> {
    await this.call('pause', undefined);
  }

  async resume(): Promise<void> {
    await this.call('resume', undefined);
  }

  async engineStatistics(): Promise<EngineStatistics | undefined> {
    return this.call('engineStatistics', undefined);
  }

  readonly actors = { list: async (): Promise<ActorStatus[]> => this.call('actors', undefined) };

  readonly faults = {
    inject: async (fault: string | FaultRule): Promise<void> => {
      await this.call('inject', typeof fault === 'string' ? parseFault(fault) : fault);
    },
  };

  on<T extends ActorEventType>(type: T, listener: (event: ActorEventOf<T>) => void): () => void {
    const entry = { type, listener: listener as (event: never) => void };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  async kill(actor: string, options: { readonly force?: boolean } = {}): Promise<void> {
    await this.call('kill', { actor, force: options.force ?? false });
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined)
      return;
    if (this.#child.connected) this.#child.disconnect(); // the child ends its guest and exits
    await this.#exited;
  }

  async wait(): Promise<MachineExit> {
    return this.#exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async call<N extends ChildCallName>(
    name: N,
    argument: ChildCall[N],
    sinks: Partial<Pick<PendingCall, 'onStdout' | 'onStderr'>> = {},
  ): Promise<ChildResult[N]> {
    if (!this.#child.connected) throw new TroupeError('not-running', 'the guest has been stopped');
    const id = this.#nextId++;
    return new Promise<ChildResult[N]>((resolve, reject) => {
      this.#pending.set(id, {
        onStdout: sinks.onStdout,
        onStderr: sinks.onStderr,
        resolve: resolve as (value: unknown) => void,
        reject,
      });
      this.#child.send({ id, name, argument }, (error) => {
        if (error === null) return;
        this.#pending.delete(id);
        reject(new TroupeError('not-running', 'the kernel process is gone', undefined, { cause: error }));
      });
    });
  }

  #take(message: ChildMessage): void {
    if (message.kind === 'exit') {
      this.#settleExit(message.exit);
      return;
    }
    if (message.kind === 'actor-event') {
      const { event } = message;
      for (const { type, listener } of this.#listeners) if (type === event.type) listener(event as never);
      return;
    }
    const call = this.#pending.get(message.id);
    if (call === undefined) return;
    switch (message.kind) {
      case 'stdout':
        call.onStdout?.(message.bytes);
        return;
      case 'stderr':
        call.onStderr?.(message.bytes);
        return;
      case 'result':
        this.#pending.delete(message.id);
        call.resolve(message.value);
        return;
      case 'error':
        this.#pending.delete(message.id);
        call.reject(
          message.code === undefined
            ? new Error(message.message)
            : new TroupeError(message.code, message.message, message.hint),
        );
    }
  }
}
