// A guest that is stopped in the middle and goes on elsewhere finishes with the result of one that was left alone: KVM to
// KVM, KVM to the wasm engine and back, with two vCPUs that compute at privilege 3 and 0 while their timers tick, and the 8259's.
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Accel } from '#actors/vcpu/protocol.js';
import type { MachineExit } from '#kernel/machine.js';
import { TroupeError } from '#shared/base/error.js';
import { PENDING, PENDING_INIT, PENDING_SIPI, SIPI_VECTOR } from '#shared/x86/cpu-state.js';
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

/** `options`: the payload's. */
async function start(
  path: string,
  accel: Accel,
  options: string,
  phases: number,
  cpus = VCPUS,
): Promise<PayloadMachine> {
  const append = `cpus=${cpus} phases=${phases} ${options}`;
  const payload = await startPayload({ kernel: path, accel, vcpus: VCPUS, append });
  open.push(payload);
  return payload;
}

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The report, without what was printed before the move. */
function resultsOf(output: string): string[] {
  return output.split('\n').filter((line) => !line.includes('hello') && line !== '');
}

const expected = new Map<string, string[]>();

async function untouchedResults(path: string, options: string, phases: number): Promise<string[]> {
  const key = `${phases} ${options}`;
  const known = expected.get(key);
  if (known !== undefined) return known;
  const payload = await start(path, 'wasm', options, phases);
  await payload.wait();
  const results = resultsOf(payload.output());
  expected.set(key, results);
  await payload.close();
  expect(results.at(-1)).toBe('phases: done');
  return results;
}

const MOVES: readonly (readonly [from: Accel, to: Accel, options: string, hops: number])[] = [
  ['wasm', 'wasm', 'x2apic=0', 1],
  ['kvm', 'kvm', 'x2apic=0', 3],
  ['kvm', 'wasm', 'x2apic=0', 1],
  ['wasm', 'kvm', 'x2apic=0', 1],
  ['kvm', 'wasm', 'x2apic=1', 1],
  ['wasm', 'kvm', 'x2apic=1', 1],
  ['kvm', 'kvm', 'pic=1', 3],
  ['kvm', 'wasm', 'pic=1', 1],
  ['wasm', 'kvm', 'pic=1', 1],
];

interface Move {
  readonly from: Accel;
  readonly to: Accel;
  readonly options: string;
  readonly hops: number;
  readonly phases: number;
}

/** The machine that a guest went on in last; undefined when it ended well before that. */
async function move(
  path: string,
  { from, to, options, hops, phases }: Move,
): Promise<PayloadMachine | undefined> {
  let current = await start(path, from, options, phases);
  for (let hop = 0; hop < hops; hop++) {
    await delay(from === 'kvm' ? 250 : 80);
    let ended = await pauseUnlessEnded(current);
    const state = ended === undefined ? await takeState(current.machine) : undefined;
    ended ??= await endIfItReports(current);
    if (state === undefined || ended !== undefined) {
      expect(ended, current.output()).toMatchObject({ kind: 'debug-exit', code: 1 });
      expect(resultsOf(current.output())).toEqual(await untouchedResults(path, options, phases));
      return undefined;
    }
    await current.close();
    current = await start(path, to, options, phases);
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

/** Lets a paused machine whose report has begun go on to its end. */
async function endIfItReports({ machine, output, wait }: PayloadMachine): Promise<MachineExit | undefined> {
  if (resultsOf(output()).length === 0) return undefined;
  await machine.resume();
  return wait();
}

test.for(MOVES)('a guest goes from %s to %s (%s), %i times', async ([from, to, options, hops], context) => {
  if ('missing' in kernel) return context.skip(kernel.missing);
  const missing = from === 'kvm' || to === 'kvm' ? missingKvm() : undefined;
  if (missing !== undefined) return context.skip(missing);
  try {
    let finished = false;
    for (let phases = PHASES; !finished && phases <= MOST_PHASES; phases *= 2) {
      const moved = await move(kernel.path, { from, to, options, hops, phases });
      if (moved === undefined) continue;
      finished = true;
      expect(await moved.wait(), moved.output()).toMatchObject({ kind: 'debug-exit', code: 1 });
      expect(resultsOf(moved.output())).toEqual(await untouchedResults(kernel.path, options, phases));
    }
    expect(finished, 'a run outlasted its moves').toBe(true);
  } finally {
    for (const payload of open.splice(0)) await payload.close().catch(() => undefined);
  }
});

/** As bare64-entry.S has it. */
const TRAMPOLINE_PAGE = 8;

// A state of the wasm engine's may hold them: its LAPICs take a message before the vCPU obeys it.
test.for(['wasm', 'kvm'] as const)(
  'INIT and SIPI that were not obeyed before the move are obeyed after it, by %s',
  async (to, context) => {
    if ('missing' in kernel) return context.skip(kernel.missing);
    const missing = to === 'kvm' ? missingKvm() : undefined;
    if (missing !== undefined) return context.skip(missing);
    try {
      // The payload leaves the other vCPU alone, and waits for it at the end.
      const first = await start(kernel.path, 'wasm', 'others=1', PHASES, 1);
      await delay(80);
      await first.machine.pause();
      const state = await takeState(first.machine);
      await first.close();
      const waiting = state.actors.get('vcpu-1')!;
      const page = new DataView(waiting.buffer, waiting.byteOffset);
      page.setInt32(PENDING, page.getInt32(PENDING, true) | PENDING_INIT | PENDING_SIPI, true);
      page.setInt32(SIPI_VECTOR, TRAMPOLINE_PAGE, true);
      const second = await start(kernel.path, to, 'others=1', PHASES, 1);
      await second.machine.pause();
      await putState(second.machine, state);
      await second.machine.resume();
      expect(await second.wait(), second.output()).toMatchObject({ kind: 'debug-exit', code: 1 });
      expect(second.output()).toContain(`phases of all: 0x${(VCPUS * PHASES).toString(16)}\n`);
    } finally {
      for (const payload of open.splice(0)) await payload.close().catch(() => undefined);
    }
  },
);
