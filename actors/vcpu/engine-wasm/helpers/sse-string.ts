// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM and CRC32 (Castagnoli). Intel SDM vol. 2 §4.1, CRC32. Strings lie in VECTOR_SCRATCH.
import { HELPER_ARG0, HELPER_ARG1, VECTOR_SCRATCH } from '#shared/x86/cpu-state.js';
import { STRING_EXPLICIT, STRING_MASK } from '#shared/x86/semantics/sse-string.js';

const CF = 1;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;

interface Strings {
  readonly a: Int32Array;
  readonly b: Int32Array;
  readonly aLength: number;
  readonly bLength: number;
}

const A = new Int32Array(16);
const B = new Int32Array(16);

/** imm8[1:0]: unsigned bytes, unsigned words, signed bytes, signed words. */
function readElements(page: DataView, at: number, control: number, to: Int32Array): number {
  const words = (control & 1) !== 0;
  const signed = (control & 2) !== 0;
  const count = words ? 8 : 16;
  for (let i = 0; i < count; i++) {
    if (words) to[i] = signed ? page.getInt16(at + 2 * i, true) : page.getUint16(at + 2 * i, true);
    else to[i] = signed ? page.getInt8(at + i) : page.getUint8(at + i);
  }
  return count;
}

function implicitLength(elements: Int32Array, count: number): number {
  for (let i = 0; i < count; i++) if (elements[i] === 0) return i;
  return count;
}

function explicitLength(page: DataView, at: number, count: number): number {
  const low = page.getInt32(at, true);
  const high = page.getInt32(at + 4, true);
  const length = high === low >> 31 && low !== -0x80000000 ? Math.abs(low) : count;
  return Math.min(length, count);
}

/** imm8[3:2]: how the comparisons of all pairs become one bit for each element of the second string. */
function aggregate(control: number, strings: Strings, count: number): number {
  switch ((control >> 2) & 3) {
    case 0:
      return equalAny(strings);
    case 1:
      return ranges(strings);
    case 2:
      return equalEach(strings, count);
    default:
      return equalOrdered(strings, count);
  }
}

function equalAny({ a, b, aLength, bLength }: Strings): number {
  let bits = 0;
  for (let j = 0; j < bLength; j++) for (let i = 0; i < aLength; i++) if (a[i] === b[j]) bits |= 1 << j;
  return bits;
}

function ranges({ a, b, aLength, bLength }: Strings): number {
  let bits = 0;
  for (let j = 0; j < bLength; j++) {
    // A lower bound without its upper one is no range.
    for (let i = 0; i + 1 < aLength; i += 2) if (b[j]! >= a[i]! && b[j]! <= a[i + 1]!) bits |= 1 << j;
  }
  return bits;
}

function equalEach({ a, b, aLength, bLength }: Strings, count: number): number {
  let bits = 0;
  for (let j = 0; j < count; j++) {
    const equal = j < aLength && j < bLength ? a[j] === b[j] : j >= aLength && j >= bLength;
    if (equal) bits |= 1 << j;
  }
  return bits;
}

function equalOrdered({ a, b, aLength, bLength }: Strings, count: number): number {
  let bits = 0;
  for (let j = 0; j < count; j++) {
    let matches = true;
    for (let i = 0; i < aLength && i + j < count && matches; i++)
      matches = i + j < bLength && a[i] === b[i + j];
    if (matches) bits |= 1 << j;
  }
  return bits;
}

/** imm8[5:4]: bit 4 negates, under bit 5 only where the second string has an element. */
function polarize(control: number, bits: number, bLength: number, count: number): number {
  if ((control & 0x10) === 0) return bits;
  return bits ^ ((control & 0x20) === 0 ? (1 << count) - 1 : (1 << bLength) - 1);
}

export function compareStrings(page: DataView, control: number): number {
  const count = readElements(page, VECTOR_SCRATCH, control, A);
  readElements(page, VECTOR_SCRATCH + 16, control, B);
  const explicit = (control & STRING_EXPLICIT) !== 0;
  const aLength = explicit ? explicitLength(page, HELPER_ARG0, count) : implicitLength(A, count);
  const bLength = explicit ? explicitLength(page, HELPER_ARG1, count) : implicitLength(B, count);
  const bits = polarize(control, aggregate(control, { a: A, b: B, aLength, bLength }, count), bLength, count);
  const flags =
    (bits !== 0 ? CF : 0) |
    (bLength < count ? ZF : 0) |
    (aLength < count ? SF : 0) |
    ((bits & 1) !== 0 ? OF : 0);
  if ((control & STRING_MASK) !== 0) putMask(page, control, bits, count);
  else page.setInt32(HELPER_ARG0, indexOf(control, bits, count), true);
  page.setInt32(HELPER_ARG1, flags, true);
  return 0;
}

function indexOf(control: number, bits: number, count: number): number {
  if (bits === 0) return count;
  return (control & 0x40) !== 0 ? 31 - Math.clz32(bits) : 31 - Math.clz32(bits & -bits);
}

/** imm8[6]: a mask of whole elements, or the bits themselves. */
function putMask(page: DataView, control: number, bits: number, count: number): void {
  page.setBigUint64(VECTOR_SCRATCH, 0n, true);
  page.setBigUint64(VECTOR_SCRATCH + 8, 0n, true);
  if ((control & 0x40) === 0) {
    page.setUint16(VECTOR_SCRATCH, bits, true);
    return;
  }
  const bytes = 16 / count;
  for (let i = 0; i < 16; i++)
    if (((bits >> Math.floor(i / bytes)) & 1) !== 0) page.setUint8(VECTOR_SCRATCH + i, 0xff);
}

/** The reflected Castagnoli polynomial. */
const POLYNOMIAL = 0x82f63b78;

const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let i = 0; i < 8; i++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  return crc;
});

function accumulate(crc: number, data: number, bytes: number): number {
  for (let i = 0; i < bytes; i++) {
    crc = (crc >>> 8) ^ TABLE[(crc ^ data) & 0xff]!;
    data >>>= 8;
  }
  return crc;
}

export function crc32(page: DataView, crc: number, data: number, bytes: number): number {
  page.setInt32(HELPER_ARG0, accumulate(crc, data, bytes), true);
  return 0;
}

/** 64 bits: the upper half waits in HELPER_ARG0. */
export function crc32Quad(page: DataView, crc: number, low: number): number {
  page.setInt32(HELPER_ARG0, accumulate(accumulate(crc, low, 4), page.getInt32(HELPER_ARG0, true), 4), true);
  return 0;
}
