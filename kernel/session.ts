// One guest from its options to its end, in this process: finds the stock guest when no kernel is named, builds and starts the
// machine, runs commands in it, and starts it anew when it resets. What `troupe run` and the child of launch() share.
import { join } from 'node:path';
import { CONSOLE_PORT, VERB_DATA, VERB_RESIZE, messageKind } from '#actors/virtio-console/protocol.js';
import { defaultCommandLine } from '#kernel/assets/command-line.js';
import { ensureGuestAssets, type AssetProgress } from '#kernel/assets/guest-assets.js';
import type { KernelSeries } from '#kernel/assets/kernel-package.js';
import { chooseAccel, type AccelChoice } from '#kernel/accel/choose-accel.js';
import { trimMemory } from '#kernel/accel/host-memory.js';
import { TroupeError } from '#shared/base/error.js';
import type { Logger } from '#shared/ipc/log.js';
import { writeAll } from './terminal-output.js';
import { CONSOLE_NAME, UART_NAME, buildMachine } from './builder.js';
import { stateFolder } from './control/guest-name.js';
import { ControlServer } from './control/control-server.js';
import type { EngineStatistics } from './engine-statistics.js';
import { ExecChannel, type StreamedExec } from './exec-channel.js';
import { createKernelLogger } from './log.js';
import { Machine, type MachineExit } from './machine.js';
import { resolveConfig, type MachineConfig, type MachineOptions } from './machine-config.js';
import type { MailboxCounts } from '#shared/ipc/mailbox-layout.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import type { ActorEvent } from './supervision/actor-event.js';
import type { ActorStatus } from './supervision/child.js';

export interface SessionOptions extends Omit<MachineOptions, 'kernel'> {
  /** A bzImage, PVH or multiboot1 ELF; the stock guest when absent. */
  readonly kernel?: string | undefined;
  /** Which stock kernel. */
  readonly kernelSeries?: KernelSeries | undefined;
  /** The stock guest's kernel says all on its serial line. */
  readonly verbose?: boolean | undefined;
  /** The stock guest gives a shell on its terminal. */
  readonly shell?: boolean | undefined;
  readonly onAssetProgress?: ((progress: AssetProgress) => void) | undefined;
  /** The guest's images are at hand and the machine is being built. */
  readonly onBuild?: (() => void) | undefined;
  /** Under which `troupe fault` and `troupe actors` find the guest; without one it has no control socket. */
  readonly name?: string | undefined;
  /** Where a diagnostic bundle goes when supervision gives the machine up; default in the user's state folder. */
  readonly bundleFolder?: string | undefined;
  /** What happens to the actors, from the start. */
  readonly onActorEvent?: ((event: ActorEvent) => void) | undefined;
  /** What runs the guest's code, and why. */
  readonly onAccel?: ((choice: AccelChoice) => void) | undefined;
  /** With `console: 'kernel'`: what the terminal prints. */
  readonly onConsole?: ((bytes: Uint8Array) => void | Promise<void>) | undefined;
  /** Which console the user's keys go to; by default the serial line of a kernel that has no other. */
  readonly input?: 'console' | 'serial' | undefined;
}

const DEFAULT_READY_MS = 120_000;

export class Session {
  readonly #machine: Machine;
  readonly #exec: ExecChannel | undefined;
  readonly #input: 'console' | 'serial';

  private constructor(machine: Machine, exec: ExecChannel | undefined, input: 'console' | 'serial') {
    this.#machine = machine;
    this.#exec = exec;
    this.#input = input;
  }

  /** Resolves when the machine runs. Rejects with TroupeError and leaves nothing behind. */
  static async open(options: SessionOptions): Promise<Session> {
    const config = await withGuest(options);
    const choice = chooseAccel(config);
    options.onBuild?.();
    const log = createKernelLogger(config.log);
    const built = await buildMachine({ ...config, accel: choice.accel });
    options.onAccel?.(choice);
    const machine = new Machine(built, log, options.bundleFolder ?? join(stateFolder(), 'bundles'));
    if (options.onActorEvent !== undefined) machine.onActorEvent(options.onActorEvent);
    const exec = wireConsole(machine, config, options);
    void machine.wait().then((exit) => exec?.end(endedError(exit)));
    const control = options.name === undefined ? undefined : await openControl(options.name, machine, log);
    try {
      await machine.start();
    } catch (error) {
      await control?.close();
      throw error;
    }
    void machine.wait().then(async () => control?.close());
    trimMemory(machine.wait());
    const hasConsole = built.layout.actors[CONSOLE_NAME] !== undefined && built.kernelKind !== 'multiboot';
    const input = options.input ?? (hasConsole ? 'console' : 'serial');
    return new Session(machine, exec, input);
  }

  /** Runs a shell command in the stock guest; resolves to its exit code. */
  async exec(command: string, options: StreamedExec & { readonly readyMs?: number } = {}): Promise<number> {
    if (this.#exec === undefined) {
      throw new TroupeError('bad-config', 'this machine has no exec ports', 'open it with execPorts: true');
    }
    await this.#exec.ready(options.readyMs ?? DEFAULT_READY_MS);
    return this.#exec.run(command, options);
  }

  /** Resolves when the guest serves commands. */
  async ready(timeoutMs: number = DEFAULT_READY_MS): Promise<void> {
    await this.#exec?.ready(timeoutMs);
  }

