// The UART's state page: the registers, what waits to be sent and to be read, and which accesses were obeyed already. It is
// the device: nothing is kept in the worker's heap, so a replaced UART goes on where the page stands. Word offsets in
// bytes; one writer.

import type { Region } from '#shared/base/region.js';
import { MAX_VCPUS } from '#shared/base/limits.js';

export const UART_STATE_VERSION = 1;

// Words.
export const S_VERSION = 0;
export const S_IER = 4;
export const S_LCR = 8;
export const S_MCR = 12;
/** FCR bit 0 and bits 7:6. */
export const S_FCR = 16;
export const S_SCR = 20;
export const S_DLL = 24;
export const S_DLM = 28;
/** MSR bits 3:0: what changed since it was read. */
export const S_MSR_DELTA = 32;
/** 1: THR became empty, and neither IIR nor a write of THR has taken note. */
export const S_THRE_PENDING = 36;
/** Ring positions: free-running, head is where bytes are put. */
export const S_RX_HEAD = 40;
export const S_RX_TAIL = 44;
export const S_TX_HEAD = 48;
export const S_TX_TAIL = 52;
/** Sequence of the last input message taken. */
export const S_INPUT_SEQUENCE = 56;
/** A pair for each vCPU: sequence of its last access obeyed, and what that gave. */
export const S_ACCESSES = 64;
export const S_RX_RING = 4096;
export const RX_RING_BYTES = 8192;
export const S_TX_RING = 16_384;
export const TX_RING_BYTES = 16_384;
export const UART_STATE_BYTES = S_TX_RING + TX_RING_BYTES;

const ACCESSES_END = S_ACCESSES + MAX_VCPUS * 8;

export interface UartState {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
}

export function viewUartState(buffer: ArrayBufferLike, page: Region): UartState {
  return {
    words: new Int32Array(buffer, page.offset, UART_STATE_BYTES >> 2),
    bytes: new Uint8Array(buffer, page.offset, UART_STATE_BYTES),
  };
}

export function getState(state: UartState, offset: number): number {
  return state.words[offset >> 2]!;
}

export function setState(state: UartState, offset: number, value: number): void {
  state.words[offset >> 2] = value;
}

/** Power-on. Which accesses were obeyed is kept: mailboxes do not start over. */
export function resetUartState(state: UartState): void {
  for (let offset = S_IER; offset <= S_TX_TAIL; offset += 4) setState(state, offset, 0);
  setState(state, S_DLL, 12); // 9600 baud
  setState(state, S_VERSION, UART_STATE_VERSION);
}

/** True when this access of a vCPU was obeyed before the last restart; then {@link repeatedValue} is its answer. */
export function wasObeyed(state: UartState, vcpu: number, sequence: number): boolean {
  return getState(state, S_ACCESSES + vcpu * 8) === (sequence | 0);
}

export function repeatedValue(state: UartState, vcpu: number): number {
  return getState(state, S_ACCESSES + vcpu * 8 + 4);
}

export function recordAccess(state: UartState, vcpu: number, sequence: number, value: number): void {
  const at = S_ACCESSES + vcpu * 8;
  if (at >= ACCESSES_END) return;
  setState(state, at + 4, value);
  setState(state, at, sequence);
}
