// A worker that kicks a vCPU after a while: shows that the addon loads in other threads and that its table is shared.
import { workerData } from 'node:worker_threads';
import { requireAddon } from '../../dist/native/addon.js';

const { handle, delayMs } = workerData;
const addon = requireAddon();
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs);
addon.kickVcpu(handle);
