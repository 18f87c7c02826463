// A worker for tests that plays a vCPU's register bus on command, so that the test's own thread stays free to supervise.
import { parentPort, workerData } from 'node:worker_threads';
import { BusClient, SPACE_MMIO } from '#shared/ipc/register-bus.js';
import { viewArena } from '#shared/memory/arena.js';

const { memory, layout, vcpu } = workerData;
const bus = new BusClient(viewArena(memory), layout, vcpu);

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
