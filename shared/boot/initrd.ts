// Where an initial RAM disk goes: as high as the kernel allows below the MMIO hole, page-aligned, so that it never
// stands where the kernel unpacks itself or grows.
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { tooLittleMemory } from './image-reader.js';

const PAGE = 0x1000;

/** A placed RAM disk. */
export interface PlacedInitrd {
  readonly gpa: number;
  readonly bytes: number;
}

/** Copies `initrd` below `addrMax` (inclusive) and above `kernelEnd`. Throws `too-little-memory`. */
export function placeInitrd(
  memory: GuestMemory,
  initrd: Uint8Array | undefined,
  kernelEnd: number,
  addrMax: number,
): PlacedInitrd | undefined {
  if (initrd === undefined || initrd.length === 0) return undefined;
  const top = Math.min(memory.layout.lowBytes, addrMax + 1);
  const gpa = Math.floor((top - initrd.length) / PAGE) * PAGE;
  if (gpa < kernelEnd) throw tooLittleMemory(kernelEnd + initrd.length + PAGE, 'this kernel with its initrd');
  memory.copyIn(gpa, initrd);
  return { gpa, bytes: initrd.length };
}
