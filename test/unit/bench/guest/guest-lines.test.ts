import { describe, expect, it } from 'vitest';
import { ClockComparison, parseGuestLine } from '../../../../bench/guest/guest-lines.js';

describe('parseGuestLine', () => {
  it.each([
    ['guest up\r', { kind: 'up' }],
    ['guest idle', { kind: 'idle' }],
    ['guest done', { kind: 'done' }],
    ['clock 12345', { kind: 'clock', ns: 12345 }],
    ['bench sha256 38.25 MB/s\r', { kind: 'value', name: 'sha256', value: 38.25, unit: 'MB/s' }],
    ['bench mandelbrot 1.5e+02 M it/s', { kind: 'value', name: 'mandelbrot', value: 150, unit: 'M it/s' }],
    ['bench smc wrong got 0x1 want 0x2', { kind: 'wrong', name: 'smc', why: 'got 0x1 want 0x2' }],
  ])('%s', (line, expected) => {
    expect(parseGuestLine(line)).toEqual(expected);
  });

  it.each([
    '',
    'guest',
    'guest up and about',
    'clock',
    'clock soon',
    '[ 0.1] bench a 1 s',
    'benchmark a 1 s',
  ])('leaves other lines alone: %s', (line) => {
    expect(parseGuestLine(line)).toBeUndefined();
  });

  it.each(['bench a nan s', 'bench a inf s', 'bench a 0 s', 'bench a -1 s', 'bench a 5'])(
    'takes no figure that cannot be one: %s',
    (line) => {
      expect(parseGuestLine(line)).toMatchObject({ kind: 'wrong', name: 'a' });
    },
  );
});

describe('ClockComparison', () => {
  it('compares the first reading with the last', () => {
    const clocks = new ClockComparison();
    clocks.add(1000, 50);
    clocks.add(1500, 900);
    clocks.add(1900, 1050);
    expect(clocks.ratio()).toBeCloseTo(0.9, 10);
  });

  it('says nothing of a span too short to judge by', () => {
    const clocks = new ClockComparison();
    expect(clocks.ratio()).toBeUndefined();
    clocks.add(0, 0);
    clocks.add(10, 20);
    expect(clocks.ratio()).toBeUndefined();
  });
});
