// The chipset's saved state: the chipset page as it stands, after the host time of the save. Times in it are host ns, so a
// restore moves them by the difference of the two hosts' clocks.

import { assert } from '#shared/base/error.js';
import {
  type ChipsetPage,
  getDouble,
  setDouble,
  setWord,
  viewChipsetPage,
} from '#shared/chipset/chipset-page.js';
import * as C from '#shared/chipset/page-layout.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';

const VERSION = 1;
const HEADER_BYTES = 16;

/** Version (f64), host ns of the save (f64), the page. */
export function saveChipsetPage(fabric: InterruptFabric, nowNs: number): Uint8Array {
  const state = new Uint8Array(HEADER_BYTES + C.CHIPSET_PAGE_BYTES);
  const header = new DataView(state.buffer);
  header.setFloat64(0, VERSION, true);
  header.setFloat64(8, nowNs, true);
  state.set(pageOf(fabric).bytes, HEADER_BYTES);
  return state;
}

export function restoreChipsetPage(fabric: InterruptFabric, state: Uint8Array, nowNs: number): void {
  const header = new DataView(state.buffer, state.byteOffset, state.byteLength);
  assert(state.byteLength === HEADER_BYTES + C.CHIPSET_PAGE_BYTES, 'chipset state has its length');
  assert(header.getFloat64(0, true) === VERSION, 'chipset state has a known version');
  const page = pageOf(fabric);
  page.bytes.set(state.subarray(HEADER_BYTES));
  setWord(page, C.CHIPSET_LOCK, 0);
  const shiftNs = nowNs - header.getFloat64(8, true);
  for (const offset of [C.CHIPSET_BOOT_NS, C.PIT_NEXT_EDGE]) shift(page, offset, shiftNs);
  for (let channel = 0; channel < 3; channel++)
    shift(page, C.PIT_CHANNELS + channel * C.PIT_CHANNEL_BYTES, shiftNs);
}

function shift(page: ChipsetPage, offset: number, ns: number): void {
  setDouble(page, offset, getDouble(page, offset) + ns);
}

function pageOf(fabric: InterruptFabric): ChipsetPage {
  return viewChipsetPage(fabric.words.buffer, fabric.chipset * 4, C.CHIPSET_PAGE_BYTES);
}
