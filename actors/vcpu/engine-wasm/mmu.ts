// The soft MMU's slow side: what generated code calls when its inlined TLB lookup misses, and what TypeScript helpers
// use to reach guest memory. Fills the TLB, splits accesses that cross pages, goes to the bus for MMIO, tells writes
// to decoded code, and holds misaligned LOCKs exclusive.

import { acquireLock, releaseLock } from '#shared/memory/lock-word.js';
import type { Region } from '#shared/base/region.js';
import type { CodeMap } from '#shared/memory/code-map.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { RECORD_SEGMENT, SLOW_STACK_SEGMENT } from '#shared/translate/op-record.js';
import {
  CPL,
  CR2,
  HELPER_ARG0,
  RFLAGS_SYSTEM,
  RSP,
  SLOW_ADDRESS,
  SLOW_DATA,
  SS,
} from '#shared/x86/cpu-state.js';
import { GuestFault } from './cpu-context.js';
import type { DebugRegisters } from './debug-registers.js';
import { ACCESS_SMAP_OFF, ACCESS_USER, ACCESS_WRITE, PageWalk } from './page-walk.js';
import { SET_SUPERVISOR, SET_SUPERVISOR_SMAP_OFF, SET_USER, type Tlb } from './tlb.js';

const RFLAGS_AC = 1 << 18;

/** Where guest-physical addresses outside RAM go. Data travel in `low` and `high`. */
export interface PhysicalBus {
  low: number;
  high: number;
  read(gpa: number, bytes: number): void;
  write(gpa: number, bytes: number, low: number, high: number): void;
}

export interface MmuParts {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly view: DataView;
  readonly state: Region;
  readonly ram: GuestMemory;
  readonly tlb: Tlb;
  readonly codeMap: CodeMap;
  readonly bus: PhysicalBus;
  readonly vcpu: number;
  /** i32 index of the word that misaligned LOCKs of all vCPUs contend for. */
  readonly lockWord: number;
  /** Called when this vCPU wrote code that it has decoded itself. */
  onOwnCodeWrite(arenaAddress: number): void;
}

export class Mmu {
  readonly walk: PageWalk;
  /** Sees the data accesses while a breakpoint is armed. */
  debug: DebugRegisters | undefined;
  readonly #p: MmuParts;
  readonly #cpu: number;
  readonly #base: number;
  #bounced = false;
  #locked = false;
  /** Statistics. */
  mmioAccesses = 0;

