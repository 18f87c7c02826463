// Worker threads that may become actors. A thread takes tens of milliseconds to start, on a loaded machine hundreds: so one is
// kept warm for the next restart, its modules loaded.
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import type { ActorSeed } from '#shared/ipc/actor.js';
import { startInBackground } from './background-start.js';
import type { BecomeActor, ThreadSetup, ThreadWarm } from './worker-protocol.js';

const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/kernel/supervision/worker-main.cjs' : './worker-main.cjs',
  import.meta.url,
);

/** V8's default lets every thread keep 48 MiB of short-lived objects: with a dozen threads that is most of an idle machine. */
const YOUNG_HEAP_MIB = 6;

export interface ThreadOptions {
  readonly name: string;
  readonly preload: readonly URL[];
  /** Beyond that the thread ends with an error, and no other. */
  readonly heapMib: number;
}

export class ActorThread {
  readonly worker: Worker;
  /** The thread's id in the host's kernel, once it is up and where there is one. */
  tid: number | undefined;
  /** Its modules are loaded. */
  isWarm = false;
  gone = false;

  constructor({ name, preload, heapMib }: ThreadOptions) {
    const setup: ThreadSetup = { preload: preload.map((url) => url.href) };
    this.worker = new Worker(ENTRY, {
      workerData: setup,
      name,
      stdin: false,
      resourceLimits: { maxOldGenerationSizeMb: heapMib, maxYoungGenerationSizeMb: YOUNG_HEAP_MIB },
    });
    this.worker.once('message', ({ tid }: ThreadWarm) => {
      this.tid = tid;
      this.isWarm = true;
    });
    this.worker.once('exit', () => {
      this.gone = true;
    });
  }

  /** The thread becomes the actor; gives the kernel's end of its port. At once, also before it is up. */
  become(entry: URL, seed: ActorSeed, nice: number): MessagePort {
    const { port1, port2 } = new MessageChannel();
    const message: BecomeActor = { entry: entry.href, seed, nice, port: port2 };
    this.worker.postMessage(message, [port2]);
    return port1;
  }
}

/** Warm threads in reserve. They come up one after the other and behind all else: a loaded machine has actors to run. */
export class SpareThreads {
  readonly #options: ThreadOptions;
  readonly #count: number;
  readonly #spares: ActorThread[] = [];
  /** What gives a spare the priority of an actor. */
  readonly #raise = new WeakMap<ActorThread, () => void>();
  #closed = false;

  constructor(options: ThreadOptions, count: number) {
    this.#options = options;
    this.#count = count;
  }

  /** Beyond that a thread's heap does not go. */
  get heapMib(): number {
    return this.#options.heapMib;
  }

  /** Starts what is missing. It does not keep the process alive. */
  prepare(): void {
    this.#dropGone();
    if (this.#closed || this.#spares.length >= this.#count) return;
    if (this.#spares.some((spare) => !spare.isWarm)) return;
    const { started: spare, raise } = startInBackground(() => new ActorThread(this.#options));
    this.#raise.set(spare, raise);
    spare.worker.on('error', () => {}); // it dies unused: nobody misses it
    spare.worker.once('message', () => this.prepare());
    spare.worker.unref();
    this.#spares.push(spare);
  }

  /** A spare, warm or on its way; undefined when there is none. */
  take(): ActorThread | undefined {
    this.#dropGone();
    const warm = this.#spares.findIndex((spare) => spare.isWarm);
    const [spare] = this.#spares.splice(Math.max(0, warm), 1);
    if (spare === undefined) return undefined;
    this.#raise.get(spare)!();
    spare.worker.ref();
    return spare;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#spares.splice(0).map(async ({ worker }) => worker.terminate()));
  }

  #dropGone(): void {
    const live = this.#spares.filter((spare) => !spare.gone);
    this.#spares.splice(0, this.#spares.length, ...live);
  }
}
