import { beforeEach, describe, expect, test } from 'vitest';
import { type ChipsetPage, viewChipsetPage } from '#shared/chipset/chipset-page.js';
import { CHIPSET_PAGE_BYTES } from '#shared/chipset/page-layout.js';
import { resetRtc, rtcNextEventNs, rtcRead, rtcUpdate, rtcWrite } from '#shared/chipset/rtc.js';

const START = Date.UTC(2024, 1, 29, 23, 59, 58) * 1e6;
const SECOND = 1e9;
let page: ChipsetPage;

beforeEach(() => {
  page = viewChipsetPage(new SharedArrayBuffer(CHIPSET_PAGE_BYTES), 0, CHIPSET_PAGE_BYTES);
  resetRtc(page, START);
});

/** Century, year, month, day, hours, minutes, seconds, day of week, as they stand in the registers. */
function readAll(wallNs: number): number[] {
  return [0x32, 9, 8, 7, 4, 2, 0, 6].map((index) => rtcRead(page, index, wallNs));
}

describe('time', () => {
  test('is the host UTC, in BCD and 24 hours, over a leap day', () => {
    expect(readAll(START)).toEqual([0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58, 5]);
    expect(readAll(START + 2 * SECOND)).toEqual([0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00, 6]);
  });

  test('binary, and 12 hours', () => {
    rtcWrite(page, 0xb, 0x06, START);
    expect(readAll(START).slice(1, 7)).toEqual([24, 2, 29, 23, 59, 58]);
    rtcWrite(page, 0xb, 0x04, START);
    expect(rtcRead(page, 4, START)).toBe(0x80 | 11);
    expect(rtcRead(page, 4, START + 2 * SECOND)).toBe(12);
    rtcWrite(page, 0xb, 0x00, START);
    expect(rtcRead(page, 4, START)).toBe(0x80 | 0x11);
  });

  test('setting it under SET moves the clock, which then goes on', () => {
    rtcWrite(page, 0xb, 0x82, START);
    const values = [
      [9, 0x31],
      [8, 0x12],
      [7, 0x31],
      [4, 0x11],
      [2, 0x22],
      [0, 0x33],
    ] as const;
    for (const [index, value] of values) rtcWrite(page, index, value, START + SECOND);
    expect(rtcRead(page, 0, START + 5 * SECOND)).toBe(0x33);
    rtcWrite(page, 0xb, 0x02, START + 10 * SECOND);
    expect(readAll(START + 17 * SECOND).slice(0, 7)).toEqual([0x20, 0x31, 0x12, 0x31, 0x11, 0x22, 0x40]);
  });

  test('UIP stands shortly before an update and never under SET', () => {
    const late = START + SECOND - 100_000;
    expect(rtcRead(page, 0xa, START) & 0x80).toBe(0);
    expect(rtcRead(page, 0xa, late) & 0x80).toBe(0x80);
    rtcWrite(page, 0xb, 0x82, START);
    expect(rtcRead(page, 0xa, late) & 0x80).toBe(0);
  });

  test('D says that the battery is good; CMOS RAM keeps bytes', () => {
    expect(rtcRead(page, 0xd, START)).toBe(0x80);
    rtcWrite(page, 0x40, 0xab, START);
    expect(rtcRead(page, 0x40, START)).toBe(0xab);
  });
});

describe('interrupts', () => {
  test('update-ended: once a second, until C is read', () => {
    rtcWrite(page, 0xb, 0x12, START);
    expect(rtcUpdate(page, START + SECOND / 2)).toBe(false);
    expect(rtcNextEventNs(page, START + SECOND / 2)).toBe(SECOND / 2);
    expect(rtcUpdate(page, START + SECOND)).toBe(true);
    expect(rtcNextEventNs(page, START + SECOND)).toBe(Infinity);
    expect(rtcRead(page, 0xc, START + SECOND) & 0x90).toBe(0x90);
    expect(rtcUpdate(page, START + SECOND)).toBe(false);
  });

  test('alarm: at its time only, with wildcards', () => {
    rtcWrite(page, 1, 0x01, START);
    rtcWrite(page, 3, 0x00, START);
    rtcWrite(page, 5, 0xff, START);
    rtcWrite(page, 0xb, 0x22, START);
    const states = [1, 2, 3].map((s) => rtcUpdate(page, START + s * SECOND));
    expect(states).toEqual([false, false, true]);
    expect(rtcRead(page, 0xc, START + 3 * SECOND) & 0xa0).toBe(0xa0);
  });

  test('periodic: at the rate of register A', () => {
    rtcWrite(page, 0xa, 0x2f, START); // 2 Hz
    rtcWrite(page, 0xb, 0x42, START);
    expect(rtcNextEventNs(page, START)).toBe(SECOND / 2);
    expect(rtcUpdate(page, START + SECOND / 2)).toBe(true);
    expect(rtcRead(page, 0xc, START + SECOND / 2) & 0xc0).toBe(0xc0);
  });

  test('flags rise without interrupts too', () => {
    expect(rtcRead(page, 0xc, START + SECOND)).toBe(0x50);
    expect(rtcNextEventNs(page, START)).toBe(Infinity);
  });
});
