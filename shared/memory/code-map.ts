// Which pages of guest RAM hold code that some vCPU has decoded, and who must hear of a write to them. Shared by all
// vCPUs and by the devices, whose DMA may hit decoded code. An entry is 32 bytes per page of RAM:
//   i32 codeOwners   bit v: vCPU v (mod 32) has blocks from this page
//   i32 writeOwners  bit v: vCPU v may have a TLB entry that writes this page without asking
//   i32 staleFor     bit v: vCPU v must drop its blocks of this page
//   i32 ×2 granules  bit g: the 64-byte granule g was decoded
// Changes are rare and made under one spin lock at the map's end.

import { acquireLock, releaseLock } from '#shared/memory/lock-word.js';
import type { Region } from '#shared/base/region.js';
import { CPU_STATE_BYTES, PENDING, PENDING_CODE_WRITE } from '#shared/x86/cpu-state.js';

export const CODE_MAP_ENTRY_BYTES = 32;
const ENTRY_WORDS = 8;
const CODE_OWNERS = 0;
const WRITE_OWNERS = 1;
/** For generated code: byte offsets in an entry. */
export const CODE_MAP_CODE_OWNERS = CODE_OWNERS * 4;
export const CODE_MAP_WRITE_OWNERS = WRITE_OWNERS * 4;
const STALE_FOR = 2;
const GRANULES = 3;

/** Bytes of a map for `ramBytes` of RAM. */
export const codeMapBytes = (ramBytes: number): number => (ramBytes / 4096) * CODE_MAP_ENTRY_BYTES + 64;

/** One thread's view of the map. Pages are counted from RAM's start in the arena, so that high RAM follows low RAM. */
export class CodeMap {
  readonly #i32: Int32Array;
  readonly #base: number;
  readonly #lock: number;
  readonly #ramOffset: number;
  readonly #states: readonly Region[];

  constructor(i32: Int32Array, map: Region, ramOffset: number, vcpuStates: readonly Region[]) {
    this.#i32 = i32;
    this.#base = map.offset >> 2;
    this.#lock = (map.offset + map.bytes - 64) >> 2;
    this.#ramOffset = ramOffset;
    this.#states = vcpuStates;
    if (vcpuStates.some((s) => s.bytes < CPU_STATE_BYTES)) throw new Error('vCPU state page too small');
  }

  /** Arena offset of the first entry; generated code does {@link claimWrite} by itself. */
  get offset(): number {
    return this.#base << 2;
  }

