// The UART's state page: the registers, what waits to be sent and to be read, and which accesses were obeyed already. It is
// the device: nothing is kept in the worker's heap, so a replaced UART goes on where the page stands. Word offsets in
// bytes; one writer, but for S_TX_TAIL.
//
// A step (an access, a message of input) changes several words, and the UART may die between any two stores. So a step's changes are
// noted in the journal first; one store then says that the step was taken; then the changes are carried out. A successor
// carries out what a taken step left undone, and forgets a step that was not taken: it will be asked for again.

import { assert } from '#shared/base/error.js';
import { MAX_VCPUS } from '#shared/base/limits.js';
import type { Region } from '#shared/base/region.js';
import { publishHead } from '#shared/ipc/output-ring.js';

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
/** Of the kernel's thread, which takes what is sent. */
export const S_TX_TAIL = 52;
/** Sequence of the last input message taken. */
export const S_INPUT_SEQUENCE = 56;
/** A pair for each vCPU: sequence of its last access obeyed, and what that gave. */
export const S_ACCESSES = 64;
/** Changes in the journal; 0: there is no step. */
export const S_STEP_CHANGES = 1024;
/** The word whose store takes the step, and what it then holds. */
const S_STEP_WORD = 1028;
const S_STEP_VALUE = 1032;
/** Pairs of word and value. */
const S_STEP_CHANGE = 1040;
const MAX_CHANGES = 16;
export const S_RX_RING = 4096;
export const RX_RING_BYTES = 8192;
export const S_TX_RING = 16_384;
export const TX_RING_BYTES = 16_384;
export const UART_STATE_BYTES = S_TX_RING + TX_RING_BYTES;

const ACCESSES_END = S_ACCESSES + MAX_VCPUS * 8;

export interface UartState {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  /** Of the step in hand: offset, value, offset, value … */
  readonly changes: number[];
  /** Changes are noted, not made. */
  isStep: boolean;
}

export function viewUartState(buffer: ArrayBufferLike, page: Region): UartState {
  return {
    words: new Int32Array(buffer, page.offset, UART_STATE_BYTES >> 2),
    bytes: new Uint8Array(buffer, page.offset, UART_STATE_BYTES),
    changes: [],
    isStep: false,
  };
}

export function getState(state: UartState, offset: number): number {
  const { changes } = state;
  for (let i = 0; i < changes.length; i += 2) if (changes[i] === offset) return changes[i + 1]!;
  return state.words[offset >> 2]!;
}

export function setState(state: UartState, offset: number, value: number): void {
  if (!state.isStep) return store(state, offset, value);
  const { changes } = state;
  let at = 0;
  while (at < changes.length && changes[at] !== offset) at += 2;
  changes[at] = offset;
  changes[at + 1] = value;
}

function store({ words }: UartState, offset: number, value: number): void {
  if (offset === S_TX_HEAD) publishHead(words, S_TX_HEAD >> 2, value);
  else words[offset >> 2] = value;
}

/** Until {@link takeStep}, setState() only notes. */
export function beginStep(state: UartState): void {
  state.changes.length = 0;
  state.isStep = true;
}

/** All changes since {@link beginStep} and `value` in the word at `offset`, or none of it, whoever dies. */
export function takeStep(state: UartState, offset: number, value: number): void {
  const { words, changes } = state;
  assert(changes.length <= 2 * MAX_CHANGES, 'a step fits into the journal');
  for (let i = 0; i < changes.length; i++) words[(S_STEP_CHANGE >> 2) + i] = changes[i]!;
  words[S_STEP_WORD >> 2] = offset;
  words[S_STEP_VALUE >> 2] = value;
  words[S_STEP_CHANGES >> 2] = changes.length >> 1;
  words[offset >> 2] = value;
  changes.length = 0;
  state.isStep = false;
  finishStep(state);
}

/** For a successor: carries out what a taken step left undone. */
export function finishStep(state: UartState): void {
  const { words } = state;
  const count = words[S_STEP_CHANGES >> 2]!;
  const wasTaken = words[words[S_STEP_WORD >> 2]! >> 2] === words[S_STEP_VALUE >> 2];
  for (let i = 0; wasTaken && i < count; i++) {
    const at = (S_STEP_CHANGE >> 2) + 2 * i;
    store(state, words[at]!, words[at + 1]!);
  }
  words[S_STEP_CHANGES >> 2] = 0;
}

/** Power-on. Which accesses were obeyed is kept: mailboxes do not start over. So is what waits to be sent. */
export function resetUartState(state: UartState): void {
  for (let offset = S_IER; offset <= S_RX_TAIL; offset += 4) setState(state, offset, 0);
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

/** Takes the step that the access is. */
export function recordAccess(state: UartState, vcpu: number, sequence: number, value: number): void {
  const at = S_ACCESSES + vcpu * 8;
  assert(at < ACCESSES_END, 'the page has room for every vCPU');
  state.words[(at + 4) >> 2] = value;
  takeStep(state, at, sequence | 0);
}

/** A byte to be sent; the caller has seen to it that there is room. */
export function putOutput(state: UartState, byte: number): void {
  const head = getState(state, S_TX_HEAD);
  state.bytes[S_TX_RING + (head & (TX_RING_BYTES - 1))] = byte;
  setState(state, S_TX_HEAD, (head + 1) | 0);
}

/** A saved state, but for what was and is to be sent: that is the business of whoever wrote, or writes, it. */
export function restoreUartState(state: UartState, saved: Uint8Array): void {
  state.bytes.set(saved.subarray(0, S_TX_HEAD));
  state.bytes.set(saved.subarray(S_TX_TAIL + 4, S_TX_RING), S_TX_TAIL + 4);
}
