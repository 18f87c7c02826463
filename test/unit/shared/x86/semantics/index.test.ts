// Every row of the semantics tables must be reachable: its key is a mnemonic of an announced instruction form.
import { Mnemonic } from 'iced-x86';
import { expect, test } from 'vitest';
import { instructionForms } from '#shared/translate/instruction-form.js';
import { SEMANTICS } from '#shared/x86/semantics/index.js';

test('every row is the meaning of an announced instruction', () => {
  const announced = new Set([...instructionForms().values()].map((form) => form.mnemonic));
  expect(Object.keys(SEMANTICS).filter((name) => !announced.has(name))).toEqual([]);
});

test('all sixteen conditions have CMOVcc, SETcc and Jcc', () => {
  for (const prefix of ['Cmov', 'Set', 'J']) {
    const names = Object.keys(Mnemonic).filter((name) =>
      new RegExp(`^${prefix}(n?[obepsalg]|[ab]e|n?[lg]e)$`).test(name),
    );
    expect(names.filter((name) => !(name in SEMANTICS))).toEqual([]);
    expect(names.length).toBe(16);
  }
});
