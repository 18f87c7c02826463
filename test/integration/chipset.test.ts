// The chipset's worker as the ticker: timers that are armed in one thread wake a vCPU in time, also after the chipset died.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { monotonicNs, wallNs } from '#shared/base/clock.js';
import { BELL_TIMER, doorbellIndex, ringDoorbell } from '#shared/ipc/doorbell.js';
import { PENDING_TIMER } from '#shared/x86/cpu-state.js';
import { resetChipset } from '#shared/x86/chipset-power-on.js';
import { createInterruptFabric, type InterruptFabric } from '#shared/x86/interrupt-delivery.js';
import { Lapic } from '#shared/x86/lapic.js';
import { builtActor, DeviceBench } from '../support/device-bench.js';

let bench: DeviceBench;
let fabric: InterruptFabric;
let lapics: Lapic[];

beforeEach(async () => {
  bench = new DeviceBench({
    actors: [{ name: 'chipset', kind: 'chipset', entry: builtActor('chipset') }],
    plan: { vcpus: 2 },
  });
  fabric = createInterruptFabric(bench.memory, bench.layout);
  resetChipset(fabric, monotonicNs(), wallNs());
  const bell = doorbellIndex(bench.layout.actors['chipset']!.doorbell);
  const ringTicker = (): void => ringDoorbell(bench.views.i32, bell, BELL_TIMER);
  lapics = [0, 1].map((vcpu) => {
    const lapic = new Lapic(fabric, vcpu, { nowNs: monotonicNs, ringTicker });
    lapic.mmioWrite(0xf0, 0x1ff);
    lapic.mmioWrite(0x3e0, 0xb);
    lapic.mmioWrite(0x320, 0x60);
    return lapic;
  });
  await bench.start();
});

afterEach(async () => {
  await bench.stop();
});

/** Arms a vCPU's timer, sleeps on its PENDING word, gives how late it woke in ms. */
function measureLatenessMs(vcpu: number, ms: number): number {
  lapics[vcpu]!.mmioWrite(0x380, ms * 1e6);
  const deadlineNs = lapics[vcpu]!.timer.deadlineNs;
  const word = fabric.pending[vcpu]!;
  while ((Atomics.load(fabric.words, word) & PENDING_TIMER) === 0) {
    if (Atomics.wait(fabric.words, word, Atomics.load(fabric.words, word), 3000) === 'timed-out')
      return Infinity;
  }
  const lateNs = monotonicNs() - deadlineNs;
  Atomics.and(fabric.words, word, ~PENDING_TIMER);
  lapics[vcpu]!.timerExpired(monotonicNs());
  expect(lapics[vcpu]!.acknowledgeInterrupt()).toBe(0x60);
  lapics[vcpu]!.endOfInterrupt();
  return lateNs / 1e6;
}

describe('ticker over threads', () => {
  it('wakes no vCPU early and both in time, whether the deadline is the next or not', () => {
    const lateness: number[] = [];
    lapics[1]!.mmioWrite(0x380, 2_000_000_000);
    for (let round = 0; round < 100; round++) lateness.push(measureLatenessMs(0, 1 + (round % 4)));
    lateness.sort((a, b) => a - b);
    expect(lateness[0]).toBeGreaterThanOrEqual(0);
    expect(lateness[50]).toBeLessThan(2);
    expect(measureLatenessMs(1, 1)).toBeLessThan(200);
  });

  it('goes on after a restart with the deadlines that stand in the pages', async () => {
    lapics[1]!.mmioWrite(0x380, 300_000_000);
    await bench.supervisor.kill('chipset');
    expect(measureLatenessMs(0, 1)).toBeLessThan(500);
    expect(Atomics.wait(fabric.words, fabric.pending[1]!, 0, 3000)).not.toBe('timed-out');
    expect(monotonicNs()).toBeGreaterThanOrEqual(lapics[1]!.timer.deadlineNs);
  });
});
