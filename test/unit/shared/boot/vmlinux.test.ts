import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TroupeError } from '#shared/base/error.js';
import { parseBzImage } from '#shared/boot/bzimage.js';
import { decompressLz4Legacy } from '#shared/boot/lz4.js';
import { extractVmlinux } from '#shared/boot/vmlinux.js';
import { decompressXz } from '#shared/boot/xz.js';
import { buildBzImage, withLength } from '../../../support/kernel-image.js';
import { buildSample, SAMPLE_LZ4, SAMPLE_XZ, SAMPLE_ZSTD } from '../../../support/packed-sample.js';

const sample = buildSample();
const packed: Record<string, Uint8Array> = {
  gzip: new Uint8Array(gzipSync(sample)),
  lz4: withLength(SAMPLE_LZ4, sample.length),
  xz: withLength(SAMPLE_XZ, sample.length),
  zstd: withLength(SAMPLE_ZSTD, sample.length),
};

function extract(payload: Uint8Array): Uint8Array | undefined {
  return extractVmlinux(parseBzImage(buildBzImage({ payload })));
}

test.each(Object.keys(packed))('a %s payload unpacks to the kernel', (format) => {
  expect(extract(packed[format]!)).toEqual(sample);
});

test('an unknown compression is left to the guest', () => {
  expect(extract(withLength(new TextEncoder().encode('BZh91AY&SY not for us'), 100))).toBeUndefined();
  expect(extract(Uint8Array.of(1, 2, 3))).toBeUndefined();
});

test('an uncompressed payload is taken as it is', () => {
  expect(extract(sample)).toEqual(sample);
});

test('a payload that is no ELF file, or is of another length than it says, is refused', () => {
  expect(() => extract(new Uint8Array(gzipSync(new Uint8Array(100))))).toThrow(/ELF/);
  expect(() => extract(withLength(SAMPLE_LZ4, sample.length + 1))).toThrow(TroupeError);
  expect(() => extract(withLength(SAMPLE_XZ, sample.length + 1))).toThrow(TroupeError);
  expect(() => extract(withLength(SAMPLE_LZ4, 0xffff_fff0))).toThrow(/claims to unpack/);
});

test.each(Object.keys(packed))(
  'a damaged %s payload is bad-kernel or still unpacks, nothing else',
  (format) => {
    const original = packed[format]!;
    const damage = fc.array(fc.tuple(fc.nat(original.length - 1), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(damage, fc.integer({ min: 16, max: original.length }), (changes, length) => {
        const bytes = original.slice(0, length);
        // The length field is tested above; damage here would only ask for half a gigabyte.
        for (const [at, value] of changes) if (at < length) bytes[at] = value;
        const payload = withLength(bytes, sample.length);
        try {
          extract(payload);
        } catch (error) {
          expect(error).toBeInstanceOf(TroupeError);
          expect((error as TroupeError).code).toBe('bad-kernel');
        }
      }),
      { numRuns: 300 },
    );
  },
);

test('several lz4 blocks follow each other', () => {
  // Two blocks of literals: "abc" and "de".
  const frame = Uint8Array.of(
    2,
    0x21,
    0x4c,
    0x18,
    4,
    0,
    0,
    0,
    0x30,
    0x61,
    0x62,
    0x63,
    3,
    0,
    0,
    0,
    0x20,
    0x64,
    0x65,
  );
  expect(new TextDecoder().decode(decompressLz4Legacy(frame, 5))).toBe('abcde');
});

test('xz without the branch filter leaves opcodes alone', () => {
  // An LZMA2 stream of one uncompressed chunk: E8 and a small absolute target.
  const chunk = [0x01, 0x00, 0x04, 0xe8, 0x10, 0x00, 0x00, 0x00, 0x00];
  const header = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0, 0, 0, 0, 0];
  const block = [0x02, 0x00, 0x21, 0x01, 0x00, 0, 0, 0, 0, 0, 0, 0];
  const stream = Uint8Array.from([...header, ...block, ...chunk, 0, 0, 0, 0, 0]);
  expect([...decompressXz(stream, 5)]).toEqual([0xe8, 0x10, 0, 0, 0]);
  const filtered = stream.slice();
  filtered.set([0x02, 0x01, 0x04, 0x00, 0x21, 0x01, 0x00], 12);
  expect([...decompressXz(filtered, 5)]).toEqual([0xe8, 0x0b, 0, 0, 0]);
});
