// One generation of one actor: a worker thread with its control port. Knows how it ended; decides nothing.
import type { MessagePort, Worker } from 'node:worker_threads';
import * as Comlink from 'comlink';
import { TroupeError } from '#shared/base/error.js';
import type { ActorControl, ActorReady, ActorSeed } from '#shared/ipc/actor.js';
import { portEndpoint } from '#shared/ipc/port-endpoint.js';
import type { ActorSpec } from './child.js';
import type { ActorThread } from './actor-thread.js';
import { describeExit, type ExitReason } from './supervisor.js';

const TERMINATE_WAKE_MS = 20;
/** A vCPU inside KVM_RUN sleeps without limit: a wake-up that it missed is repeated. */
const CALL_WAKE_MS = 500;

export class ActorWorker {
  readonly name: string;
  readonly generation: number;
  /** Resolves when the actor polls for the first time, rejects when it ends before. */
  readonly ready: Promise<void>;
  /** Resolves when the thread is gone. */
  readonly exited: Promise<ExitReason>;
  readonly #thread: ActorThread;
  readonly #worker: Worker;
  readonly #control: Comlink.Remote<ActorControl>;
  readonly #wake: () => void;
  #endReason: ExitReason | undefined;
  #gone = false;

  /** `wake`: rings the actor's doorbell for a control call. */
  constructor(
    thread: ActorThread,
    { entry, nice = 0 }: Pick<ActorSpec, 'entry' | 'nice'>,
    seed: ActorSeed,
    wake: () => void,
  ) {
    this.name = seed.name;
    this.generation = seed.generation;
    this.fromSpare = thread.isWarm;
    this.#wake = wake;
    this.#thread = thread;
    this.#worker = thread.worker;
    const port: MessagePort = thread.become(entry, seed, nice);
    this.#control = Comlink.wrap<ActorControl>(portEndpoint(port as never));
    this.exited = new Promise((resolve) => {
      this.#worker.on('error', (error: unknown) => {
        const { message, stack } = error instanceof Error ? error : new Error(String(error));
        this.#endReason ??= { kind: 'error', message, stack };
      });
      this.#worker.on('exit', (code) => {
        this.#gone = true;
        // Comlink keeps each call that was never answered, and by its promise the machine, for as long as the proxy is not released.
        this.#control[Comlink.releaseProxy]();
        port.close();
        resolve(this.#endReason ?? (code === 0 ? { kind: 'normal' } : { kind: 'exit', code }));
      });
    });
    this.ready = this.#raceExit(
      new Promise((resolve) => {
        const listen = (message: unknown): void => {
          if ((message as Partial<ActorReady> | null)?.troupe !== 'ready') return;
          port.off('message', listen);
          resolve();
        };
        port.on('message', listen);
      }),
    );
    this.ready.catch(() => {});
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** The thread's id in the host's kernel, where that is known. */
  get tid(): number | undefined {
    return this.#thread.tid;
  }

  /** Its thread was warm before the actor was needed. */
  readonly fromSpare: boolean;

  /** A control call; rejects with `actor-failed` when the actor ends first, `timeout` when it does not answer. */
  async call<K extends keyof ActorControl>(
    method: K,
    timeoutMs: number,
    ...args: Parameters<ActorControl[K]>
  ): Promise<Awaited<ReturnType<ActorControl[K]>>> {
    type Result = Awaited<ReturnType<ActorControl[K]>>;
    if (this.#gone) return this.#raceExit(new Promise<never>(() => {}));
    const remote = this.#control[method] as unknown as (...a: unknown[]) => Promise<Result>;
    const answer = remote(...args);
    this.#wake();
    const again = setInterval(this.#wake, CALL_WAKE_MS);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const fail = (): void =>
        reject(new TroupeError('timeout', `${this.name} did not answer ${method} in ${timeoutMs} ms`));
      timer = setTimeout(fail, timeoutMs);
    });
    try {
      return await this.#raceExit(Promise.race([answer, late]));
    } finally {
      clearInterval(again);
      clearTimeout(timer);
    }
  }

  /** Asks the actor to halt, and ends the thread when it has not within `timeoutMs`. */
  async shutDown(timeoutMs: number): Promise<void> {
    this.#endReason ??= { kind: 'shutdown' };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    const halted = this.call('halt', timeoutMs).catch(() => {});
    await Promise.race([this.exited, late, halted.then(() => this.exited)]);
    clearTimeout(timer);
    if (!this.#gone) await this.#terminate();
    await this.exited;
  }

  /** Ends the thread at once. */
  async end(reason: ExitReason): Promise<void> {
    this.#endReason ??= reason;
    await this.#terminate();
    await this.exited;
  }

  /** Asks the thread, by `ask`, to end where its state is whole; by force when it has not within `timeoutMs`. */
  async endItself(reason: ExitReason, ask: () => void, timeoutMs: number): Promise<void> {
    this.#endReason ??= reason;
    ask();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.exited, late]);
    clearTimeout(timer);
    if (!this.#gone) await this.end(reason);
  }

  /** A thread inside a system call (KVM_RUN) dies only when it comes out: it is woken until it is gone. */
  async #terminate(): Promise<void> {
    const gone = this.#worker.terminate();
    this.#wake();
    const again = setInterval(this.#wake, TERMINATE_WAKE_MS);
    await gone;
    clearInterval(again);
  }

  async #raceExit<T>(work: Promise<T>): Promise<T> {
    const ended = this.exited.then((reason): never => {
      throw new TroupeError('actor-failed', `${this.name} ${describeExit(reason)}`);
    });
    return Promise.race([work, ended]);
  }
}
