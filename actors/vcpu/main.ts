// A vCPU's worker.

import { parentPort, workerData } from 'node:worker_threads';
import { runActor } from '#shared/ipc/actor.js';
import { createVcpu } from './actor.js';

runActor({ parentPort, workerData }, createVcpu);
