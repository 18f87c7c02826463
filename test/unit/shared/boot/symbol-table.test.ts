import { expect, test } from 'vitest';
import { SymbolTable } from '#shared/boot/symbol-table.js';

const TEXT = `0000000000000000 A fixed_percpu_data
ffffffff81000080 T second
ffffffff81000000 T _text
ffffffff81000000 T startup_64
ffffffff82000000 D some_data
ffffffffc0001000 t helper	[virtio_blk]
not a symbol
`;

test('names an address by the function it lies in', () => {
  const symbols = SymbolTable.parse(TEXT);
  expect(symbols.size).toBe(3);
  expect(symbols.nameOf(0xffff_ffff_8100_0000n)).toBe('_text');
  expect(symbols.nameOf(0xffff_ffff_8100_007fn)).toBe('_text+0x7f');
  expect(symbols.nameOf(0xffff_ffff_8100_0080n)).toBe('second');
  expect(symbols.nameOf(0xffff_ffff_c000_1010n)).toBe('helper+0x10');
});

test('has no name for what lies outside', () => {
  const symbols = SymbolTable.parse(TEXT);
  expect(symbols.nameOf(0x40_1000n)).toBeUndefined();
  expect(symbols.nameOf(0xffff_ffff_8200_0000n)).toBeUndefined();
  expect(SymbolTable.parse('').nameOf(0n)).toBeUndefined();
});
