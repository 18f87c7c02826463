// Takes the unpacked kernel out of a bzImage on the host. The guest's own decompressor costs an interpreted CPU
// seconds; here it costs a fraction of one. Formats: gzip, lz4 (Debian 6.1), zstd (Debian 6.12), xz. The payload
// ends with its unpacked length (Linux, scripts/Makefile.lib size_append; gzip's ISIZE is the same field).
// Relocations that follow the ELF file are not applied: none is needed at the kernel's link address.
import * as zlib from 'node:zlib';
import { decompress as decompressZstdInScript } from 'fzstd';
import { TroupeError } from '#shared/base/error.js';
import type { BzImage } from './bzimage.js';
import { isElf } from './elf.js';
import { badKernel, ImageReader } from './image-reader.js';
import { decompressLz4Legacy, LZ4_LEGACY_MAGIC } from './lz4.js';
import { decompressXz, isXz } from './xz.js';

const GZIP_MAGIC = 0x8b1f;
const ZSTD_MAGIC = 0xfd2f_b528;
const MAX_UNPACKED = 512 * 1024 * 1024;

/**
 * The vmlinux ELF file inside, or undefined when its compression is not one of ours: then boot the bzImage itself.
 * Throws `bad-kernel` when the payload is corrupt. Takes 0.1–1 s of CPU time: keep the result.
 */
export function extractVmlinux(kernel: BzImage): Uint8Array | undefined {
  const { payload } = kernel;
  const reader = new ImageReader(payload);
  if (payload.length < 16) return undefined;
  const unpackedBytes = reader.u32(payload.length - 4, 'payload length');
  const magic = reader.u32(0, 'payload magic');
  if (isElf(payload)) return payload;
  let unpack: (() => Uint8Array) | undefined;
  if ((magic & 0xffff) === GZIP_MAGIC) {
    unpack = () => plainArray(zlib.gunzipSync(payload, { maxOutputLength: unpackedBytes }));
  } else if (magic === LZ4_LEGACY_MAGIC) unpack = () => decompressLz4Legacy(payload, unpackedBytes);
  else if (magic === ZSTD_MAGIC) unpack = () => decompressZstd(payload.subarray(0, -4), unpackedBytes);
  else if (isXz(payload)) unpack = () => decompressXz(payload, unpackedBytes);
  if (unpack === undefined) return undefined;
  if (unpackedBytes > MAX_UNPACKED) throw badKernel(`its payload claims to unpack to ${unpackedBytes} bytes`);
  const vmlinux = reportCorruption(unpack);
  if (vmlinux.length !== unpackedBytes || !isElf(vmlinux))
    throw badKernel('its payload does not unpack to an ELF file');
  return vmlinux;
}

type ZstdDecompress = (input: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;

/**
 * Node 22.15 and later bring zstd; before that a script does it, more slowly, and does not notice a payload that is
 * shorter than it says: the rest stays zero.
 */
function decompressZstd(frame: Uint8Array, unpackedBytes: number): Uint8Array {
  const native = (zlib as { zstdDecompressSync?: ZstdDecompress }).zstdDecompressSync;
  if (native !== undefined) return plainArray(native(frame, { maxOutputLength: unpackedBytes }));
  return decompressZstdInScript(frame, new Uint8Array(unpackedBytes));
}

/** A Buffer is a Uint8Array of another class: one kind goes out. */
function plainArray(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function reportCorruption(unpack: () => Uint8Array): Uint8Array {
  try {
    return unpack();
  } catch (error) {
    if (error instanceof TroupeError) throw error;
    throw badKernel(`its payload is corrupt (${error instanceof Error ? error.message : String(error)})`);
  }
}
