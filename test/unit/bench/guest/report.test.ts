import { describe, expect, it } from 'vitest';
import { geometricMean, guestTable, speedRatio } from '../../../../bench/guest/report.js';
import { GUEST_ROWS } from '../../../../bench/guest/rows.js';

const row = (name: string) => GUEST_ROWS.find((entry) => entry.name === name)!;
const cellsOf = (lines: readonly string[], name: string): string[] =>
  lines
    .find((line) => line.startsWith(`| ${name} `))!
    .split('|')
    .map((cell) => cell.trim())
    .slice(1, -1);

describe('speedRatio', () => {
  it('is over 1 where we are faster, whichever way the figure counts', () => {
    expect(speedRatio(row('sha256'), 60, 30)).toBe(2);
    expect(speedRatio(row('getppid'), 2, 4)).toBe(2);
    expect(speedRatio(row('getppid'), 4, 2)).toBe(0.5);
  });
});

describe('geometricMean', () => {
  it('lets a half and a double cancel out', () => {
    expect(geometricMean([0.5, 2])).toBeCloseTo(1, 12);
    expect(geometricMean([1, 2, 4])).toBeCloseTo(2, 12);
  });
});

describe('guestTable', () => {
  const measured = [
    { row: row('sha256'), values: [[90, 10, 60], [30], [300]] },
    { row: row('memcpy'), values: [[100], [200], []] },
    { row: row('smc'), values: [[20], [], []] },
    { row: row('idle'), values: [[0.4], [0.3], []] },
    { row: row('boot'), values: [[3.5], [3], []] },
    { row: row('scaling'), values: [[1.8], [1.9], []] },
    { row: row('clock'), values: [[1], [2], []] },
  ];
  const columns = ['troupe', 'qemu tcg', 'native'];
  const lines = guestTable(columns, measured, { troupe: 0, qemu: 1 });

  it('shows medians, ratios and goals', () => {
    expect(cellsOf(lines, 'sha256').slice(3)).toEqual(['60', '30', '300', '2.00', '≥ 1: met']);
    expect(cellsOf(lines, 'memcpy').slice(3)).toEqual(['100', '200', '—', '0.50', '≥ 1: short']);
    expect(cellsOf(lines, 'idle').slice(3)).toEqual(['0.4', '0.3', '—', '0.75', '< 1 %: met']);
    expect(cellsOf(lines, 'boot').slice(3)).toEqual(['3.5', '3', '—', '0.86', '≥ 0.83: met']);
    expect(cellsOf(lines, 'scaling').slice(3)).toEqual(['1.8', '1.9', '—', '0.95', '≥ 1: short']);
    expect(cellsOf(lines, 'clock').slice(3)).toEqual(['1', '2', '—', '2.00', '']);
  });

  it('judges nothing of a row that lacks a side', () => {
    expect(cellsOf(lines, 'smc').slice(3)).toEqual(['20', '—', '—', '—', '≥ 0.6']);
    expect(lines.some((line) => line.includes('**system**'))).toBe(false);
  });

  it('means each group by itself', () => {
    expect(cellsOf(lines, '**compute**')).toEqual([
      '**compute**',
      'geometric mean of 2 rows',
      '',
      '',
      '',
      '',
      '**1.00**',
      '≥ 1.5: short',
    ]);
  });

  it('is a table of figures where there is nothing to compare', () => {
    const alone = guestTable(['troupe'], [{ row: row('sha256'), values: [[60]] }], undefined);
    expect(alone).toEqual([
      '| row | measures | unit | troupe |',
      '| --- | --- | --- | --- |',
      '| sha256 | SHA-256 | MB/s | 60 |',
    ]);
  });
});
