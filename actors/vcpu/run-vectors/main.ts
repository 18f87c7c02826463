// Entry of `troupe cpu run-vectors`, a process of its own: this file is its main thread, and the thread that runs.
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { runSession, type SessionMessage, watchSession } from './session.js';

if (isMainThread) {
  const worker = new Worker(fileURLToPath(import.meta.url), { argv: process.argv.slice(2) });
  const onMessage = watchSession((exitCode) => {
    process.exitCode = exitCode;
  });
  worker.on('message', (message: SessionMessage) => onMessage(message));
  worker.on('error', (error) => {
    throw error;
  });
} else {
  const port = parentPort!;
  runSession(process.argv.slice(2), (message) => port.postMessage(message));
}
