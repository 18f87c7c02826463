import { beforeEach, describe, expect, test } from 'vitest';
import { type ChipsetPage, getDouble, viewChipsetPage } from '#shared/chipset/chipset-page.js';
import { CHIPSET_PAGE_BYTES, PIT_NEXT_EDGE } from '#shared/chipset/page-layout.js';
import * as Pit from '#shared/chipset/pit.js';

/** Whole ticks, a little past the edge so that rounding does not matter. */
const ticks = (count: number): number => ((count + 0.01) * 1e9) / Pit.PIT_HZ;

let page: ChipsetPage;
beforeEach(() => {
  page = viewChipsetPage(new SharedArrayBuffer(CHIPSET_PAGE_BYTES), 0, CHIPSET_PAGE_BYTES);
  Pit.resetPit(page);
});

function program(channel: number, control: number, count: number, nowNs = 0): void {
  Pit.pitWrite(page, 0x43, control, nowNs);
  Pit.pitWrite(page, 0x40 + channel, count & 0xff, nowNs);
  Pit.pitWrite(page, 0x40 + channel, count >> 8, nowNs);
}

function readCount(channel: number, nowNs: number): number {
  Pit.pitWrite(page, 0x43, channel << 6, nowNs);
  return (
    Pit.pitRead(page, 0x40 + channel, nowNs + 1e6) | (Pit.pitRead(page, 0x40 + channel, nowNs + 2e6) << 8)
  );
}

describe('counts', () => {
  test('mode 0 counts down through zero; its output rises at the end', () => {
    program(0, 0x30, 1000);
    expect(readCount(0, ticks(400))).toBe(600);
    expect(Pit.pitOutput(page, 0, ticks(999))).toBe(false);
    expect(Pit.pitOutput(page, 0, ticks(1000))).toBe(true);
    expect(readCount(0, ticks(1001))).toBe(0xffff);
  });

  test('mode 2 reloads', () => {
    program(0, 0x34, 1000);
    expect(readCount(0, ticks(0))).toBe(1000);
    expect(readCount(0, ticks(999))).toBe(1);
    expect(readCount(0, ticks(2500))).toBe(500);
    expect(Pit.pitOutput(page, 0, ticks(999))).toBe(false);
    expect(Pit.pitOutput(page, 0, ticks(1000))).toBe(true);
  });

  test('mode 3 counts by twos and is high for the first half', () => {
    program(0, 0x36, 1000);
    expect(readCount(0, ticks(100))).toBe(800);
    expect(readCount(0, ticks(600))).toBe(800);
    expect([0, 499, 500, 999, 1000].map((t) => Pit.pitOutput(page, 0, ticks(t)))).toEqual([
      true,
      true,
      false,
      false,
      true,
    ]);
  });

  test('mode 4 strobes low for one tick', () => {
    program(0, 0x38, 10);
    expect([9, 10, 11].map((t) => Pit.pitOutput(page, 0, ticks(t)))).toEqual([true, false, true]);
  });

  test('a count of 0 is 65536, and BCD counts in decimal', () => {
    program(0, 0x34, 0);
    expect(readCount(0, ticks(1))).toBe(0xffff);
    program(0, 0x31, 0x1234);
    expect(readCount(0, ticks(35))).toBe(0x1199);
  });

  test('a latched count stays until both its bytes are read', () => {
    program(0, 0x34, 1000);
    Pit.pitWrite(page, 0x43, 0x00, ticks(10));
    Pit.pitWrite(page, 0x43, 0x00, ticks(20));
    expect(Pit.pitRead(page, 0x40, ticks(30))).toBe(990 & 0xff);
    expect(Pit.pitRead(page, 0x40, ticks(40))).toBe(990 >> 8);
    expect(Pit.pitRead(page, 0x40, ticks(50))).toBe(950 & 0xff);
  });

  test('read-back gives status, then the count that was latched with it', () => {
    Pit.pitWrite(page, 0x43, 0x34, 0);
    Pit.pitWrite(page, 0x43, 0xe2, 0);
    expect(Pit.pitRead(page, 0x40, 0)).toBe(0xf4); // OUT, null count, both bytes, mode 2
    program(0, 0x34, 1000);
    Pit.pitWrite(page, 0x43, 0xc2, ticks(10));
    expect(Pit.pitRead(page, 0x40, ticks(20))).toBe(0xb4);
    expect(Pit.pitRead(page, 0x40, ticks(20))).toBe(990 & 0xff);
  });
});

describe('channel 2 and port 61h', () => {
  test('counts only under its gate; bit 5 is its output', () => {
    program(2, 0xb0, 1000, 0);
    expect(Pit.readPort61(page, ticks(5000)) & 0x21).toBe(0);
    Pit.writePort61(page, 1, ticks(5000));
    expect(Pit.readPort61(page, ticks(5999)) & 0x21).toBe(0x01);
    expect(Pit.readPort61(page, ticks(6000)) & 0x21).toBe(0x21);
  });

  test('a closed gate holds a mode 0 count', () => {
    Pit.writePort61(page, 1, 0);
    program(2, 0xb0, 1000, 0);
    Pit.writePort61(page, 0, ticks(300));
    expect(readCount(2, ticks(900))).toBe(700);
    Pit.writePort61(page, 1, ticks(1000));
    expect(readCount(2, ticks(1100))).toBe(600);
  });

  test('mode 1 waits for the gate to rise', () => {
    program(2, 0xb2, 100, 0);
    expect(Pit.pitOutput(page, 2, ticks(50))).toBe(true);
    Pit.writePort61(page, 1, ticks(1000));
    expect(Pit.pitOutput(page, 2, ticks(1099))).toBe(false);
    expect(Pit.pitOutput(page, 2, ticks(1101))).toBe(true);
  });

  test('the refresh bit toggles', () => {
    const seen = new Set([0, 16_000, 32_000].map((ns) => Pit.readPort61(page, ns) & 0x10));
    expect(seen.size).toBe(2);
  });
});

describe('the edges of channel 0', () => {
  test('mode 2: one every period, in phase, however late they are taken', () => {
    program(0, 0x34, 11_932); // 10 ms
    const period = (11_932 * 1e9) / Pit.PIT_HZ;
    expect(getDouble(page, PIT_NEXT_EDGE)).toBeCloseTo(period, 0);
    expect(Pit.takePitEdge(page, period - 1000)).toBe(false);
    expect(Pit.takePitEdge(page, period + 1000)).toBe(true);
    expect(getDouble(page, PIT_NEXT_EDGE)).toBeCloseTo(2 * period, 0);
    expect(Pit.takePitEdge(page, 4.5 * period)).toBe(true);
    expect(getDouble(page, PIT_NEXT_EDGE)).toBeCloseTo(5 * period, 0);
  });

  test('mode 0: once; a control word forgets it', () => {
    program(0, 0x30, 1000);
    expect(getDouble(page, PIT_NEXT_EDGE)).toBeCloseTo((1000 * 1e9) / Pit.PIT_HZ, 0);
    expect(Pit.takePitEdge(page, ticks(1000))).toBe(true);
    expect(getDouble(page, PIT_NEXT_EDGE)).toBe(Infinity);
    program(0, 0x30, 1000);
    Pit.pitWrite(page, 0x43, 0x30, ticks(10));
    expect(getDouble(page, PIT_NEXT_EDGE)).toBe(Infinity);
  });

  test('a guest cannot ask for a tick every microsecond', () => {
    program(0, 0x34, 2, 0);
    expect(getDouble(page, PIT_NEXT_EDGE)).toBe(20_000);
  });
});
