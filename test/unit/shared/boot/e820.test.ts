import { expect, test } from 'vitest';
import { buildE820, E820_RAM } from '#shared/boot/e820.js';

const GIB = 2 ** 30;

test('the map is sorted, without overlaps, and counts all RAM but the first MiB exactly', () => {
  for (const [lowBytes, highBytes] of [
    [0x20_0000, 0],
    [GIB, 0],
    [3 * GIB, 0],
    [3 * GIB, 5 * GIB],
  ] as const) {
    const map = buildE820({ lowBytes, highBytes });
    map.reduce((end, entry) => {
      expect(entry.base).toBeGreaterThanOrEqual(end);
      return entry.base + entry.bytes;
    }, 0);
    const ram = map.filter((entry) => entry.type === E820_RAM && entry.base >= 0x10_0000);
    expect(ram.reduce((sum, entry) => sum + entry.bytes, 0)).toBe(lowBytes + highBytes - 0x10_0000);
  }
});

test('ACPI tables and ECAM are reserved', () => {
  const map = buildE820({ lowBytes: GIB, highBytes: 0 });
  const typeAt = (gpa: number) =>
    map.find((entry) => gpa >= entry.base && gpa < entry.base + entry.bytes)?.type;
  expect([0xe_0000, 0xf_ffff, 0xe000_0000, 0xe00f_ffff].map(typeAt)).toEqual([2, 2, 2, 2]);
  expect([0, 0x9_fbff, 0x10_0000, GIB - 1].map(typeAt)).toEqual([1, 1, 1, 1]);
  expect([0xa_0000, 0xc000_0000, 0xfee0_0000].map(typeAt)).toEqual([undefined, undefined, undefined]);
});
