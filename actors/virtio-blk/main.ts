// The entry of a virtio-blk worker.
import { parentPort, workerData } from 'node:worker_threads';
import { connectKvm } from '#native/interrupt-wire.js';
import { runActor } from '#shared/ipc/actor.js';
import { createVirtioBlk } from './actor.js';

runActor({ parentPort, workerData, connectKvm }, createVirtioBlk);
