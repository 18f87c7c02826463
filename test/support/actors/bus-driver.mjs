// A worker for tests that plays a vCPU's register bus on command, so that the test's own thread stays free to supervise.
import { parentPort, workerData } from 'node:worker_threads';
import { FaultPoints } from '#shared/ipc/failpoint.js';
import { BusClient, SPACE_MMIO } from '#shared/ipc/register-bus.js';
import { viewArena } from '#shared/memory/arena.js';

const { memory, layout, vcpu, faults } = workerData;
const views = viewArena(memory);
const name = `vcpu-${vcpu}`;
const nobody = () => {
  throw new Error('a driver only loses, doubles and damages messages');
};
const effects = { exit: nobody, exhaustMemory: nobody, hang: nobody, delay: nobody };
const points = new FaultPoints(
  faults,
  { name, kind: 'vcpu', generation: 1 },
  effects,
  views.i32,
  layout.actors[name].faults,
);
const bus = new BusClient(views, layout, vcpu, { faults: points });

parentPort.on('message', (script) => {
  const results = [];
  for (const { write, address, value, size = 4 } of script) {
    if (write) bus.write(SPACE_MMIO, address, size, value, 0);
    else {
      bus.read(SPACE_MMIO, address, size);
      results.push(bus.lo);
    }
  }
  parentPort.postMessage(results);
});
