import { expect, test } from 'vitest';
import * as aml from '#shared/acpi/aml.js';
import { irq, io, memory32Fixed, resourceTemplate, wordIoWindow } from '#shared/acpi/resources.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test.each([
  ['PCI0', '50434930'],
  ['\\_S5', '5c5f53355f'],
  ['\\_SB.PCI0', '5c2e5f53425f50434930'],
  ['A.B.C', '2f03415f5f5f425f5f5f435f5f5f'],
])('name %s', (name, expected) => {
  expect(hex(aml.nameString(name))).toBe(expected);
});

test('a wrong name is refused', () => {
  expect(() => aml.nameString('toolong')).toThrow(RangeError);
  expect(() => aml.nameString('1ABC')).toThrow(RangeError);
});

test.each([
  [0, '00'],
  [1, '01'],
  [2, '0a02'],
  [0xff, '0aff'],
  [0x100, '0b0001'],
  [0x1_0000, '0c00000100'],
  [0xffff_ffff, '0cffffffff'],
  [0x1_0000_0000, '0e0000000001000000'],
])('integer %i', (value, expected) => {
  expect(hex(aml.integer(value))).toBe(expected);
});

test.each([
  // A scope of a name of 4 and n bytes: its package length counts itself.
  [58, '3f'],
  [59, '4104'],
  [4083, '49ff'],
  [4096, '870001'],
  [0x10_0000, 'c8000001'],
])('package length of %i bytes and a name', (bytes, expected) => {
  const term = aml.scope('ABCD', new Uint8Array(bytes));
  expect(hex(term.subarray(1, 1 + expected.length / 2))).toBe(expected);
});

test('EISA ids and UUIDs are compressed as ASL does', () => {
  expect(hex(aml.eisaId('PNP0A08'))).toBe('0c41d00a08');
  expect(() => aml.eisaId('PNP0a08')).toThrow(RangeError);
  expect(hex(aml.uuid('33DB4D5B-1FF7-401C-9657-7441C03DD766')).slice(-32)).toBe(
    '5b4ddb33f71f1c4096577441c03dd766',
  );
});

test('resource descriptors have the lengths that their tags announce', () => {
  expect(hex(io(0x3f8, 8))).toBe('4701f803f8030108');
  expect(hex(irq(4))).toBe('221000');
  expect(hex(memory32Fixed(0xe000_0000, 0x10_0000))).toBe('86090001000000e000001000');
  expect(hex(wordIoWindow(0xd00, 0xf300))).toBe('880d00010c030000000dffff000000f3');
  expect(hex(resourceTemplate(irq(4)))).toBe('11080a052210007900');
});
