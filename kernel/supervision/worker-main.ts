// The entry of every actor's thread: loads what the actor will need, says that it is up, and becomes the actor that the kernel
// names. So a thread can be started before it is known which actor will need it.
import { readlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { provideThread } from '#shared/ipc/actor.js';
import type { BecomeActor, ThreadSetup, ThreadWarm } from './worker-protocol.js';

function hostThreadId(): number | undefined {
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').at(-1));
  } catch {
    return undefined;
  }
}

function lowerPriority(nice: number): void {
  const tid = hostThreadId();
  if (nice === 0 || tid === undefined) return;
  try {
    setPriority(tid, nice);
  } catch {
    // Without it all goes on, more slowly.
  }
}

/** What an actor's module may offer beside the actor: does ahead what every one of its kind does. */
interface Preloaded {
  warmUp?(): void;
}

const require = createRequire(import.meta.url);

/** Troupe's own actors are CommonJS (scripts/bundle.mjs), which loads at once; others' may be ES modules. */
async function load(href: string): Promise<unknown> {
  return href.endsWith('.cjs') ? require(fileURLToPath(href)) : import(href);
}

async function preload(href: string): Promise<void> {
  ((await load(href)) as Preloaded).warmUp?.();
}

async function becomeActor(): Promise<void> {
  // A module that cannot be loaded is told when the thread becomes the actor that needs it.
  await Promise.allSettled((workerData as ThreadSetup).preload.map(preload));
  parentPort!.once('message', ({ entry, seed, nice, port }: BecomeActor) => {
    lowerPriority(nice);
    provideThread({ parentPort: port, workerData: seed });
    void load(entry);
  });
  parentPort!.postMessage({ tid: hostThreadId() } satisfies ThreadWarm);
}

void becomeActor();
