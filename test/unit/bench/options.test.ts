import { describe, expect, it } from 'vitest';
import { BENCH_HELP, parseBenchOptions } from '../../../bench/options.js';
import { GUEST_ROWS } from '../../../bench/guest/rows.js';

describe('parseBenchOptions', () => {
  it('runs everything unless told otherwise', () => {
    const options = parseBenchOptions([]);
    expect(options).toMatchObject({ turns: 3, tier: undefined, solo: undefined, native: false });
    expect(options.benchmarks).toEqual(['mailbox', 'recovery', 'kvm', 'integer-loop', 'boot', 'guest']);
    expect(options.rows).toEqual(GUEST_ROWS);
  });

  it('chooses rows, in the order of the table', () => {
    const argv = ['guest', '--only', 'smc,sha256', '--turns', '1', '--tier', 'auto', '--solo', 'troupe'];
    const options = parseBenchOptions(argv);
    expect(options).toMatchObject({ benchmarks: ['guest'], turns: 1, tier: 'auto', solo: 'troupe' });
    expect(options.rows.map(({ name }) => name)).toEqual(['sha256', 'smc']);
  });

  it.each([
    [['gust'], /benchmark gust/],
    [['guest', '--only', 'sha256,nope'], /nope/],
    [['--turns', '0'], /--turns 0/],
    [['--turns', '1.5'], /--turns 1\.5/],
    [['--measure', '-5'], /--measure/],
    [['--tier', 'fast'], /--tier fast/],
    [['--solo', 'bochs'], /--solo bochs/],
    [['--frobnicate'], /--frobnicate/],
  ])('refuses %j', (argv, message) => {
    expect(() => parseBenchOptions(argv)).toThrow(
      expect.objectContaining({ code: 'bad-flag', message: expect.stringMatching(message) }),
    );
  });

  it('says in its help what rows there are', () => {
    for (const { name } of GUEST_ROWS) expect(BENCH_HELP).toContain(` ${name}`);
  });
});