  constructor(parts: MmuParts) {
    this.#p = parts;
    this.#base = parts.state.offset;
    this.#cpu = parts.state.offset >>> 2;
    this.walk = new PageWalk(parts.i32, this.#cpu, (gpa, bytes) => parts.ram.arenaOffset(gpa, bytes));
  }

  /** The access rights of an instruction's own data accesses now. */
  dataAccess(): number {
    if (this.#p.i32[this.#cpu + CPL / 4] === 3) return ACCESS_USER;
    return (this.#p.i32[this.#cpu + RFLAGS_SYSTEM / 4]! & RFLAGS_AC) !== 0 ? ACCESS_SMAP_OFF : 0;
  }

  /** Translates or throws a GuestFault; CR2 is set. */
  translate(low: number, high: number, access: number): number {
    const gpa = this.walk.translate(low, high, access);
    if (gpa >= 0) return gpa;
    this.#p.i32[this.#cpu + CR2 / 4] = low;
    this.#p.i32[this.#cpu + CR2 / 4 + 1] = high;
    throw new GuestFault(14, this.walk.errorCode);
  }

  /** `record`: the access's, {@link STACK_ACCESS} or {@link OTHER_ACCESS} for a region's, 0 for none. */
  #checkCanonical(high: number, record: number): void {
    const sign = high >> 15;
    if (sign === 0 || sign === -1) return;
    const named = record === STACK_ACCESS || (record > 0 && this.#p.u8[record + RECORD_SEGMENT] === SS);
    const stack = record !== 0 && (named || this.#isStackTop());
    throw new GuestFault(stack ? 12 : 13, 0);
  }

  /** Whether the slow access is at RSP or just below it: PUSH, POP and CALL with a memory operand of another segment. */
  #isStackTop(): boolean {
    const { i32 } = this.#p;
    const distance = (i32[this.#cpu + RSP / 4]! - i32[this.#cpu + SLOW_ADDRESS / 4]!) | 0;
    const near = distance === 0 || distance === 2 || distance === 8;
    return near && Math.abs(i32[this.#cpu + RSP / 4 + 1]! - i32[this.#cpu + SLOW_ADDRESS / 4 + 1]!) <= 1;
  }

  /** Translates one page's worth for generated code and enters it into the TLB; gives the arena address or −1−... for MMIO (see {@link #gpa}). */
  #resolve(low: number, high: number, access: number): number {
    const gpa = this.translate(low, high, access);
    this.#gpa = gpa;
    const offset = this.#p.ram.arenaOffset(gpa, 1);
    if (offset < 0) return -1;
    const page = offset - (low & 4095);
    const writable = this.walk.writable && this.#p.codeMap.claimWrite(page, this.#p.vcpu);
    if (this.debug?.armed !== true)
      this.#p.tlb.fill(setOf(access), low, high, page, writable, this.walk.global, this.walk.pageShift);
    return offset;
  }

  /** As {@link #resolve}, but looks into the TLB first. */
  #locate(low: number, high: number, access: number): number {
    const known = this.#p.tlb.find(setOf(access), low, high, (access & ACCESS_WRITE) !== 0);
    return known >= 0 ? known : this.#resolve(low, high, access);
  }

  #gpa = 0;

  /** Throws what an access to this byte's page would. */
  probe(low: number, high: number, access: number): void {
    this.#checkCanonical(high, 0);
    this.translate(low, high, access);
  }

  /** Arena address when the rest of the page is plain memory (for a write: that nobody decoded code from), else −1. */
  directAddress(low: number, high: number, access: number): number {
    if (this.debug?.armed === true) return -1;
    this.#checkCanonical(high, 0);
    const known = this.#p.tlb.find(setOf(access), low, high, (access & ACCESS_WRITE) !== 0);
    if (known >= 0) return known;
    const offset = this.#resolve(low, high, access);
    if (offset < 0 || (access & ACCESS_WRITE) === 0) return offset;
    return this.#p.codeMap.hasCode(offset - (low & 4095)) ? -1 : offset;
  }

  /** Reads `bytes` (≤ 16) at a linear address into the state page at `target`; `record` tells #SS from #GP, 0 when there is none. */
  readInto(low: number, high: number, bytes: number, access: number, target: number, record = 0): void {
    this.#checkCanonical(high, record);
    if (this.debug?.armed === true) this.debug.noteAccess(low, high, bytes, false);
    const room = 4096 - (low & 4095);
    if (bytes <= room) {
      this.#readPart(this.#locate(low, high, access), bytes, target);
      return;
    }
    const nextLow = (low + room) | 0;
    const nextHigh = nextLow === 0 ? high + 1 : high;
    this.#checkCanonical(nextHigh, record);
    const first = this.#resolve(low, high, access);
    const firstGpa = this.#gpa;
    const second = this.#resolve(nextLow, nextHigh, access);
    const secondGpa = this.#gpa;
    this.#gpa = firstGpa;
    this.#readPart(first, room, target);
    this.#gpa = secondGpa;
    this.#readPart(second, bytes - room, target + room);
  }

  #readPart(offset: number, bytes: number, target: number): void {
    const { u8, view, bus } = this.#p;
    if (offset >= 0) {
      // A naturally sized read stays one read, so that another vCPU's store is seen whole.
      if (bytes === 8) view.setBigUint64(target, view.getBigUint64(offset, true), true);
      else if (bytes === 4) view.setUint32(target, view.getUint32(offset, true), true);
      else if (bytes === 2) view.setUint16(target, view.getUint16(offset, true), true);
      else u8.copyWithin(target, offset, offset + bytes);
      return;
    }
    this.mmioAccesses++;
    for (let done = 0; done < bytes; done += 8) {
      const part = Math.min(8, bytes - done);
      bus.read(this.#gpa + done, part);
      for (let i = 0; i < part; i++)
        u8[target + done + i] = i < 4 ? bus.low >>> (i * 8) : bus.high >>> ((i - 4) * 8);
    }
  }

  /** Writes `bytes` from the state page at `source` to a linear address. Both pages are checked before a byte is written. */
  writeFrom(low: number, high: number, bytes: number, access: number, source: number, record = 0): void {
    this.#checkCanonical(high, record);
    if (this.debug?.armed === true) this.debug.noteAccess(low, high, bytes, true);
    const room = 4096 - (low & 4095);
    if (bytes <= room) {
      this.#writePart(this.#locate(low, high, access | ACCESS_WRITE), bytes, source);
      return;
    }
    const nextLow = (low + room) | 0;
    const nextHigh = nextLow === 0 ? high + 1 : high;
    this.#checkCanonical(nextHigh, record);
    const first = this.#resolve(low, high, access | ACCESS_WRITE);
    const firstGpa = this.#gpa;
    const second = this.#resolve(nextLow, nextHigh, access | ACCESS_WRITE);
    const secondGpa = this.#gpa;
    this.#gpa = firstGpa;
    this.#writePart(first, room, source);
    this.#gpa = secondGpa;
    this.#writePart(second, bytes - room, source + room);
  }

  #writePart(offset: number, bytes: number, source: number): void {
    const { u8, view, bus } = this.#p;
    if (offset >= 0) {
      if (bytes === 8) view.setBigUint64(offset, view.getBigUint64(source, true), true);
      else if (bytes === 4) view.setUint32(offset, view.getUint32(source, true), true);
      else if (bytes === 2) view.setUint16(offset, view.getUint16(source, true), true);
      else u8.copyWithin(offset, source, source + bytes);
      this.noteWrite(offset, bytes);
      return;
    }
    this.mmioAccesses++;
    for (let done = 0; done < bytes; done += 8) {
      const part = Math.min(8, bytes - done);
      let low = 0;
      let high = 0;
      for (let i = 0; i < part; i++) {
        if (i < 4) low |= u8[source + done + i]! << (i * 8);
        else high |= u8[source + done + i]! << ((i - 4) * 8);
      }
      bus.write(this.#gpa + done, part, low, high);
    }
  }

  /** After a write to RAM by any way but the TLB's: drops what was decoded from there. */
  noteWrite(arenaAddress: number, bytes: number): void {
    if (this.#p.codeMap.noteWrite(arenaAddress, bytes, this.#p.vcpu)) this.#p.onOwnCodeWrite(arenaAddress);
  }

  // The imports of generated code (shared/translate/memory-builder.ts).

  slowRead(record: number, argument: number): void {
    const bytes = argument & 0xff;
    const low = this.#p.i32[this.#cpu + SLOW_ADDRESS / 4]!;
    const high = this.#p.i32[this.#cpu + SLOW_ADDRESS / 4 + 1]!;
    this.readInto(low, high, bytes, this.dataAccess(), this.#base + SLOW_DATA, accessOf(record, argument));
  }

  slowWrite(record: number, argument: number): void {
    const bytes = argument & 0xff;
    const low = this.#p.i32[this.#cpu + SLOW_ADDRESS / 4]!;
    const high = this.#p.i32[this.#cpu + SLOW_ADDRESS / 4 + 1]!;
    this.writeFrom(low, high, bytes, this.dataAccess(), this.#base + SLOW_DATA, accessOf(record, argument));
  }

  slowModifyBegin(record: number, argument: number): void {
    const bytes = argument & 0xff;
    const lock = (argument & 0x100) !== 0;
    const { i32 } = this.#p;
    const low = i32[this.#cpu + SLOW_ADDRESS / 4]!;
    const high = i32[this.#cpu + SLOW_ADDRESS / 4 + 1]!;
    const access = this.dataAccess();
    this.#checkCanonical(high, accessOf(record, argument));
    if (this.debug?.armed === true) this.debug.noteAccess(low, high, bytes, true);
    const room = 4096 - (low & 4095);
    const crosses = bytes > room;
    const nextLow = (low + room) | 0;
    const nextHigh = nextLow === 0 ? high + 1 : high;
    if (crosses) this.#checkCanonical(nextHigh, accessOf(record, argument));
    const offset = this.#resolve(low, high, access | ACCESS_WRITE);
    if (crosses) this.#resolve(nextLow, nextHigh, access | ACCESS_WRITE);
    if (!crosses && offset >= 0 && (!lock || (low & (bytes - 1)) === 0)) {
      this.#bounced = false;
      i32[this.#cpu + HELPER_ARG0 / 4] = offset;
      return;
    }
    if (lock) this.acquire();
    this.#bounced = true;
    this.readInto(low, high, bytes, access, this.#base + SLOW_DATA, accessOf(record, argument));
    i32[this.#cpu + HELPER_ARG0 / 4] = this.#base + SLOW_DATA;
  }

  slowModifyEnd(record: number, argument: number): void {
    const bytes = argument & 0xff;
    const { i32 } = this.#p;
    if (!this.#bounced) {
      this.noteWrite(i32[this.#cpu + HELPER_ARG0 / 4]! >>> 0, bytes);
      return;
    }
    const low = i32[this.#cpu + SLOW_ADDRESS / 4]!;
    const high = i32[this.#cpu + SLOW_ADDRESS / 4 + 1]!;
    this.writeFrom(low, high, bytes, this.dataAccess(), this.#base + SLOW_DATA, accessOf(record, argument));
    if (this.#locked) this.release();
  }

  /** Misaligned LOCKs exclude one another; an aligned access to the same bytes may still come between. */
  acquire(): void {
    const { i32, lockWord } = this.#p;
    acquireLock(i32, lockWord);
    this.#locked = true;
  }

  release(): void {
    this.#locked = false;
    releaseLock(this.#p.i32, this.#p.lockWord);
  }

  /** Releases what an interrupted instruction held; called when a fault leaves it. */
  abandon(): void {
    if (this.#locked) this.release();
  }
}

/** Regions have no records of their own: their accesses say by a bit of the argument what a record would. */
const STACK_ACCESS = -1;
const OTHER_ACCESS = -2;

function accessOf(record: number, argument: number): number {
  if (record !== 0) return record;
  return (argument & SLOW_STACK_SEGMENT) !== 0 ? STACK_ACCESS : OTHER_ACCESS;
}

/** The TLB set that an access goes through. */
function setOf(access: number): number {
  if ((access & ACCESS_USER) !== 0) return SET_USER;
  return (access & ACCESS_SMAP_OFF) !== 0 ? SET_SUPERVISOR_SMAP_OFF : SET_SUPERVISOR;
}
