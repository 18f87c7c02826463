// The entry of a virtio-blk worker.
import * as thread from 'node:worker_threads';
import { runActor } from '#shared/ipc/actor.js';
import { createVirtioBlk } from './actor.js';

runActor(thread, createVirtioBlk);
