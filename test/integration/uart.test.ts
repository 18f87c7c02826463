// The UART's worker over the register bus: what is written comes out, what comes in can be read, whoever dies in between.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { uartOutputRing, uartWindow } from '#actors/uart/protocol.js';
import { InputQueue } from '#kernel/input-queue.js';
import { SerialOutput } from '#kernel/serial-output.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import { monotonicNs } from '#shared/base/clock.js';
import * as limits from '#shared/base/limits.js';
import { KERNEL_NAME } from '#shared/memory/machine-layout.js';
import { picHasInterrupt } from '#shared/chipset/pic-lines.js';
import { picWrite } from '#shared/chipset/pic.js';
import { resetChipset } from '#shared/x86/chipset-power-on.js';
import { createInterruptFabric } from '#shared/x86/interrupt-delivery.js';
import { builtActor, DeviceBench, type BusStep } from '../support/device-bench.js';

const COM1 = 0x3f8;
const input = {
  from: KERNEL_NAME,
  to: 'uart',
  entries: limits.INPUT_MAILBOX_ENTRIES,
  payloadBytes: limits.INPUT_MAILBOX_PAYLOAD_BYTES,
};

let directory: string;
let fd: number;
let bench: DeviceBench;
let output: SerialOutput;

async function makeBench(vcpus: number, rules: readonly FaultRule[] = []): Promise<DeviceBench> {
  const made = new DeviceBench({
    actors: [{ name: 'uart', kind: 'uart', entry: builtActor('uart'), params: { output: 'kernel' } }],
    // The drivers of the bench speak MMIO.
    plan: { vcpus, windows: [{ ...uartWindow('uart'), space: 'mmio' }], mailboxes: [input] },
    faults: { seed: 1, rules },
  });
  return made.start();
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-uart-'));
  fd = openSync(join(directory, 'out'), 'a');
  bench = await makeBench(1);
  output = new SerialOutput(uartOutputRing(bench.memory.buffer, bench.layout.actors['uart']!.statePage), fd);
  output.start();
});

afterEach(async () => {
  await bench.stop();
  await output.close();
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

const written = (): string => readFileSync(join(directory, 'out'), 'latin1');
const write = (register: number, value: number): BusStep => ({
  write: true,
  address: COM1 + register,
  value,
  size: 1,
});
const read = (register: number): BusStep => ({ address: COM1 + register, size: 1 });
const print = (text: string): BusStep[] => [...Buffer.from(text)].map((byte) => write(0, byte));

async function until(isTrue: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!isTrue() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(isTrue()).toBe(true);
}

describe('output', () => {
  it('arrives once and in order, while the UART is killed again and again', async () => {
    const drive = bench.driver(0);
    const text = Array.from({ length: 4000 }, (_, i) => `line ${i}\n`).join('');
    const done = drive([...print(text), read(7)]);
    for (let kill = 0; kill < 8; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 10 + 5 * kill));
      await bench.supervisor.kill('uart');
    }
    await done;
    await until(() => written().endsWith('line 3999\n'));
    expect(written()).toBe(text);
    expect(bench.supervisor.status()[0]!.generation).toBe(9);
  });

  it('keeps its registers over a restart', async () => {
    const drive = bench.driver(0);
    await drive([write(7, 0x5a), write(1, 5), write(2, 1)]);
    await bench.supervisor.kill('uart');
    expect(await drive([read(7), read(1), read(2), read(5)])).toEqual([0x5a, 5, 0xc1, 0x60]);
  });
});

describe('input', () => {
  it('is read byte by byte, each once, over a restart in the middle', async () => {
    const drive = bench.driver(0);
    const queue = new InputQueue(bench.views, bench.layout, 'uart');
    const text = 'the quick brown fox';
    void queue.push(0, Buffer.from(text));
    const lsr = bench.layout.actors['uart']!.registerPage.offset + 5;
    await until(() => (bench.views.u8[lsr]! & 1) !== 0);
    const first = await drive(Array.from({ length: 9 }, () => read(0)));
    await bench.supervisor.kill('uart');
    const rest = await drive([...Array.from({ length: text.length - 9 }, () => read(0)), read(5), read(0)]);
    expect(Buffer.from([...first, ...rest.slice(0, -2)]).toString()).toBe(text);
    expect(rest.slice(-2)).toEqual([0x60, 0]);
    queue.close();
  });

  it('raises IRQ 4 when asked to, and lowers it when it is read', async () => {
    const fabric = createInterruptFabric(bench.memory, bench.layout);
    resetChipset(fabric, monotonicNs(), 0);
    for (const [port, value] of [
      [0x20, 0x13],
      [0x21, 0x20],
      [0x21, 1],
      [0x21, 0xef],
    ] as const)
      picWrite(fabric, port, value);
    const drive = bench.driver(0);
    await drive([write(1, 1), read(1)]);
    const queue = new InputQueue(bench.views, bench.layout, 'uart');
    void queue.push(0, Buffer.from('x'));
    await until(() => picHasInterrupt(fabric));
    expect(await drive([read(2), read(0), read(2)])).toEqual([0x04, 0x78, 0x01]);
    queue.close();
  });
});

describe('two vCPUs', () => {
  it('a write that one posted comes before what the other then sends, also while messages are missed', async () => {
    const missing: FaultRule = { actor: 'uart', action: 'drop', point: 'message.receive', probability: 0.3 };
    await using two = await makeBench(2, [missing]);
    const drives = [two.driver(0), two.driver(1)] as const;
    const seen: number[] = [];
    for (let n = 0; n < 200; n++) {
      await drives[n & 1]!([write(7, n)]);
      seen.push(...(await drives[(n + 1) & 1]!([read(7)])));
    }
    expect(seen).toEqual(Array.from({ length: 200 }, (_, n) => n));
  });
});
