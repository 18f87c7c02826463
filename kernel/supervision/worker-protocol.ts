// What the kernel and a worker thread say to each other before the thread is an actor.
import type { MessagePort } from 'node:worker_threads';
import type { ActorSeed } from '#shared/ipc/actor.js';

export interface ThreadSetup {
  /** Modules to load ahead: those of the actors that the thread may become. */
  readonly preload: readonly string[];
}

/** The thread is up. */
export interface ThreadWarm {
  /** In the host's kernel; absent where it does not tell. */
  readonly tid: number | undefined;
}

/** Makes an actor of it. */
export interface BecomeActor {
  /** The module that runs the actor. */
  readonly entry: string;
  readonly seed: ActorSeed;
  /** Of its thread; 0 is the process's own. */
  readonly nice: number;
  /** The actor's parent port. */
  readonly port: MessagePort;
}
