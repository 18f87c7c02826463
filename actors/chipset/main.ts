// The chipset actor's worker.
import { parentPort, workerData } from 'node:worker_threads';
import { connectKvm } from '#native/interrupt-wire.js';
import { runActor } from '#shared/ipc/actor.js';
import { createChipset } from './actor.js';

runActor({ parentPort, workerData, connectKvm }, createChipset);
