// The entry of a virtio-rng worker.
import { parentPort, workerData } from 'node:worker_threads';
import { connectKvm } from '#native/interrupt-wire.js';
import { runActor } from '#shared/ipc/actor.js';
import { createVirtioRng } from './actor.js';

runActor({ parentPort, workerData, connectKvm }, createVirtioRng);
