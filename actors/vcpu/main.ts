// A vCPU's worker.

import { parentPort, workerData } from 'node:worker_threads';
import { connectKvm } from '#native/interrupt-wire.js';
import { runActor } from '#shared/ipc/actor.js';
import { createVcpu } from './actor.js';

runActor({ parentPort, workerData, connectKvm }, createVcpu);