  /** Keys for the guest's terminal. */
  async type(bytes: Uint8Array): Promise<void> {
    if (this.#input === 'serial') await this.#machine.sendInput(UART_NAME, 0, bytes);
    else await this.#machine.sendInput(CONSOLE_NAME, messageKind(VERB_DATA, CONSOLE_PORT), bytes);
  }

  resizeTerminal(columns: number, rows: number): void {
    const payload = new Uint8Array(4);
    const view = new DataView(payload.buffer);
    view.setUint16(0, columns, true);
    view.setUint16(2, rows, true);
    void this.#machine.sendInput(CONSOLE_NAME, messageKind(VERB_RESIZE, CONSOLE_PORT), payload);
  }

  async pause(): Promise<void> {
    await this.#machine.pause();
  }

  async resume(): Promise<void> {
    await this.#machine.resume();
  }

  async stop(): Promise<MachineExit> {
    await this.#machine.stop();
    return this.#machine.wait();
  }

  async wait(): Promise<MachineExit> {
    return this.#machine.wait();
  }

  /** Ends one actor's thread as a crash would; a vCPU's at a safe point, unless `force`. */
  async kill(actor: string, force = false): Promise<void> {
    await this.#machine.kill(actor, force);
  }

  /** A fault rule more; its times count from now. Throws TroupeError `bad-config`. */
  inject(rule: FaultRule): void {
    this.#machine.inject(rule);
  }

  /** What happens to the actors from now on; the result ends that. */
  onActorEvent(listener: (event: ActorEvent) => void): () => void {
    return this.#machine.onActorEvent(listener);
  }

  /** What the wasm engine did, also of a machine that has ended; undefined without `engineStatistics` and under KVM. */
  engineStatistics(): EngineStatistics | undefined {
    return this.#machine.engineStatistics();
  }

  async inspect(actor: string): Promise<unknown> {
    return this.#machine.inspect(actor);
  }

  /** What each mailbox has seen, by its name. */
  mailboxes(): ReadonlyMap<string, MailboxCounts> {
    return this.#machine.mailboxes();
  }

  /** ms since the machine's start: what the times of events count from. */
  sinceStartMs(): number {
    return this.#machine.sinceStartMs();
  }

  actors(): ActorStatus[] {
    return this.#machine.status();
  }
}

/** A host that lets nobody make a socket costs the guest its control, no more. */
async function openControl(name: string, machine: Machine, log: Logger): Promise<ControlServer | undefined> {
  try {
    return await ControlServer.open(name, {
      actors: () => machine.status(),
      inject: (rule) => machine.inject(rule),
      kill: async (actor, force) => machine.kill(actor, force),
    });
  } catch (error) {
    if (error instanceof TroupeError) throw error;
    log.warn({ name, error: String(error) }, 'no control socket');
    return undefined;
  }
}

async function withGuest(options: SessionOptions): Promise<MachineConfig> {
  const { kernel } = options;
  if (kernel !== undefined) return resolveConfig({ ...options, kernel });
  // Bad options are told before anything is fetched.
  resolveConfig({ ...options, kernel: 'stock' });
  const { kernelSeries, onAssetProgress } = options;
  const assets = await ensureGuestAssets({
    ...(kernelSeries === undefined ? {} : { kernel: kernelSeries }),
    ...(onAssetProgress === undefined ? {} : { onProgress: onAssetProgress }),
  });
  const words = defaultCommandLine({ verbose: options.verbose ?? false, shell: options.shell ?? false });
  const append = options.append === undefined ? words : `${words} ${options.append}`;
  return resolveConfig({
    ...options,
    kernel: assets.kernelPath,
    initrd: options.initrd ?? assets.initrdPath,
    append,
  });
}

function wireConsole(
  machine: Machine,
  config: MachineConfig,
  options: SessionOptions,
): ExecChannel | undefined {
  if (machine.layout.actors[CONSOLE_NAME] === undefined) return undefined;
  if (machine.layout.actors[CONSOLE_NAME] === undefined) return undefined;
  const listeners: ((kind: number, bytes: Uint8Array) => void | Promise<void>)[] = [];
  const { onConsole } = options;
  if (onConsole !== undefined) {
    const kindOfConsole = messageKind(VERB_DATA, CONSOLE_PORT);
    listeners.push((kind, bytes) => (kind === kindOfConsole ? onConsole(bytes) : undefined));
  }
  const { console: sink } = config;
  if (typeof sink === 'number') {
    const kindOfConsole = messageKind(VERB_DATA, CONSOLE_PORT);
    listeners.push((kind, bytes) => (kind === kindOfConsole ? writeAll(sink, bytes) : undefined));
  }
  const exec = config.execPorts
    ? new ExecChannel({
        send: (kind, bytes) => machine.sendInput(CONSOLE_NAME, kind, bytes),
        onOutput: (listener) => listeners.push(listener),
      })
    : undefined;
  machine.onOutput(CONSOLE_NAME, async (kind, bytes) => {
    for (const listener of listeners) await listener(kind, bytes);
  });
  return exec;
}

/** Why a command can run no more. */
function endedError(exit: MachineExit): TroupeError {
  const how = exit.kind === 'failed' ? `failed: ${exit.message}` : `ended (${exit.kind})`;
  return new TroupeError('not-running', `the machine ${how} before the command did`);
}
