// The entry of a virtio-console worker.
import { parentPort, workerData } from 'node:worker_threads';
import { connectKvm } from '#native/interrupt-wire.js';
import { runActor } from '#shared/ipc/actor.js';
import { createVirtioConsole } from './actor.js';

runActor({ parentPort, workerData, connectKvm }, createVirtioConsole);
