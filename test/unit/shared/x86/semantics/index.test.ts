// Every row of the semantics tables must be reachable: its key is a mnemonic that the decoder can give.
import { Mnemonic } from 'iced-x86';
import { expect, test } from 'vitest';
import { SEMANTICS } from '#shared/x86/semantics/index.js';

test('every row is named by a mnemonic of the decoder', () => {
  const unknown = [...SEMANTICS.keys()].filter((name) => !(name in Mnemonic));
  expect(unknown).toEqual([]);
});

test('all sixteen conditions have CMOVcc, SETcc and Jcc', () => {
  for (const prefix of ['Cmov', 'Set', 'J']) {
    const names = Object.keys(Mnemonic).filter((name) =>
      new RegExp(`^${prefix}(n?[obepsalg]|[ab]e|n?[lg]e)$`).test(name),
    );
    expect(names.filter((name) => !SEMANTICS.has(name))).toEqual([]);
    expect(names.length).toBe(16);
  }
});
