import { describe, expect, test } from 'vitest';
import { Ticker } from '#actors/chipset/ticker.js';
import { restoreChipsetPage, saveChipsetPage } from '#actors/chipset/state.js';
import { getDouble } from '#shared/chipset/chipset-page.js';
import {
  CHIPSET_BOOT_NS,
  CHIPSET_LOCK_TICKER,
  CHIPSET_TICKER_WAKE,
  PIT_NEXT_EDGE,
} from '#shared/chipset/page-layout.js';
import { picHasInterrupt } from '#shared/chipset/pic-lines.js';
import { picWrite } from '#shared/chipset/pic.js';
import { pitWrite } from '#shared/chipset/pit.js';
import { rtcWrite } from '#shared/chipset/rtc.js';
import { lockChipset } from '#shared/x86/chipset-lock.js';
import { PENDING_TIMER } from '#shared/x86/cpu-state.js';
import { createDeadlineViews } from '#shared/x86/ticker-words.js';
import { buildInterruptMachine, enableLapics, START_NS } from '../../../support/interrupt-machine.js';

function build(vcpus = 2) {
  const machine = buildInterruptMachine(vcpus);
  enableLapics(machine);
  const wallNs = () => machine.wallNs + machine.clock.nowNs() - START_NS;
  const ticker = new Ticker(machine.fabric, { nowNs: () => machine.clock.nowNs(), wallNs });
  const words = createDeadlineViews(machine.fabric, CHIPSET_TICKER_WAKE);
  const arm = (vcpu: number, ms: number): void => {
    machine.lapics[vcpu]!.mmioWrite(0x3e0, 0xb);
    machine.lapics[vcpu]!.mmioWrite(0x320, 0x60);
    machine.lapics[vcpu]!.mmioWrite(0x380, ms * 1e6);
  };
  return { machine, ticker, words, arm };
}

describe('ticker', () => {
  test('nothing armed: sleeps for ever, and says so', () => {
    const { ticker, words } = build();
    expect(ticker.announceWake()).toBe(Infinity);
    expect(words.loadWakeNs()).toBe(Infinity);
  });

  test('wakes for the earliest LAPIC timer and signals only who is due, once', () => {
    const { machine, ticker, arm } = build();
    arm(0, 5);
    arm(1, 3);
    expect(ticker.announceWake()).toBe(START_NS + 3e6);
    machine.clock.advanceMs(3);
    ticker.tick();
    expect(machine.takePending(0)).toBe(0);
    expect(machine.takePending(1)).toBe(PENDING_TIMER);
    // vCPU 1 has not acted yet: the ticker neither nags nor spins.
    ticker.tick();
    expect(machine.takePending(1)).toBe(0);
    expect(ticker.announceWake()).toBe(START_NS + 5e6);
  });

  test('only a deadline before the announced one rings', () => {
    const { machine, ticker, arm } = build();
    arm(0, 5);
    ticker.announceWake();
    machine.rings = 0;
    arm(1, 7);
    expect(machine.rings).toBe(0);
    arm(1, 2);
    expect(machine.rings).toBe(1);
  });

  test('PIT edges reach the 8259, RTC updates too', () => {
    const { machine, ticker } = build(1);
    const { fabric, page, clock } = machine;
    for (const [port, value] of [
      [0x20, 0x11],
      [0x21, 0x20],
      [0x21, 4],
      [0x21, 1],
      [0x21, 0xfe],
    ] as const) {
      picWrite(fabric, port, value);
    }
    for (const [port, value] of [
      [0x43, 0x34],
      [0x40, 0x9c],
      [0x40, 0x2e],
    ] as const)
      pitWrite(page, port, value, clock.nowNs());
    const wake = ticker.announceWake();
    expect(wake - START_NS).toBeCloseTo(10e6, -4);
    clock.advanceMs(11);
    expect(picHasInterrupt(fabric)).toBe(false);
    ticker.tick();
    expect(picHasInterrupt(fabric)).toBe(true);

    picWrite(fabric, 0x21, 0xfb);
    for (const [port, value] of [
      [0xa0, 0x11],
      [0xa1, 0x28],
      [0xa1, 2],
      [0xa1, 1],
      [0xa1, 0xfe],
    ] as const) {
      picWrite(fabric, port, value);
    }
    rtcWrite(page, 0xb, 0x12, machine.wallNs);
    expect(picHasInterrupt(fabric)).toBe(false);
    clock.advanceMs(1000);
    ticker.tick();
    expect(picHasInterrupt(fabric)).toBe(true);
  });

  test('a successor frees the lock its predecessor died with', () => {
    const { machine, ticker } = build();
    lockChipset(machine.fabric, CHIPSET_LOCK_TICKER);
    ticker.takeOver();
    expect(ticker.announceWake()).toBe(Infinity);
  });
});

describe('saved state', () => {
  test('comes back with its times moved to the new host clock', () => {
    const { machine } = build();
    pitWrite(machine.page, 0x43, 0x14, machine.clock.nowNs());
    pitWrite(machine.page, 0x40, 100, machine.clock.nowNs());
    const edge = getDouble(machine.page, PIT_NEXT_EDGE);
    const state = saveChipsetPage(machine.fabric, machine.clock.nowNs());
    const other = build().machine;
    restoreChipsetPage(other.fabric, state, machine.clock.nowNs() + 1e9);
    expect(getDouble(other.page, CHIPSET_BOOT_NS)).toBe(START_NS + 1e9);
    expect(getDouble(other.page, PIT_NEXT_EDGE)).toBe(edge + 1e9);
  });
});
