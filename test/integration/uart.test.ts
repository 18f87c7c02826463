// The UART's worker over the register bus: what is written comes out, what comes in can be read, whoever dies in between.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { uartWindow } from '#actors/uart/protocol.js';
import { InputQueue } from '#kernel/input-queue.js';
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

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-uart-'));
  fd = openSync(join(directory, 'out'), 'a');
  bench = new DeviceBench({
    actors: [{ name: 'uart', kind: 'uart', entry: builtActor('uart'), params: { output: fd } }],
    // The drivers of the bench speak MMIO.
    plan: { windows: [{ ...uartWindow('uart'), space: 'mmio' }], mailboxes: [input] },
  });
  await bench.start();
});

afterEach(async () => {
  await bench.stop();
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
  it('arrives in order and nothing is lost, while the UART is killed again and again', async () => {
    const drive = bench.driver(0);
    const text = Array.from({ length: 4000 }, (_, i) => `line ${i}\n`).join('');
    const done = drive([...print(text), read(7)]);
    for (let kill = 0; kill < 8; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 10 + 5 * kill));
      await bench.supervisor.kill('uart');
    }
    await done;
    await until(() => written().endsWith('line 3999\n'));
    // A thread that is ended between a write and the note of it writes those bytes again (actors/uart/sink.ts).
    expect(countRepeats(written(), text)).toBeLessThanOrEqual(8);
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

/** How often a piece of `text` that was just written is there again; fails when anything else differs. */
function countRepeats(got: string, text: string): number {
  let repeats = 0;
  let at = 0;
  for (let done = 0; done < text.length; done++, at++) {
    if (got[at] === text[done]) continue;
    let length = 1;
    while (length <= done && !got.startsWith(text.slice(done - length, done + 1), at)) length++;
    expect(length, `after ${JSON.stringify(text.slice(Math.max(0, done - 20), done))}`).toBeLessThanOrEqual(
      done,
    );
    at += length;
    repeats++;
  }
  return repeats;
}
