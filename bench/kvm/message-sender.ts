// A device actor's thread, reduced to its interrupts: sends messages the way that virtio devices do (shared/virtio/behaviour.ts)
// and times each until the guest's handler has counted it.
import { parentPort, workerData } from 'node:worker_threads';
import { connectKvm } from '#native/interrupt-wire.js';
import type { MachineLayout } from '#shared/memory/machine-layout.js';
import type { KvmLink } from '#shared/x86/host-interrupts.js';
import { createInterruptFabric, deliverMsi } from '#shared/x86/interrupt-delivery.js';
import { HANDLED, READY, VECTOR } from './programs.js';

export interface SenderSetup {
  readonly memory: WebAssembly.Memory;
  readonly layout: MachineLayout;
  readonly kvm: KvmLink;
  readonly messages: number;
}

const REST_MS = 0.2;
const WARM_UP = 200;

const { memory, layout, kvm, messages } = workerData as SenderSetup;
const words = new Int32Array(memory.buffer);
const wordAt = (address: number): number => (layout.ram.ramOffset + address) >>> 2;
const handled = wordAt(HANDLED);
const fabric = createInterruptFabric(memory, layout, connectKvm(kvm));
const idle = new Int32Array(new SharedArrayBuffer(4));

function sendOne(): number {
  Atomics.wait(idle, 0, 0, REST_MS); // the vCPU halts again, and its thread sleeps
  const before = Atomics.load(words, handled);
  const startMs = performance.now();
  deliverMsi(fabric, 0xfee0_0000, 0, VECTOR);
  while (Atomics.load(words, handled) === before);
  return (performance.now() - startMs) * 1000;
}

while (Atomics.load(words, wordAt(READY)) === 0) Atomics.wait(idle, 0, 0, 1);
for (let i = 0; i < WARM_UP; i++) sendOne();
parentPort!.postMessage(Float64Array.from({ length: messages }, sendOne));