  #entry(arenaAddress: number): number {
    return this.#base + Math.floor((arenaAddress - this.#ramOffset) / 4096) * ENTRY_WORDS;
  }

  #acquire(): void {
    acquireLock(this.#i32, this.#lock);
  }

  #release(): void {
    releaseLock(this.#i32, this.#lock);
  }

  /** Says that `vcpu` decodes [arenaAddress, +bytes) of one page; gives the vCPUs (mask) that may write the page unseen. */
  claim(arenaAddress: number, bytes: number, vcpu: number): number {
    const i32 = this.#i32;
    const entry = this.#entry(arenaAddress);
    const start = arenaAddress & 4095;
    const first = start >> 6;
    const last = (start + bytes - 1) >> 6;
    this.#acquire();
    i32[entry + CODE_OWNERS]! |= 1 << (vcpu & 31);
    for (let g = first; g <= last; g++) i32[entry + GRANULES + (g >> 5)]! |= 1 << (g & 31);
    const writers = Atomics.exchange(i32, entry + WRITE_OWNERS, 0);
    this.#release();
    return writers;
  }

  /** Whether some vCPU holds code of this page. */
  hasCode(arenaAddress: number): boolean {
    return Atomics.load(this.#i32, this.#entry(arenaAddress) + CODE_OWNERS) !== 0;
  }

  /**
   * `vcpu` wants a TLB entry that writes this page unseen: allowed (true) unless it holds code. The order — announce,
   * then look — pairs with claim's. What was announced in vain is taken back, so that the next claim asks for no flush.
   */
  claimWrite(arenaAddress: number, vcpu: number): boolean {
    const entry = this.#entry(arenaAddress);
    const bit = 1 << (vcpu & 31);
    const i32 = this.#i32;
    // Announced before and not asked since: it still holds.
    if ((Atomics.load(i32, entry + WRITE_OWNERS) & bit) !== 0)
      return Atomics.load(i32, entry + CODE_OWNERS) === 0;
    Atomics.or(i32, entry + WRITE_OWNERS, bit);
    if (Atomics.load(i32, entry + CODE_OWNERS) === 0) return true;
    Atomics.and(i32, entry + WRITE_OWNERS, ~bit);
    return false;
  }

  /**
   * A write to [arenaAddress, +bytes) happened: tells every vCPU that decoded those bytes. True when `vcpu` itself
   * (−1 for a device) must drop blocks now.
   */
  noteWrite(arenaAddress: number, bytes: number, vcpu: number): boolean {
    let self = false;
    const end = arenaAddress + bytes;
    for (let at = arenaAddress; at < end; at = (Math.floor(at / 4096) + 1) * 4096) {
      const pageBytes = Math.min(end - at, 4096 - (at % 4096));
      if (this.#notePage(at, pageBytes, vcpu)) self = true;
    }
    return self;
  }

  #notePage(arenaAddress: number, bytes: number, vcpu: number): boolean {
    const i32 = this.#i32;
    const entry = this.#entry(arenaAddress);
    const owners = Atomics.load(i32, entry + CODE_OWNERS);
    if (owners === 0) return false;
    const start = arenaAddress & 4095;
    let hit = false;
    for (let g = start >> 6; g <= (start + bytes - 1) >> 6; g++)
      if ((Atomics.load(i32, entry + GRANULES + (g >> 5)) & (1 << (g & 31))) !== 0) hit = true;
    if (!hit) return false;
    Atomics.or(i32, entry + STALE_FOR, owners);
    for (let v = 0; v < this.#states.length; v++) {
      if ((owners & (1 << (v & 31))) === 0 || v === vcpu) continue;
      const pending = (this.#states[v]!.offset + PENDING) >> 2;
      Atomics.or(i32, pending, PENDING_CODE_WRITE);
      Atomics.notify(i32, pending);
    }
    return vcpu >= 0 && (owners & (1 << (vcpu & 31))) !== 0;
  }

  /** Whether `vcpu` must drop its blocks of the page. */
  isStale(arenaAddress: number, vcpu: number): boolean {
    return (Atomics.load(this.#i32, this.#entry(arenaAddress) + STALE_FOR) & (1 << (vcpu & 31))) !== 0;
  }

  /** `vcpu` holds no code at all, as its thread is a new one. Above 32 vCPUs a bit has several owners, and stays. */
  disclaimAll(vcpu: number): void {
    if (this.#states.length > 32) return;
    const bit = 1 << vcpu;
    for (let entry = this.#base; entry + ENTRY_WORDS <= this.#lock; entry += ENTRY_WORDS) {
      if ((this.#i32[entry + CODE_OWNERS]! & bit) === 0) continue;
      this.disclaim(this.#ramOffset + ((entry - this.#base) / ENTRY_WORDS) * 4096, vcpu);
    }
  }

  /** `vcpu` has dropped all its blocks of the page. */
  disclaim(arenaAddress: number, vcpu: number): void {
    const i32 = this.#i32;
    const entry = this.#entry(arenaAddress);
    const bit = 1 << (vcpu & 31);
    this.#acquire();
    i32[entry + STALE_FOR]! &= ~bit;
    i32[entry + CODE_OWNERS]! &= ~bit;
    if (i32[entry + CODE_OWNERS] === 0) {
      i32[entry + GRANULES] = 0;
      i32[entry + GRANULES + 1] = 0;
    }
    this.#release();
  }
}
