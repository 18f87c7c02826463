// A guest that is stopped in the middle and goes on elsewhere finishes with the result of one that was left alone: KVM to
// KVM, KVM to the wasm engine and back, with two vCPUs that compute at privilege 3 and 0 while their timers tick.
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Accel } from '#actors/vcpu/protocol.js';
import { buildGuestKernel, type GuestKernel } from '../support/guest-kernel.js';
import { missingKvm } from '../support/kvm.js';
import { putState, startPayload, takeState, type PayloadMachine } from '../support/machine-move.js';

const VCPUS = 2;
const PHASES = 150;
const open: PayloadMachine[] = [];
let kernel: GuestKernel;

beforeAll(() => {
  kernel = buildGuestKernel('phases', 64, 'bare64');
});

afterAll(() => {
  if ('directory' in kernel) rmSync(kernel.directory, { recursive: true });
});

async function start(path: string, accel: Accel, x2apic: number): Promise<PayloadMachine> {
  const append = `cpus=${VCPUS} phases=${PHASES} x2apic=${x2apic}`;
  const payload = await startPayload({ kernel: path, accel, vcpus: VCPUS, append });
  open.push(payload);
  return payload;
}

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The report, without what was printed before the move. */
function resultsOf(output: string): string[] {
  return output.split('\n').filter((line) => !line.includes('hello') && line !== '');
}

let expected: string[] | undefined;

async function untouchedResults(path: string): Promise<string[]> {
  if (expected !== undefined) return expected;
  const payload = await start(path, 'wasm', 0);
  await payload.wait();
  expected = resultsOf(payload.output());
  await payload.close();
  expect(expected.at(-1)).toBe('phases: done');
  return expected;
}

const MOVES: readonly (readonly [from: Accel, to: Accel, x2apic: number, hops: number])[] = [
  ['wasm', 'wasm', 0, 1],
  ['kvm', 'kvm', 0, 3],
  ['kvm', 'wasm', 0, 1],
  ['wasm', 'kvm', 0, 1],
  ['kvm', 'wasm', 1, 1],
  ['wasm', 'kvm', 1, 1],
];

test.for(MOVES)(
  'a guest goes from %s to %s (x2APIC: %i), %i times',
  async ([from, to, x2apic, hops], context) => {
    if ('missing' in kernel) return context.skip(kernel.missing);
    const missing = from === 'kvm' || to === 'kvm' ? missingKvm() : undefined;
    if (missing !== undefined) return context.skip(missing);
    const results = await untouchedResults(kernel.path);
    try {
      let current = await start(kernel.path, from, x2apic);
      for (let hop = 0; hop < hops; hop++) {
        await delay(from === 'kvm' ? 250 : 80);
        await current.machine.pause();
        const state = await takeState(current.machine);
        expect(resultsOf(current.output()), 'it had not finished').toEqual([]);
        await current.close();
        current = await start(kernel.path, to, x2apic);
        await current.machine.pause();
        await putState(current.machine, state);
        await current.machine.resume();
      }
      expect(await current.wait(), current.output()).toMatchObject({ kind: 'debug-exit', code: 1 });
      expect(resultsOf(current.output())).toEqual(results);
    } finally {
      for (const payload of open.splice(0)) await payload.close().catch(() => undefined);
    }
  },
);
