// Views of the chipset page for the registers that are served under its lock (PIT, RTC, ACPI, i8042): plain accesses,
// ordered by the lock. Offsets are those of page-layout.ts, in bytes.

/** `words`, `doubles` and `bytes` start at the page. */
export interface ChipsetPage {
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  readonly bytes: Uint8Array;
}

/** `offset`: where the page starts in the buffer; a multiple of 8. */
export function viewChipsetPage(buffer: ArrayBufferLike, offset: number, bytes: number): ChipsetPage {
  return {
    words: new Int32Array(buffer, offset, bytes >> 2),
    doubles: new Float64Array(buffer, offset, bytes >> 3),
    bytes: new Uint8Array(buffer, offset, bytes),
  };
}

export function getWord(page: ChipsetPage, offset: number): number {
  return page.words[offset >> 2]!;
}

export function setWord(page: ChipsetPage, offset: number, value: number): void {
  page.words[offset >> 2] = value;
}

export function getDouble(page: ChipsetPage, offset: number): number {
  return page.doubles[offset >> 3]!;
}

export function setDouble(page: ChipsetPage, offset: number, value: number): void {
  page.doubles[offset >> 3] = value;
}
