import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TroupeError } from '#shared/base/error.js';
import { findElfNote, isElf, loadElf, parseElf } from '#shared/boot/elf.js';
import { buildElf, buildNote } from '../../../support/kernel-image.js';
import { ramOf } from '../../../support/ram.js';

const CODE = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

test.each([32, 64] as const)(
  'an ELF%i executable is loaded by physical address and its bss cleared',
  (bits) => {
    const vaddr = 0xc000_0000n;
    const segment = { paddr: 0x2000, vaddr, data: CODE, memoryBytes: 16 };
    const elf = parseElf(
      buildElf({ bits, entry: vaddr + 4n, segments: [segment, { paddr: 0x5000, data: CODE }] }),
    );
    expect(elf).toMatchObject({ bits, machine: bits === 64 ? 62 : 3, entry: 0x2004 });
    const memory = ramOf(0x1_0000);
    memory.fill(0, 0x1_0000, 0xee);
    expect(loadElf(memory, elf)).toEqual({ low: 0x2000, high: 0x5008 });
    expect([...memory.slice(0x1fff, 18)!]).toEqual([0xee, ...CODE, 0, 0, 0, 0, 0, 0, 0, 0, 0xee]);
    expect([...memory.slice(0x5000, 9)!]).toEqual([...CODE, 0xee]);
  },
);

test('an entry outside the executable segments is taken as physical', () => {
  const data = { paddr: 0x2000, vaddr: 0n, flags: 6, data: CODE };
  const elf = parseElf(buildElf({ entry: 4n, segments: [data] }));
  expect(elf.entry).toBe(4);
});

test('segments that RAM does not hold say how much memory is needed', () => {
  const elf = parseElf(buildElf({ entry: 0n, segments: [{ paddr: 0x30_0000, data: CODE }] }));
  expect(() => loadElf(ramOf(0x20_0000), elf)).toThrow(/at least 4 MiB/);
  const absurd = parseElf(buildElf({ entry: 0n, segments: [{ paddr: 0x8_0000_0000, data: CODE }] }));
  expect(() => loadElf(ramOf(0x20_0000), absurd)).toThrow(/above 3 GiB/);
});

test.each([
  ['not an ELF', (image: Uint8Array) => image.set([1], 0)],
  ['class 3', (image: Uint8Array) => image.set([3], 4)],
  ['big endian', (image: Uint8Array) => image.set([2], 5)],
  ['relocatable object', (image: Uint8Array) => image.set([1], 16)],
  ['ARM', (image: Uint8Array) => image.set([40], 18)],
  ['no segments', (image: Uint8Array) => image.set([0], 56)],
  ['many segments', (image: Uint8Array) => image.set([0xff, 0xff], 56)],
  ['small header entries', (image: Uint8Array) => image.set([8], 54)],
  ['header table beyond the file', (image: Uint8Array) => image.set([0xff, 0xff], 32)],
  ['file size above memory size', (image: Uint8Array) => image.set([1], 64 + 40)],
])('%s is refused as bad-kernel', (_, damage) => {
  const image = buildElf({ entry: 0x1000n, segments: [{ paddr: 0x1000, data: CODE }] });
  expect(() => parseElf(image)).not.toThrow();
  damage(image);
  expect(() => parseElf(image)).toThrow(expect.objectContaining({ code: 'bad-kernel' }));
});

test('notes are found by owner and type, past others', () => {
  const notes = [
    buildNote('GNU', 18, CODE),
    buildNote('Xen', 5, CODE),
    buildNote('Xen', 18, CODE.subarray(0, 4)),
  ];
  const data = Uint8Array.from(notes.flatMap((note) => [...note]));
  const segments = [
    { paddr: 0x1000, data: CODE },
    { type: 4, paddr: 0, data },
  ];
  const elf = parseElf(buildElf({ entry: 0n, segments }));
  expect(findElfNote(elf, 'Xen', 18)).toEqual(CODE.subarray(0, 4));
  expect(findElfNote(elf, 'Xen', 19)).toBeUndefined();
});

test('a note that runs over its segment ends the search', () => {
  const data = buildNote('Xen', 18, CODE);
  new DataView(data.buffer).setUint32(4, 0xffff_ffff, true);
  const segments = [
    { paddr: 0x1000, data: CODE },
    { type: 4, paddr: 0, data },
  ];
  expect(findElfNote(parseElf(buildElf({ entry: 0n, segments })), 'Xen', 18)).toBeUndefined();
});

test('any bytes are parsed or refused, never a crash', () => {
  const memory = ramOf(0x1_0000);
  for (const bits of [32, 64] as const) {
    const note = { type: 4, paddr: 0, data: buildNote('Xen', 18, CODE) };
    const good = buildElf({ bits, entry: 0x1000n, segments: [{ paddr: 0x1000, data: CODE }, note] });
    const change = fc.tuple(fc.nat(0x100), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 8 }), fc.nat(good.length), (changes, length) => {
        const image = good.slice(0, length);
        for (const [at, value] of changes) if (at < length) image[at] = value;
        isElf(image);
        try {
          const elf = parseElf(image);
          findElfNote(elf, 'Xen', 18);
          loadElf(memory, elf);
        } catch (error) {
          expect(error).toBeInstanceOf(TroupeError);
        }
      }),
      { numRuns: 500 },
    );
  }
});
