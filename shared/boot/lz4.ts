// LZ4 as Linux kernels are packed (the "legacy frame" of the LZ4 frame format 1.6.1: magic, then independent blocks
// of at most 8 MiB, each with its compressed length). Leaves out the modern frame, checksums and dictionaries.
import { badKernel, ImageReader } from './image-reader.js';

export const LZ4_LEGACY_MAGIC = 0x184c_2102;
const MIN_MATCH = 4;

/** Unpacks a legacy frame to exactly `outputBytes`. Throws `bad-kernel` when it does not. */
export function decompressLz4Legacy(frame: Uint8Array, outputBytes: number): Uint8Array {
  const reader = new ImageReader(frame);
  const output = new Uint8Array(outputBytes);
  let from = 4;
  let to = 0;
  while (to < outputBytes) {
    const blockBytes = reader.u32(from, 'lz4 block');
    to = decompressBlock(reader.slice(from + 4, blockBytes, 'lz4 block'), output, to);
    from += 4 + blockBytes;
  }
  return output;
}

/** Appends one block at `to`; returns the new end. */
function decompressBlock(block: Uint8Array, output: Uint8Array, start: number): number {
  let from = 0;
  let to = start;
  while (from < block.length) {
    const token = block[from++]!;
    let literals = token >> 4;
    if (literals === 15) {
      let more: number;
      do literals += more = next(block, from++);
      while (more === 255);
    }
    if (from + literals > block.length || to + literals > output.length) throw corrupt();
    if (literals < 16) for (const end = from + literals; from < end;) output[to++] = block[from++]!;
    else {
      output.set(block.subarray(from, from + literals), to);
      from += literals;
      to += literals;
    }
    if (from === block.length) break; // the last sequence has literals only
    const distance = next(block, from) | (next(block, from + 1) << 8);
    from += 2;
    let length = token & 15;
    if (length === 15) {
      let more: number;
      do length += more = next(block, from++);
      while (more === 255);
    }
    length += MIN_MATCH;
    if (distance === 0 || distance > to - start || to + length > output.length) throw corrupt();
    if (distance >= length && length > 32) output.copyWithin(to, to - distance, to - distance + length);
    else for (let i = 0; i < length; i++) output[to + i] = output[to + i - distance]!;
    to += length;
  }
  return to;
}

function next(block: Uint8Array, at: number): number {
  const byte = block[at];
  if (byte === undefined) throw corrupt();
  return byte;
}

function corrupt(): Error {
  return badKernel('its lz4 payload is corrupt');
}
