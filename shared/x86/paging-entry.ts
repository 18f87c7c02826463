// Entries of paging structures. Their accessed and dirty bits are set as a processor sets them: in the entry that it read and in no
// other, because other vCPUs and the guest's own code write the same entry. SDM vol. 3 §5.5, §5.8.

export const ENTRY_PRESENT = 1 << 0;
export const ENTRY_WRITABLE = 1 << 1;
export const ENTRY_USER = 1 << 2;
export const ENTRY_ACCESSED = 1 << 5;
export const ENTRY_DIRTY = 1 << 6;
/** Of a table's entry: it maps a large page. */
export const ENTRY_LARGE = 1 << 7;
export const ENTRY_GLOBAL = 1 << 8;

/**
 * Sets `bits` in the low half of the entry at `index` of the arena's Int32Array, whose low half was read as `seen`; false when it is
 * another by now. Without a write when they were set already.
 */
export function setEntryBits(i32: Int32Array, index: number, seen: number, bits: number): boolean {
  return (seen & bits) === bits || Atomics.compareExchange(i32, index, seen, seen | bits) === seen;
}
