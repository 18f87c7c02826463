// The memory map that a PC's firmware reports (BIOS INT 15h AX=E820h; ACPI 6.5 §15.1), as boot_params, PVH and
// multiboot carry it. Reserved: the EBDA, the VGA hole's upper part with the ACPI tables, and ECAM, because
// Linux uses MCFG only where the memory map or the DSDT reserves it.
import { ACPI_BASE, ECAM_BASE, ECAM_BYTES } from '#shared/acpi/platform.js';
import { HIGH_RAM_START, type GuestMemoryLayout } from '#shared/memory/guest-memory.js';
import { CONVENTIONAL_END, ONE_MIB } from './low-memory.js';

export const E820_RAM = 1;
export const E820_RESERVED = 2;

/** One range; `base` and `bytes` are exact (below 2^53). */
export interface E820Entry {
  readonly base: number;
  readonly bytes: number;
  readonly type: number;
}

/** The map of a machine with this RAM, sorted, without overlaps. RAM below 1 MiB is assumed to exist. */
export function buildE820(layout: Pick<GuestMemoryLayout, 'lowBytes' | 'highBytes'>): E820Entry[] {
  const map: E820Entry[] = [
    { base: 0, bytes: CONVENTIONAL_END, type: E820_RAM },
    { base: CONVENTIONAL_END, bytes: 0xa_0000 - CONVENTIONAL_END, type: E820_RESERVED },
    { base: ACPI_BASE, bytes: ONE_MIB - ACPI_BASE, type: E820_RESERVED },
  ];
  if (layout.lowBytes > ONE_MIB)
    map.push({ base: ONE_MIB, bytes: layout.lowBytes - ONE_MIB, type: E820_RAM });
  map.push({ base: ECAM_BASE, bytes: ECAM_BYTES, type: E820_RESERVED });
  if (layout.highBytes > 0) map.push({ base: HIGH_RAM_START, bytes: layout.highBytes, type: E820_RAM });
  return map;
}
