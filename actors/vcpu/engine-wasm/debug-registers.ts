// Breakpoints of DR0–DR7. Intel SDM vol. 3 §18.2. While one is enabled the run loop goes instruction by instruction and
// the MMU keeps out of the TLB, so that every data access comes by here. Leaves out I/O breakpoints (CR4.DE, R/W = 10)
// and, with them, what that encoding means without CR4.DE (nothing).

import * as S from '#shared/x86/cpu-state.js';

const DR7 = S.DR + 7 * 8;
/** L0 G0 … L3 G3. */
const ENABLES = 0xff;
const EXECUTE = 0;
const WRITE = 1;
const READ_OR_WRITE = 3;
/** By the two LEN bits. */
const LENGTHS = [1, 2, 8, 4] as const;

export class DebugRegisters {
  /** Some breakpoint is enabled. Kept by {@link refresh}. */
  armed = false;
  readonly #i32: Int32Array;
  #hits = 0;

  /** `i32` views the state page. */
  constructor(i32: Int32Array) {
    this.#i32 = i32;
  }

  /** After a write of DR7. True when `armed` changed. */
  refresh(): boolean {
    const armed = (this.#i32[DR7 / 4]! & ENABLES) !== 0;
    if (armed === this.armed) return false;
    this.armed = armed;
    this.#hits = 0;
    return true;
  }

  /** DR6's B bits of the instruction breakpoints at a linear address. */
  executionHits(low: number, high: number): number {
    let hits = 0;
    for (let i = 0; i < 4; i++) {
      if (this.#kindOf(i) === EXECUTE && this.#distance(i, low, high) === 0) hits |= 1 << i;
    }
    return hits;
  }

  /** A data access of `bytes` at a linear address, to be reported after its instruction. */
  noteAccess(low: number, high: number, bytes: number, write: boolean): void {
    for (let i = 0; i < 4; i++) {
      const kind = this.#kindOf(i);
      if (kind !== READ_OR_WRITE && !(write && kind === WRITE)) continue;
      const length = LENGTHS[(this.#i32[DR7 / 4]! >>> (18 + i * 4)) & 3]!;
      // The breakpoint's range begins at its address rounded down to its length.
      const distance = this.#distance(i, low, high, length);
      if (distance > -bytes && distance < length) this.#hits |= 1 << i;
    }
  }

  /** DR6's B bits of the data breakpoints that were hit since the last call. */
  takeHits(): number {
    const hits = this.#hits;
    this.#hits = 0;
    return hits;
  }

  /** R/W of an enabled breakpoint, −1 of another. */
  #kindOf(i: number): number {
    const dr7 = this.#i32[DR7 / 4]!;
    return ((dr7 >>> (i * 2)) & 3) === 0 ? -1 : (dr7 >>> (16 + i * 4)) & 3;
  }

  /** Address minus breakpoint, NaN-free and exact when they are near; far apart otherwise. */
  #distance(i: number, low: number, high: number, length = 1): number {
    const at = (S.DR + i * 8) / 4;
    const start = (this.#i32[at]! & -length) >>> 0;
    return (high - this.#i32[at + 1]!) * 0x1_0000_0000 + ((low >>> 0) - start);
  }
}
