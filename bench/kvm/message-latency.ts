// How long an interrupt message takes from a device's thread to the guest's handler while the vCPU waits in HLT, beside a C program
// that does the same with the same guest. Both clocks are the sender's: it watches the word that the handler counts up.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { alternate, median } from '../compare/alternation.js';
import { startChild } from '../compare/children.js';
import { startOnKvm } from './machines.js';
import { buildGuest } from './programs.js';
import type { KvmRow } from './report.js';
import type { SenderSetup } from './message-sender.js';

const MESSAGES = 1000;
const GOAL = 1.5;

async function timeOurs(image: string): Promise<number[]> {
  const { built, stop } = await startOnKvm(image);
  try {
    const { memory, layout } = built;
    const { kvm } = built.devices[0]!.seed;
    if (kvm === undefined) throw new Error('the machine does not run on KVM');
    const setup: SenderSetup = { memory, layout, kvm, messages: MESSAGES };
    const worker = new Worker(new URL('message-sender.js', import.meta.url), { workerData: setup });
    const [times] = (await once(worker, 'message')) as [Float64Array];
    await worker.terminate();
    return [...times];
  } finally {
    await stop();
  }
}

async function timeTheirs(monitor: string, image: string): Promise<number[]> {
  const child = startChild([monitor, 'msi', image, String(MESSAGES)]);
  let text = '';
  child.stdout.resume();
  child.stderr.on('data', (bytes: Buffer) => void (text += bytes.toString()));
  await once(child, 'close');
  const times = text
    .trim()
    .split('\n')
    .map((ns) => Number(ns) / 1000);
  if (times.length !== MESSAGES || times.some(Number.isNaN)) throw new Error(`vmm msi said:\n${text}`);
  return times;
}

export async function benchMessages(directory: string, monitor: string, turns: number): Promise<KvmRow[]> {
  const image = buildGuest(directory, 'msi', 1);
  const ours = async (): Promise<number[]> => timeOurs(image);
  const theirs = async (): Promise<number[]> => timeTheirs(monitor, image);
  const runs = await alternate([ours, theirs], turns, async (take) => [median(await take())]);
  const [troupe, bare] = [ours, theirs].map((take) => median(runs.get(take)!.flat()));
  return [
    {
      name: 'msi',
      what: 'message to the handler of a halted vCPU',
      unit: 'µs',
      troupe: troupe!,
      bare: bare!,
      goal: GOAL,
    },
  ];
}
