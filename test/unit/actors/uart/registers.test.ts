import { beforeEach, describe, expect, test } from 'vitest';
import {
  hasInterrupt,
  isReceiving,
  lineStatus,
  receive,
  receivedBytes,
  uartRead,
  uartWrite,
} from '#actors/uart/registers.js';
import * as S from '#actors/uart/state.js';

const THR = 0,
  RBR = 0,
  IER = 1,
  IIR = 2,
  FCR = 2,
  LCR = 3,
  MCR = 4,
  LSR = 5,
  MSR = 6,
  SCR = 7;
let state: S.UartState;

beforeEach(() => {
  state = S.viewUartState(new SharedArrayBuffer(S.UART_STATE_BYTES), {
    offset: 0,
    bytes: S.UART_STATE_BYTES,
  });
  S.resetUartState(state);
});

const type = (text: string): void => Buffer.from(text).forEach((byte) => receive(state, byte));

describe('what a Linux driver looks for', () => {
  test('a 16550A: FIFOs that stay enabled, no 64-byte mode, a scratch register', () => {
    expect(uartRead(state, IIR)).toBe(0x01);
    uartWrite(state, FCR, 0x01);
    expect(uartRead(state, IIR) >> 6).toBe(3);
    uartWrite(state, LCR, 0x80);
    uartWrite(state, FCR, 0x21);
    expect(uartRead(state, IIR) & 0x20).toBe(0);
    uartWrite(state, LCR, 0);
    uartWrite(state, SCR, 0xa5);
    expect(uartRead(state, SCR)).toBe(0xa5);
  });

  test('IER keeps four bits; the divisor hides behind DLAB', () => {
    uartWrite(state, IER, 0xff);
    expect(uartRead(state, IER)).toBe(0x0f);
    uartWrite(state, LCR, 0x83);
    expect(uartWrite(state, 0, 0x01)).toBe(false);
    uartWrite(state, 1, 0x02);
    expect([uartRead(state, 0), uartRead(state, 1)]).toEqual([1, 2]);
    uartWrite(state, LCR, 0x03);
    expect(uartRead(state, IER)).toBe(0x0f);
  });

  test('loopback: MSR follows MCR, characters come back and do not leave', () => {
    expect(uartRead(state, MSR)).toBe(0xb0);
    uartWrite(state, MCR, 0x1a);
    expect(uartRead(state, MSR) & 0xf0).toBe(0x90);
    expect(isReceiving(state)).toBe(false);
    expect(uartWrite(state, THR, 0x5a)).toBe(false);
    expect(uartRead(state, LSR) & 1).toBe(1);
    expect(uartRead(state, RBR)).toBe(0x5a);
    uartWrite(state, MCR, 0x0b);
    expect(uartWrite(state, THR, 0x5a)).toBe(true);
  });
});

describe('interrupts', () => {
  test('THRE: at once when enabled, gone by reading IIR, back after each character', () => {
    uartWrite(state, IER, 2);
    expect(hasInterrupt(state)).toBe(true);
    expect(uartRead(state, IIR) & 0xf).toBe(2);
    expect(hasInterrupt(state)).toBe(false);
    uartWrite(state, IER, 2);
    expect(hasInterrupt(state)).toBe(false);
    uartWrite(state, THR, 0x41);
    expect(uartRead(state, IIR) & 0xf).toBe(2);
    uartWrite(state, IER, 0);
    uartWrite(state, IER, 2);
    expect(uartRead(state, IIR) & 0xf).toBe(2);
  });

  test('received data outranks THRE, which outranks modem status', () => {
    uartWrite(state, IER, 0xf);
    uartWrite(state, MCR, 0x10);
    type('a');
    expect(uartRead(state, IIR)).toBe(0x04);
    expect(uartRead(state, RBR)).toBe(0x61);
    expect(uartRead(state, IIR)).toBe(0x02);
    expect(uartRead(state, IIR)).toBe(0x00);
    expect(uartRead(state, MSR) & 0xf).not.toBe(0);
    expect(uartRead(state, IIR)).toBe(0x01);
  });

  test('below the trigger level it is a time-out', () => {
    uartWrite(state, FCR, 0x81); // 8 bytes
    uartWrite(state, IER, 1);
    type('1234567');
    expect(uartRead(state, IIR)).toBe(0xcc);
    type('8');
    expect(uartRead(state, IIR)).toBe(0xc4);
  });
});

describe('receiver', () => {
  test('LSR.DR while bytes wait, in order, over the end of the ring', () => {
    const text = 'x'.repeat(S.RX_RING_BYTES - 3);
    type(text);
    for (const _ of text) uartRead(state, RBR);
    expect(lineStatus(state)).toBe(0x60);
    type('abcdef');
    expect(lineStatus(state)).toBe(0x61);
    const got = Array.from({ length: 6 }, () => uartRead(state, RBR));
    expect(Buffer.from(got).toString()).toBe('abcdef');
    expect(uartRead(state, RBR)).toBe(0);
  });

  test('a FIFO reset drops what a FIFO holds, not what was typed ahead', () => {
    type('0123456789abcdefgh');
    uartWrite(state, FCR, 0x03);
    expect(receivedBytes(state)).toBe(2);
    expect(uartRead(state, RBR)).toBe('g'.charCodeAt(0));
  });
});
