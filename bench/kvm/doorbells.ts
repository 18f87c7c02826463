// A guest's doorbell to a device's thread, three ways: as an exit that TypeScript serves by ringing the device's futex; as an
// ioeventfd that the device itself sleeps on; as an ioeventfd that another thread carries to the futex. What it costs the
// vCPU, and how long the whole turn takes: ring, device, message, handler, next ring.
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { alternate, median } from '../compare/alternation.js';
import { openBareVm, type BareVm } from './bare-vm.js';
import type { DoorbellSetup } from './doorbell-worker.js';
import { buildGuest, DOORBELL, type GuestLoop } from './programs.js';
import { tableLine } from './report.js';

const WAYS = ['exit and futex', 'ioeventfd', 'ioeventfd, relay, futex'] as const;
type Way = (typeof WAYS)[number];

const RINGS = { ring: 20_000, cycle: 4_000 } as const;
const BELL = 0;
const STOP = 32;
const STORE_BYTES = 4;
const ONE = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);

/** Microseconds a ring. */
async function timeRings(way: Way, loop: GuestLoop & keyof typeof RINGS, image: string): Promise<number> {
  const bare = openBareVm(image);
  const event = way === 'exit and futex' ? undefined : bare.vm.createEventfd();
  if (event !== undefined) {
    const { vm } = bare;
    vm.addon.ioeventfd(vm.fd, event.fd, 0, DOORBELL, STORE_BYTES, 0);
  }
  try {
    return ((await runThreads(bare, way, loop, event?.fd ?? -1)) * 1000) / RINGS[loop];
  } finally {
    bare.close();
  }
}

/** Milliseconds of the guest's loop. */
async function runThreads(bare: BareVm, way: Way, loop: GuestLoop, eventFd: number): Promise<number> {
  const { vm, vcpu, memory, run } = bare;
  const roles: DoorbellSetup['role'][] = [
    'vcpu',
    'device',
    ...(way.includes('relay') ? ['relay' as const] : []),
  ];
  const workers = roles.map((role) => {
    const workerData: DoorbellSetup = {
      role,
      memory,
      vmFd: vm.fd,
      handle: vcpu.handle,
      run,
      bell: BELL,
      stop: STOP,
      eventFd,
      readsEvent: way === 'ioeventfd',
      answers: loop === 'cycle',
    };
    return new Worker(new URL('doorbell-worker.js', import.meta.url), { workerData });
  });
  await Promise.all(workers.map(async (worker) => once(worker, 'message')));
  const [runner, ...others] = workers;
  runner!.postMessage('run');
  const [ms] = (await once(runner!, 'message')) as [number];
  Atomics.store(new Int32Array(memory.buffer), STOP, 1);
  // Only a count ends a read of an eventfd, and terminate() ends no read; two may wait.
  if (eventFd >= 0) writeSync(eventFd, ONE);
  await Promise.all(others.map(async (worker) => once(worker, 'exit')));
  await runner!.terminate();
  return ms;
}

/** Prints its own table: it compares ways, not programs. */
export async function benchDoorbells(directory: string, turns: number): Promise<void> {
  const heads = ['doorbell', 'costs the vCPU, µs', 'ring, device, message, handler, µs'];
  const columns: number[][] = [];
  for (const loop of ['ring', 'cycle'] as const) {
    const image = buildGuest(directory, loop, RINGS[loop]);
    const runs = await alternate(WAYS, turns, async (way) => [await timeRings(way, loop, image)]);
    columns.push(WAYS.map((way) => median(runs.get(way)!.flat())));
  }
  process.stdout.write(`\n${tableLine(heads)}${tableLine(heads.map(() => '---'))}`);
  WAYS.forEach((way, i) => {
    process.stdout.write(tableLine([way, ...columns.map((values) => values[i]!.toFixed(2))]));
  });
}
