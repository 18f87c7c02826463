// The threads of the doorbell benchmark: one runs the vCPU, one is the device, and where an eventfd must reach a thread that waits
// on a futex, one more carries it there.
import { readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { requireAddon } from '#native/addon.js';
import * as K from '#native/kvm-constants.js';
import { BELL_QUEUE, ringDoorbell, takeDoorbell, waitDoorbell } from '#shared/ipc/doorbell.js';
import { DOORBELL, VECTOR } from './programs.js';

export interface DoorbellSetup {
  readonly role: 'vcpu' | 'device' | 'relay';
  readonly memory: WebAssembly.Memory;
  readonly vmFd: number;
  readonly handle: number;
  /** Offset of the kvm_run page. */
  readonly run: number;
  /** Index of the device's doorbell. */
  readonly bell: number;
  /** Index of a word: 1 ends the device and the relay. */
  readonly stop: number;
  /** The eventfd that takes the guest's stores; −1: they are exits. */
  readonly eventFd: number;
  /** The device sleeps on the eventfd itself. */
  readonly readsEvent: boolean;
  /** The device answers each ring with an interrupt message. */
  readonly answers: boolean;
}

const WAIT_MS = 100;
const MMIO_ADDRESS = K.RUN_EXIT;
const IO_DATA_OFFSET = K.RUN_EXIT + 8;
const STARTS = 0x3c;
const ENDS = 0x3e;

const setup = workerData as DoorbellSetup;
const { memory, bell, stop, eventFd } = setup;
const addon = requireAddon();
const i32 = new Int32Array(memory.buffer);
const view = new DataView(memory.buffer);
const count = new Uint8Array(8);

/** Runs the guest; gives the milliseconds between its two marks. */
function runVcpu(): number {
  const { handle, run } = setup;
  let startMs = 0;
  for (;;) {
    const reason = addon.runVcpu(handle);
    if (reason === K.KVM_EXIT_MMIO) {
      if (view.getUint32(run + MMIO_ADDRESS, true) === DOORBELL) ringDoorbell(i32, bell, BELL_QUEUE);
    } else if (reason === K.KVM_EXIT_IO) {
      const datum = view.getUint8(run + view.getUint32(run + IO_DATA_OFFSET, true));
      if (datum === STARTS) startMs = performance.now();
      if (datum === ENDS) return performance.now() - startMs;
    } else if (reason >= 0) {
      throw new Error(`exit ${reason}`);
    }
  }
}

function isStopped(): boolean {
  return Atomics.load(i32, stop) !== 0;
}

function runDevice(): void {
  const { readsEvent, vmFd, answers } = setup;
  while (!isStopped()) {
    if (readsEvent) readSync(eventFd, count);
    else waitDoorbell(i32, bell, WAIT_MS);
    const rung = readsEvent ? !isStopped() : (takeDoorbell(i32, bell) & BELL_QUEUE) !== 0;
    if (answers && rung) addon.signalMsi(vmFd, 0xfee0_0000, 0, VECTOR);
  }
}

function relay(): void {
  while (!isStopped()) {
    readSync(eventFd, count);
    ringDoorbell(i32, bell, BELL_QUEUE);
  }
}

parentPort!.postMessage('up');
if (setup.role === 'device') runDevice();
else if (setup.role === 'relay') relay();
else parentPort!.on('message', () => parentPort!.postMessage(runVcpu()));
