// The entry of the compiler's worker.
import * as thread from 'node:worker_threads';
import { runActor } from '#shared/ipc/actor.js';
import { createCompiler } from './actor.js';

runActor(thread, createCompiler);
