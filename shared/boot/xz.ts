// The .xz container (The .xz File Format 1.1.0) as Linux kernels are packed in it: one stream, LZMA2, optionally
// behind the x86 branch filter. The output's length is known, so the output is the dictionary.
// Leaves out the integrity checks (a corrupt kernel fails as an ELF file), other filters and several streams.
import { badKernel, ImageReader } from './image-reader.js';
import { LzmaDecoder } from './lzma.js';

const XZ_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const STREAM_HEADER_BYTES = 12;
const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;
/** Bytes of the integrity check, by check id (§2.1.1.2). */
const CHECK_BYTES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];

export function isXz(bytes: Uint8Array): boolean {
  return XZ_MAGIC.every((byte, index) => bytes[index] === byte);
}

/** Unpacks a stream of exactly `outputBytes`. Throws `bad-kernel` when it is not one. */
export function decompressXz(stream: Uint8Array, outputBytes: number): Uint8Array {
  const reader = new ImageReader(stream);
  const checkBytes = CHECK_BYTES[reader.u8(7, 'xz stream header') & 0xf]!;
  const output = new Uint8Array(outputBytes);
  let at = STREAM_HEADER_BYTES;
  let written = 0;
  // A header size of 0 is the index: all blocks are done.
  while (reader.u8(at, 'xz block header') !== 0) {
    const headerBytes = (reader.u8(at, 'xz block header') + 1) * 4;
    const branchFilter = readFilters(reader.slice(at, headerBytes, 'xz block header'));
    const block = decompressLzma2(reader, at + headerBytes, output, written);
    if (branchFilter) undoX86Filter(output.subarray(written, block.written));
    written = block.written;
    at = block.at + ((4 - ((block.at - at) & 3)) & 3) + checkBytes;
  }
  if (written !== outputBytes) throw badKernel('its xz payload is shorter than it says');
  return output;
}

/** Whether the x86 filter is on; throws for any other chain. */
function readFilters(header: Uint8Array): boolean {
  const reader = new ImageReader(header);
  const flags = reader.u8(1, 'xz block flags');
  let at = 2;
  const readNumber = (): number => {
    let value = 0;
    for (let scale = 1; scale < 2 ** 49; scale *= 128) {
      const byte = reader.u8(at++, 'xz number');
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw badKernel('its xz payload is corrupt');
  };
  if ((flags & 0x40) !== 0) readNumber(); // compressed size
  if ((flags & 0x80) !== 0) readNumber(); // uncompressed size
  const ids: number[] = [];
  for (let filter = 0; filter <= (flags & 3); filter++) {
    ids.push(readNumber());
    const propertiesBytes = readNumber(); // the dictionary's size or a start offset, always 0 for kernels
    at += propertiesBytes;
  }
  const [first, second, third] = ids;
  if (first === FILTER_LZMA2 && second === undefined) return false;
  if (first === FILTER_X86 && second === FILTER_LZMA2 && third === undefined) return true;
  throw badKernel('its xz payload uses an unknown filter');
}

interface BlockEnd {
  readonly at: number;
  readonly written: number;
}

/** LZMA2: chunks of LZMA or of plain bytes, each with its lengths, up to a zero byte. */
function decompressLzma2(
  reader: ImageReader,
  start: number,
  output: Uint8Array,
  outputStart: number,
): BlockEnd {
  const lzma = new LzmaDecoder(output, outputStart);
  const big16 = (offset: number): number =>
    (reader.u8(offset, 'xz chunk') << 8) | reader.u8(offset + 1, 'xz chunk');
  let at = start;
  for (;;) {
    const control = reader.u8(at, 'xz chunk');
    if (control === 0) return { at: at + 1, written: lzma.position };
    if (control >= 0x80) {
      const unpackedBytes = ((control & 0x1f) << 16) + big16(at + 1) + 1;
      const packedBytes = big16(at + 3) + 1;
      at += 5;
      const reset = (control >> 5) & 3;
      if (reset >= 2) lzma.setProperties(reader.u8(at++, 'lzma properties'));
      else if (reset === 1) lzma.resetState();
      if (reset === 3) lzma.resetDictionary();
      lzma.decode(reader.slice(at, packedBytes, 'xz chunk'), unpackedBytes);
      at += packedBytes;
    } else {
      if (control > 2) throw badKernel('its xz payload is corrupt');
      const length = big16(at + 1) + 1;
      if (control === 1) lzma.resetDictionary();
      lzma.append(reader.slice(at + 3, length, 'xz chunk'));
      at += 3 + length;
    }
  }
}

/** Whether a byte can be the top byte of a near call's or jump's target: only those were made absolute. */
const isTopByte = (byte: number): boolean => byte === 0 || byte === 0xff;

/**
 * Turns the absolute targets of E8 and E9 back into relative ones. The history holds, for each of the last four
 * bytes, whether it was an opcode that was left alone: the filter skips targets that overlap such a one.
 */
function undoX86Filter(code: Uint8Array): void {
  const overlapAllowed = [true, true, true, false, true, false, false, false];
  const overlapBytes = [0, 1, 2, 2, 3, 3, 3, 3];
  let history = 0;
  let lastOpcode = -5;
  for (let at = 0; at + 5 <= code.length; at++) {
    if ((code[at]! & 0xfe) !== 0xe8) continue;
    const gap = at - lastOpcode;
    lastOpcode = at;
    if (gap > 5) history = 0;
    else for (let i = 0; i < gap; i++) history = (history & 0x77) << 1;
    const top = code[at + 4]!;
    const overlap = history >> 1;
    if (!isTopByte(top) || overlap >= 0x10 || !overlapAllowed[overlap & 7]) {
      history |= isTopByte(top) ? 0x11 : 1;
      continue;
    }
    const next = at + 5;
    let target = code[at + 1]! | (code[at + 2]! << 8) | (code[at + 3]! << 16) | (top << 24);
    let relative = (target - next) | 0;
    if (history !== 0) {
      const shift = overlapBytes[overlap]! * 8;
      // The byte that overlaps the earlier opcode must not look like a top byte, or it was encoded twice.
      while (isTopByte((relative >>> (24 - shift)) & 0xff)) {
        target = relative ^ (shift === 0 ? -1 : 2 ** (32 - shift) - 1);
        relative = (target - next) | 0;
      }
    }
    code[at + 1] = relative;
    code[at + 2] = relative >> 8;
    code[at + 3] = relative >> 16;
    code[at + 4] = (relative >> 24) & 1 ? 0xff : 0;
    at += 4;
    history = 0;
  }
}
