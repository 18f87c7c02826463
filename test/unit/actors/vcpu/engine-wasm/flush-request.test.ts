import { expect, test } from 'vitest';
import { FlushRequests } from '#actors/vcpu/engine-wasm/flush-request.js';
import { INSIDE_ENGINE, PENDING, PENDING_TLB_FLUSH, TLB_FLUSH_ACK } from '#shared/x86/cpu-state.js';
import { countFlush, enterEngine, leaveEngine } from '#shared/x86/vcpu-words.js';

const PAGE = 4096;
const states = [0, 1, 2].map((v) => ({ offset: v * PAGE, bytes: PAGE }));
const word = (vcpu: number, field: number): number => (vcpu * PAGE + field) >>> 2;

function threeVcpus(beat: (i32: Int32Array) => void = () => {}) {
  const i32 = new Int32Array(new SharedArrayBuffer(3 * PAGE));
  const flushed: number[] = [];
  const of = (vcpu: number) =>
    new FlushRequests(
      i32,
      states,
      vcpu,
      () => void flushed.push(vcpu),
      () => beat(i32),
    );
  return { i32, flushed, requests: states.map((_, vcpu) => of(vcpu)) };
}

test('a vCPU outside its engine is not waited for, and serves the request when it comes back', () => {
  const { i32, flushed, requests } = threeVcpus();
  requests[0]!.request(0b111);
  expect([0, 1, 2].map((v) => i32[word(v, PENDING)])).toEqual([0, PENDING_TLB_FLUSH, PENDING_TLB_FLUSH]);
  requests[1]!.serve();
  requests[1]!.serve();
  expect(flushed).toEqual([1]);
  expect(i32[word(1, TLB_FLUSH_ACK)]).toBe(1);
});

test('a vCPU inside its engine is waited for until it has flushed, with a beating heart', () => {
  let beats = 0;
  const { i32, requests } = threeVcpus((words) => {
    if (++beats === 3) countFlush(words, word(1, TLB_FLUSH_ACK));
  });
  enterEngine(i32, word(1, INSIDE_ENGINE));
  requests[0]!.request(0b010);
  expect(beats).toBe(3);
});

test('one that leaves its engine unflushed is waited for no longer', () => {
  let beats = 0;
  const { i32, requests } = threeVcpus((words) => {
    if (++beats === 2) leaveEngine(words, word(2, INSIDE_ENGINE));
  });
  enterEngine(i32, word(2, INSIDE_ENGINE));
  requests[0]!.request(0b100);
  expect(beats).toBe(2);
  expect(i32[word(2, PENDING)]).toBe(PENDING_TLB_FLUSH);
});

test('who waits serves what others ask of it', () => {
  const { i32, flushed, requests } = threeVcpus((words) => countFlush(words, word(1, TLB_FLUSH_ACK)));
  enterEngine(i32, word(1, INSIDE_ENGINE));
  requests[2]!.request(0b001);
  requests[0]!.request(0b010);
  expect(flushed).toEqual([0]);
});
