// The entry of a virtio-rng worker.
import * as thread from 'node:worker_threads';
import { runActor } from '#shared/ipc/actor.js';
import { createVirtioRng } from './actor.js';

runActor(thread, createVirtioRng);
