// The entry of a virtio-console worker.
import * as thread from 'node:worker_threads';
import { runActor } from '#shared/ipc/actor.js';
import { createVirtioConsole } from './actor.js';

runActor(thread, createVirtioConsole);
