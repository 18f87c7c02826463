import { beforeEach, describe, expect, test } from 'vitest';
import { UartSink } from '#actors/uart/sink.js';
import * as S from '#actors/uart/state.js';

let state: S.UartState;
beforeEach(() => {
  state = S.viewUartState(new SharedArrayBuffer(S.UART_STATE_BYTES), {
    offset: 0,
    bytes: S.UART_STATE_BYTES,
  });
});

const put = (sink: UartSink, text: string): void => Buffer.from(text).forEach((byte) => sink.put(byte));

describe('output', () => {
  test('a slow descriptor takes what it takes; the rest goes out later, in order, also by a successor', () => {
    let out = '';
    let room = 5;
    const write = (_fd: number, bytes: Uint8Array): number => {
      if (room === 0) throw Object.assign(new Error('full'), { code: 'EAGAIN' });
      const taken = Math.min(room, bytes.length, 3);
      out += Buffer.from(bytes.subarray(0, taken)).toString();
      room -= taken;
      return taken;
    };
    const sink = new UartSink(state, 1, write);
    put(sink, 'hello world');
    expect(sink.flush()).toBe(false);
    expect(out).toBe('hello');
    room = 100;
    expect(new UartSink(state, 1, write).flush()).toBe(true);
    expect(out).toBe('hello world');
    expect(sink.waitingBytes).toBe(0);
  });

  test('the ring fills, wraps, and loses nothing', () => {
    let out = '';
    const sink = new UartSink(state, 1, (_fd, bytes) => {
      out += Buffer.from(bytes).toString();
      return bytes.length;
    });
    put(sink, 'a'.repeat(S.TX_RING_BYTES - 2));
    expect(sink.hasRoom).toBe(true);
    put(sink, 'bc');
    expect(sink.hasRoom).toBe(false);
    sink.flush();
    put(sink, 'a'.repeat(S.TX_RING_BYTES - 3));
    sink.flush();
    put(sink, 'uvwxyz');
    sink.flush();
    expect(out.length).toBe(2 * S.TX_RING_BYTES + 3);
    expect(out.endsWith('auvwxyz')).toBe(true);
  });

  test('a reader that is gone costs its output and nothing else', () => {
    let calls = 0;
    const sink = new UartSink(state, 1, () => {
      calls++;
      throw Object.assign(new Error('gone'), { code: 'EPIPE' });
    });
    put(sink, 'x');
    expect(sink.flush()).toBe(true);
    put(sink, 'y');
    expect(sink.flush()).toBe(true);
    expect(calls).toBe(1);
  });
});
