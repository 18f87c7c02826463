// A guest that is stopped in the middle and goes on elsewhere finishes with the result of one that was left alone: KVM to
// KVM, KVM to the wasm engine and back, with two vCPUs that compute at privilege 3 and 0 while their timers tick.
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Accel } from '#actors/vcpu/protocol.js';
import type { MachineExit } from '#kernel/machine.js';
import { TroupeError } from '#shared/base/error.js';
import { buildGuestKernel, type GuestKernel } from '../support/guest-kernel.js';
import { missingKvm } from '../support/kvm.js';
import { putState, startPayload, takeState, type PayloadMachine } from '../support/machine-move.js';

const VCPUS = 2;
/** Of a run; one that ends before its last move is made again with twice as many: how fast the host is says nothing of the engines. */
const PHASES = 150;
const MOST_PHASES = 9600;
const open: PayloadMachine[] = [];
let kernel: GuestKernel;

beforeAll(() => {
  kernel = buildGuestKernel('phases', 64, 'bare64');
});

afterAll(() => {
  if ('directory' in kernel) rmSync(kernel.directory, { recursive: true });
});

async function start(path: string, accel: Accel, x2apic: number, phases: number): Promise<PayloadMachine> {
  const append = `cpus=${VCPUS} phases=${phases} x2apic=${x2apic}`;
  const payload = await startPayload({ kernel: path, accel, vcpus: VCPUS, append });
  open.push(payload);
  return payload;
}

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The report, without what was printed before the move. */
function resultsOf(output: string): string[] {
  return output.split('\n').filter((line) => !line.includes('hello') && line !== '');
}

const expected = new Map<number, string[]>();

async function untouchedResults(path: string, phases: number): Promise<string[]> {
  const known = expected.get(phases);
  if (known !== undefined) return known;
  const payload = await start(path, 'wasm', 0, phases);
  await payload.wait();
  const results = resultsOf(payload.output());
  expected.set(phases, results);
  await payload.close();
  expect(results.at(-1)).toBe('phases: done');
  return results;
}

const MOVES: readonly (readonly [from: Accel, to: Accel, x2apic: number, hops: number])[] = [
  ['wasm', 'wasm', 0, 1],
  ['kvm', 'kvm', 0, 3],
  ['kvm', 'wasm', 0, 1],
  ['wasm', 'kvm', 0, 1],
  ['kvm', 'wasm', 1, 1],
  ['wasm', 'kvm', 1, 1],
];

interface Move {
  readonly from: Accel;
  readonly to: Accel;
  readonly x2apic: number;
  readonly hops: number;
  readonly phases: number;
}

/** The machine that a guest went on in last; undefined when it ended well before that. */
async function move(
  path: string,
  { from, to, x2apic, hops, phases }: Move,
): Promise<PayloadMachine | undefined> {
  let current = await start(path, from, x2apic, phases);
  for (let hop = 0; hop < hops; hop++) {
    await delay(from === 'kvm' ? 250 : 80);
    const ended = await pauseUnlessEnded(current);
    if (ended !== undefined) {
      expect(ended, current.output()).toMatchObject({ kind: 'debug-exit', code: 1 });
      expect(resultsOf(current.output())).toEqual(await untouchedResults(path, phases));
      return undefined;
    }
    const state = await takeState(current.machine);
    expect(resultsOf(current.output()), 'it had not finished').toEqual([]);
    await current.close();
    current = await start(path, to, x2apic, phases);
    await current.machine.pause();
    await putState(current.machine, state);
    await current.machine.resume();
  }
  return current;
}

/** How a machine ended that could not be paused any more. */
async function pauseUnlessEnded({ machine, wait }: PayloadMachine): Promise<MachineExit | undefined> {
  try {
    await machine.pause();
    return undefined;
  } catch (error) {
    if (!(error instanceof TroupeError && error.code === 'not-running')) throw error;
    return wait();
  }
}

test.for(MOVES)(
  'a guest goes from %s to %s (x2APIC: %i), %i times',
  async ([from, to, x2apic, hops], context) => {
    if ('missing' in kernel) return context.skip(kernel.missing);
    const missing = from === 'kvm' || to === 'kvm' ? missingKvm() : undefined;
    if (missing !== undefined) return context.skip(missing);
    try {
      let finished = false;
      for (let phases = PHASES; !finished && phases <= MOST_PHASES; phases *= 2) {
        const moved = await move(kernel.path, { from, to, x2apic, hops, phases });
        if (moved === undefined) continue;
        finished = true;
        expect(await moved.wait(), moved.output()).toMatchObject({ kind: 'debug-exit', code: 1 });
        expect(resultsOf(moved.output())).toEqual(await untouchedResults(kernel.path, phases));
      }
      expect(finished, 'a run outlasted its moves').toBe(true);
    } finally {
      for (const payload of open.splice(0)) await payload.close().catch(() => undefined);
    }
  },
);
