// Accessed and dirty bits of paging-structure entries, set as a processor sets them: by a locked OR, because other vCPUs
// and the guest's own code write the same entry. SDM vol. 3 §5.8.

/** Sets `bits` in the low half of the entry at `index` of the arena's Int32Array; no lock when they are set already. */
export function setEntryBits(i32: Int32Array, index: number, bits: number): void {
  if ((i32[index]! & bits) !== bits) Atomics.or(i32, index, bits);
}
