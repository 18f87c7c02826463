// A vCPU's worker. It loads one engine: the wasm engine's decoder alone takes a fifth of a second.

import { parentPort, workerData } from 'node:worker_threads';
import { connectKvm } from '#native/interrupt-wire.js';
import { actorSeed, runActor } from '#shared/ipc/actor.js';
import { createVcpu } from './actor.js';

const thread = { parentPort, workerData, connectKvm };

async function run(): Promise<void> {
  if (actorSeed(thread).kvm === undefined) {
    const { createWasmEngine } = await import('./engine-wasm/vcpu-engine.js');
    runActor(thread, (context) => createVcpu(context, createWasmEngine(context)));
  } else {
    const { createKvmEngine } = await import('./engine-kvm/vcpu-engine.js');
    runActor(thread, (context) => createVcpu(context, createKvmEngine(context)));
  }
}

void run();
