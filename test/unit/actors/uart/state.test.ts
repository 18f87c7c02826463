import { beforeEach, describe, expect, test } from 'vitest';
import * as S from '#actors/uart/state.js';

const PAGE = { offset: 0, bytes: S.UART_STATE_BYTES };
const CHANGES = S.S_STEP_CHANGES >> 2;
let buffer: SharedArrayBuffer;
let state: S.UartState;
beforeEach(() => {
  buffer = new SharedArrayBuffer(S.UART_STATE_BYTES);
  state = S.viewUartState(buffer, PAGE);
  S.resetUartState(state);
});

/** A byte sent and a register changed by an access of vcpu-1 with this sequence. */
function step(sequence: number): void {
  S.beginStep(state);
  S.putOutput(state, 0x41);
  S.setState(state, S.S_SCR, sequence);
  S.recordAccess(state, 1, sequence, 7);
}

const successor = (): S.UartState => {
  const next = S.viewUartState(buffer, PAGE);
  S.finishStep(next);
  return next;
};

describe('a step', () => {
  test('is seen by whoever takes it, and by no other before it is taken', () => {
    S.beginStep(state);
    S.setState(state, S.S_SCR, 5);
    expect(S.getState(state, S.S_SCR)).toBe(5);
    expect(S.getState(S.viewUartState(buffer, PAGE), S.S_SCR)).toBe(0);
    S.recordAccess(state, 0, 1, 0);
    expect(S.getState(S.viewUartState(buffer, PAGE), S.S_SCR)).toBe(5);
  });

  test('that was taken is carried out by a successor, once', () => {
    step(1);
    const before = state.words.slice();
    step(2);
    const after = state.words.slice();
    // Death between the store that takes the step and the first change.
    state.words.set(after);
    state.words[S.S_SCR >> 2] = before[S.S_SCR >> 2]!;
    state.words[S.S_TX_HEAD >> 2] = before[S.S_TX_HEAD >> 2]!;
    state.words[CHANGES] = 2;
    for (let death = 0; death < 2; death++) {
      const next = successor();
      expect(S.wasObeyed(next, 1, 2)).toBe(true);
      expect([S.getState(next, S.S_SCR), S.getState(next, S.S_TX_HEAD)]).toEqual([2, 2]);
    }
  });

  test('that was not taken is forgotten', () => {
    step(1);
    const before = state.words.slice();
    step(2);
    const after = state.words.slice();
    // Death between the note and the store that takes the step: the journal alone is the new one.
    state.words.set(before);
    state.words.set(after.subarray(CHANGES, S.S_RX_RING >> 2), CHANGES);
    state.words[CHANGES] = 2;
    const next = successor();
    expect(S.wasObeyed(next, 1, 2)).toBe(false);
    expect([S.getState(next, S.S_SCR), S.getState(next, S.S_TX_HEAD)]).toEqual([1, 1]);
    step(2);
    expect(S.getState(state, S.S_TX_HEAD)).toBe(2);
  });
});

test('a restored state leaves what is to be sent where it is', () => {
  step(1);
  const saved = state.bytes.slice();
  step(2);
  step(3);
  S.restoreUartState(state, saved);
  expect([S.getState(state, S.S_SCR), S.getState(state, S.S_TX_HEAD)]).toEqual([1, 3]);
});
