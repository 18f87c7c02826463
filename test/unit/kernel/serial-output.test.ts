import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { uartOutputRing } from '#actors/uart/protocol.js';
import * as S from '#actors/uart/state.js';
import { SerialOutput } from '#kernel/serial-output.js';
import { announceOutput, waitingOutput, type OutputRing } from '#shared/ipc/output-ring.js';

const PAGE = { offset: 0, bytes: S.UART_STATE_BYTES };
let folder: string;
let fd: number;
let state: S.UartState;
let ring: OutputRing;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-serial-'));
  fd = openSync(join(folder, 'out'), 'a');
  const buffer = new SharedArrayBuffer(S.UART_STATE_BYTES);
  state = S.viewUartState(buffer, PAGE);
  ring = uartOutputRing(buffer, PAGE);
});
afterEach(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

const put = (text: string): void => Buffer.from(text).forEach((byte) => S.putOutput(state, byte));
const written = (): string => readFileSync(join(folder, 'out'), 'latin1');

test('the ring fills, wraps, and loses nothing', async () => {
  const output = new SerialOutput(ring, fd);
  output.start();
  let text = '';
  for (const length of [S.TX_RING_BYTES, S.TX_RING_BYTES - 3, 6]) {
    const piece = 'abcdefghij'.repeat(length).slice(0, length);
    put(piece);
    text += piece;
    announceOutput(ring);
    while (waitingOutput(ring) > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  put('the end');
  await output.close();
  expect(written()).toBe(`${text}the end`);
});

test('positions wrap at 2^32', async () => {
  state.words.fill(-3, S.S_TX_HEAD >> 2, (S.S_TX_TAIL >> 2) + 1);
  const output = new SerialOutput(ring, fd);
  put('over the top');
  expect(waitingOutput(ring)).toBe(12);
  await output.close();
  expect(written()).toBe('over the top');
  expect(waitingOutput(ring)).toBe(0);
});
