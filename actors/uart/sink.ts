// Where the UART's output goes: a file descriptor that may be slow, full for a while, or gone. Bytes wait in the state page
// and leave it only when they are written, so a replaced UART neither loses nor, but for the instant of the write itself,
// repeats any.

import { writeSync } from 'node:fs';
import * as S from './state.js';
import { type UartState, getState, setState } from './state.js';

export type WriteBytes = (fd: number, bytes: Uint8Array) => number;

export class UartSink {
  readonly #state: UartState;
  readonly #write: WriteBytes;
  #fd: number | 'none';

  constructor(state: UartState, output: number | 'none', write: WriteBytes = writeSync) {
    this.#state = state;
    this.#fd = output;
    this.#write = write;
  }

  get waitingBytes(): number {
    return (getState(this.#state, S.S_TX_HEAD) - getState(this.#state, S.S_TX_TAIL)) >>> 0;
  }

  get hasRoom(): boolean {
    return this.waitingBytes < S.TX_RING_BYTES;
  }

  /** The caller has seen to it that there is room. */
  put(byte: number): void {
    const head = getState(this.#state, S.S_TX_HEAD);
    this.#state.bytes[S.S_TX_RING + (head & (S.TX_RING_BYTES - 1))] = byte;
    setState(this.#state, S.S_TX_HEAD, head + 1);
  }

  /** Writes what waits; true when all of it is gone, false when the descriptor takes no more for now. */
  flush(): boolean {
    while (this.waitingBytes > 0) {
      const tail = getState(this.#state, S.S_TX_TAIL);
      const at = tail & (S.TX_RING_BYTES - 1);
      const length = Math.min(this.waitingBytes, S.TX_RING_BYTES - at);
      const written = this.#writeSome(
        this.#state.bytes.subarray(S.S_TX_RING + at, S.S_TX_RING + at + length),
      );
      if (written === 0) return false;
      setState(this.#state, S.S_TX_TAIL, tail + written);
    }
    return true;
  }

  /** 0 when the descriptor is full. A descriptor that fails otherwise (its reader is gone) swallows from then on. */
  #writeSome(bytes: Uint8Array): number {
    if (this.#fd === 'none') return bytes.length;
    try {
      return this.#write(this.#fd, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
      this.#fd = 'none';
      return bytes.length;
    }
  }
}
