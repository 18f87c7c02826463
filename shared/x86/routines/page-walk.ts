// What a miss of the TLB does in the usual cases: walks the tables of 4-level paging, sets accessed and dirty bits, claims the page
// for writing and enters it; or finds that the access faults. Intel SDM vol. 3 §4.5–4.8. The whole of it is TypeScript
// (actors/vcpu/engine-wasm/page-walk.ts, mmu.ts), which does what is left out here: other paging modes, armed breakpoints, addresses
// that are not canonical, reserved bits, tables outside RAM or not accessed before, MMIO, writes to pages that hold code.
import { CR0_WP, CR4_PGE, CR4_SMAP } from '#shared/x86/control-bits.js';
import { EFER_NXE } from '#shared/x86/msr-index.js';
import {
  ENTRY_PRESENT,
  ENTRY_WRITABLE,
  ENTRY_USER,
  ENTRY_ACCESSED,
  ENTRY_DIRTY,
  ENTRY_LARGE,
  ENTRY_GLOBAL,
} from '#shared/x86/paging-entry.js';
import type { Value } from '#shared/translate/emitter.js';
import type { Routine, RoutineEmitter, RoutineTable } from '#shared/translate/routine.js';
import * as T from '#shared/translate/op-record.js';
import {
  CODE_MAP_CODE_OWNERS,
  CODE_MAP_ENTRY_BYTES,
  CODE_MAP_WRITE_OWNERS,
} from '#shared/memory/code-map.js';
import * as cpu from '#shared/x86/cpu-state.js';

/** What {@link fillTlb} gives when it does not give an arena address: the slow way decides; #PF is noted. */
export const WALK_SLOW = 0;
export const WALK_FAULTS = 1;

/** Bits of its access: those of the error code, and what the engine's page walk knows besides. */
export const WALK_WRITE = 2;
export const WALK_USER = 4;
/** Supervisor access under RFLAGS.AC: SMAP does not apply. */
export const WALK_SMAP_OFF = 8;
/** A fault is left to the slow way. */
export const WALK_QUIET = 16;

const PAGE_FAULT = 14;
const ERROR_PRESENT = 1;
const ADDRESS = 0xff_ffff_f000n;
/** Bits 40–51: MAXPHYADDR is 40. */
const RESERVED = 0xfff00_0000_0000n;
const NX = 1n << 63n;
/** Of a large page's address, bit 12 is PAT. */
const LARGE_LOW = ~0x1fffn;
const ROOT_SHIFT = 39;
const HIGH_RAM_START = 1n << 32n;

/** i32, not zero where `bits` of an i32 are set. */
const has = (e: RoutineEmitter, word: Value, bits: number): Value => e.and(word, e.i32(bits));
/** i32: a bit of an entry is set. */
const entryHas = (e: RoutineEmitter, entry: Value, bit: number): Value =>
  e.ne(e.and(entry, e.i64(bit)), e.i64(0));
const isClear = (e: RoutineEmitter, word: Value, bits: number): Value => e.eqz(has(e, word, bits));

/** Arena address of guest-physical memory (i64, of a place that does not cross pages); leaves with WALK_SLOW outside RAM. */
function resolve(e: RoutineEmitter, tlb: Value, gpa: Value): Value {
  const ram = e.loadArena(tlb, 'i32', T.TLB_RAM);
  const low = e.loadArena(tlb, 'i32', T.TLB_LOW_RAM);
  return e.ifValue(
    e.ltU(gpa, e.extendU(low)),
    'i32',
    () => e.add(e.wrap(gpa), ram),
    () => {
      const above = e.sub(gpa, e.i64(HIGH_RAM_START));
      const high = e.extendU(e.loadArena(tlb, 'i32', T.TLB_HIGH_RAM));
      e.if(e.geU(above, high), () => e.return(e.i32(WALK_SLOW)));
      return e.add(e.wrap(above), e.add(ram, low));
    },
  );
}

function pageFault(e: RoutineEmitter, linear: Value, access: Value, present: number): void {
  e.if(has(e, access, WALK_QUIET), () => e.return(e.i32(WALK_SLOW)));
  e.setState('i64', cpu.CR2, linear);
  e.setState('i32', cpu.EXCEPTION_VECTOR, e.i32(PAGE_FAULT));
  const code = e.or(has(e, access, WALK_WRITE | WALK_USER), e.i32(present));
  e.setState('i32', cpu.EXCEPTION_ERROR_CODE, code);
  e.return(e.i32(WALK_FAULTS));
}

interface Leaf {
  readonly entry: Value;
  /** Arena address of the entry. */
  readonly at: Value;
  /** log2 of the page's size, i64. */
  readonly shift: Value;
  /** The conjunction of the entries on the path. */
  readonly all: Value;
}

/** Follows the tables down; leaves the routine where there is no leaf, or one for TypeScript. */
function walk(e: RoutineEmitter, tlb: Value, linear: Value, access: Value): Leaf {
  const reserved = e.select(
    isClear(e, e.getState('i32', cpu.EFER), EFER_NXE),
    e.i64(RESERVED | NX),
    e.i64(RESERVED),
  );
  const table = e.variable(e.and(e.getState('i64', cpu.CR3), e.i64(ADDRESS)));
  const shift = e.variable(e.i64(ROOT_SHIFT));
  const all = e.variable(e.i64(-1));
  const entry = e.variable(e.i64(0));
  const at = e.variable(e.i32(0));
  e.block((found) => {
    e.loop((again) => {
      const index = e.and(e.shrU(linear, shift.get()), e.i64(511));
      at.set(resolve(e, tlb, e.or(table.get(), e.shl(index, e.i64(3)))));
      entry.set(e.loadArena(at.get(), 'i64'));
      const seen = entry.get();
      e.if(e.eqz(entryHas(e, seen, ENTRY_PRESENT)), () => pageFault(e, linear, access, 0));
      e.if(e.ne(e.and(seen, reserved), e.i64(0)), () => e.return(e.i32(WALK_SLOW)));
      all.set(e.and(all.get(), seen));
      const level = shift.get();
      e.branchIf(found, e.eq(level, e.i64(12)));
      e.if(entryHas(e, seen, ENTRY_LARGE), () => {
        e.if(e.eq(level, e.i64(ROOT_SHIFT)), () => e.return(e.i32(WALK_SLOW)));
        e.branch(found);
      });
      e.if(e.eqz(entryHas(e, seen, ENTRY_ACCESSED)), () => e.return(e.i32(WALK_SLOW)));
      table.set(e.and(seen, e.i64(ADDRESS)));
      shift.set(e.sub(level, e.i64(9)));
      e.branch(again);
    });
  });
  return { entry: entry.get(), at: at.get(), shift: shift.get(), all: all.get() };
}

/** i32: the path permits writes. */
function mayWrite(e: RoutineEmitter, all: Value, access: Value): Value {
  const unprotected = isClear(e, e.getState('i32', cpu.CR0), CR0_WP);
  const unlessUser = e.and(unprotected, isClear(e, access, WALK_USER));
  return e.or(entryHas(e, all, ENTRY_WRITABLE), unlessUser);
}

/** Leaves with the fault when the path does not permit the access. */
function checkPermission(e: RoutineEmitter, leaf: Leaf, linear: Value, access: Value): Value {
  const userPage = entryHas(e, leaf.all, ENTRY_USER);
  const smap = e.ne(has(e, e.getState('i32', cpu.CR4), CR4_SMAP), e.i32(0));
  const guarded = e.and(userPage, e.and(smap, isClear(e, access, WALK_SMAP_OFF)));
  const writable = mayWrite(e, leaf.all, access);
  const forbidden = e.select(has(e, access, WALK_USER), e.eqz(userPage), guarded);
  const unwritable = e.and(e.ne(has(e, access, WALK_WRITE), e.i32(0)), e.eqz(writable));
  e.if(e.or(forbidden, unwritable), () => pageFault(e, linear, access, ERROR_PRESENT));
  return writable;
}

/** Sets the leaf's accessed bit, for a write its dirty bit, unless it changed meanwhile; gives the entry as it then is. */
function mark(e: RoutineEmitter, leaf: Leaf, access: Value): Value {
  const bits = e.select(
    has(e, access, WALK_WRITE),
    e.i64(ENTRY_ACCESSED | ENTRY_DIRTY),
    e.i64(ENTRY_ACCESSED),
  );
  const marked = e.or(leaf.entry, bits);
  e.if(e.ne(marked, leaf.entry), () => {
    const was = e.atomic('rmw.cmpxchg', 'i64', leaf.at, 0, [leaf.entry, marked]);
    e.if(e.ne(was, leaf.entry), () => e.return(e.i32(WALK_SLOW)));
  });
  return marked;
}

/** CodeMap.claimWrite: i32, whether this vCPU may write the page unseen. */
function claimWrite(e: RoutineEmitter, tlb: Value, page: Value): Value {
  const number = e.shrU(e.sub(page, e.loadArena(tlb, 'i32', T.TLB_RAM)), e.i32(12));
  const distance = e.mul(number, e.i32(CODE_MAP_ENTRY_BYTES));
  const entry = e.add(e.loadArena(tlb, 'i32', T.TLB_CODE_MAP), distance);
  const bit = e.loadArena(tlb, 'i32', T.TLB_OWNER_BIT);
  const owners = (): Value => e.atomic('load', 'i32', entry, CODE_MAP_CODE_OWNERS);
  const announced = e.and(e.atomic('load', 'i32', entry, CODE_MAP_WRITE_OWNERS), bit);
  return e.ifValue(
    announced,
    'i32',
    () => e.eqz(owners()),
    () => {
      e.atomic('rmw.or', 'i32', entry, CODE_MAP_WRITE_OWNERS, [bit]);
      const free = e.eqz(owners());
      e.if(e.eqz(free), () => {
        e.atomic('rmw.and', 'i32', entry, CODE_MAP_WRITE_OWNERS, [e.xor(bit, e.i32(-1))]);
      });
      return free;
    },
  );
}

/** Tlb.list: notes an entry that is in use. */
function list(e: RoutineEmitter, tlb: Value, entry: Value, global: Value): void {
  const mark = e.select(global, e.i32(T.TLB_LISTED_GLOBAL), e.i32(T.TLB_LISTED_LOCAL));
  const marks = e.loadArena(entry, 'u8', T.TLB_MARKS);
  e.if(e.eqz(e.and(marks, mark)), () => {
    e.storeArena(entry, 'u8', T.TLB_MARKS, e.or(marks, mark));
    const counter = e.select(
      global,
      e.add(tlb, e.i32(T.TLB_GLOBAL_COUNT)),
      e.add(tlb, e.i32(T.TLB_LOCAL_COUNT)),
    );
    const entries = e.select(
      global,
      e.add(tlb, e.i32(T.TLB_GLOBAL_LIST)),
      e.add(tlb, e.i32(T.TLB_LOCAL_LIST)),
    );
    const count = e.loadArena(counter, 'i32');
    const number = e.shrU(e.sub(entry, tlb), e.i32(Math.log2(T.TLB_ENTRY_BYTES)));
    e.storeArena(e.add(entries, e.shl(count, e.i32(1))), 'u16', 0, number);
    e.storeArena(counter, 'i32', 0, e.add(count, e.i32(1)));
  });
}

/** The hash of tlb.ts. */
function noteLargeRegion(e: RoutineEmitter, tlb: Value, linear: Value, shift: Value): void {
  const [highFactor, lowFactor, factor] = T.TLB_REGION_HASH;
  const high = e.wrap(e.shrU(linear, e.i64(32)));
  const low = e.add(e.shrU(e.wrap(linear), shift), e.shl(shift, e.i32(12)));
  const mixed = e.xor(e.mul(high, e.i32(highFactor)), e.mul(low, e.i32(lowFactor)));
  const region = e.shrU(e.mul(mixed, e.i32(factor)), e.i32(32 - T.TLB_REGION_BITS));
  e.storeArena(e.add(tlb, region), 'u8', T.TLB_LARGE_REGIONS, e.i32(1));
}

interface Page {
  /** Arena address. */
  readonly at: Value;
  readonly writable: Value;
  readonly global: Value;
  readonly shift: Value;
}

/** Tlb.fill. */
function enter(e: RoutineEmitter, tlb: Value, linear: Value, access: Value, page: Page): void {
  const user = has(e, access, WALK_USER);
  const supervisorSet = e.select(has(e, access, WALK_SMAP_OFF), e.i32(2), e.i32(1));
  const set = e.select(user, e.i32(0), supervisorSet);
  const index = e.and(e.wrap(e.shrU(linear, e.i64(7))), e.i32((T.TLB_ENTRIES - 1) * T.TLB_ENTRY_BYTES));
  const entry = e.add(e.add(tlb, e.mul(set, e.i32(T.TLB_SET_BYTES))), index);
  list(e, tlb, entry, e.and(page.global, e.eqz(user)));
  e.storeArena(entry, 'u8', T.TLB_PAGE_SHIFT, page.shift);
  e.if(e.gtU(page.shift, e.i32(12)), () => noteLargeRegion(e, tlb, linear, page.shift));
  const tag = e.and(linear, e.i64(-4096));
  const never = e.i64(BigInt(T.TLB_NEVER) * 0x0101_0101_0101_0101n);
  e.storeArena(entry, 'i64', T.TLB_READ_TAG, tag);
  e.storeArena(entry, 'i64', T.TLB_WRITE_TAG, e.select(page.writable, tag, never));
  e.storeArena(entry, 'i32', T.TLB_ADDEND, e.sub(page.at, e.wrap(tag)));
  e.storeArena(entry, 'i32', T.TLB_PAGE, page.at);
  e.storeArena(tlb, 'i32', T.TLB_FILLS, e.add(e.loadArena(tlb, 'i32', T.TLB_FILLS), e.i32(1)));
}

/** `(linear address, WALK_ bits)`: the arena address, its page entered into the TLB, or WALK_SLOW or WALK_FAULTS. */
const fillTlb: Routine = {
  parameters: ['i64', 'i32'],
  body: (e, [linear, access]) => {
    const tlb = e.getState('i32', cpu.WALKED_TLB);
    e.if(e.or(e.eqz(tlb), e.ne(e.signExtend(linear!, 48), linear!)), () => e.return(e.i32(WALK_SLOW)));
    const leaf = walk(e, tlb, linear!, access!);
    const offsets = e.sub(e.shl(e.i64(1), leaf.shift), e.i64(1));
    const misplaced = e.and(e.and(leaf.entry, offsets), e.i64(LARGE_LOW));
    e.if(e.and(e.ne(leaf.shift, e.i64(12)), e.ne(misplaced, e.i64(0))), () => e.return(e.i32(WALK_SLOW)));
    const permitsWrite = checkPermission(e, leaf, linear!, access!);
    const inPage = e.and(linear!, offsets);
    const frame = e.and(e.and(leaf.entry, e.i64(ADDRESS)), e.xor(offsets, e.i64(-1)));
    const at = resolve(e, tlb, e.and(e.or(frame, inPage), e.i64(-4096)));
    const entry = mark(e, leaf, access!);
    const clean = e.eqz(entryHas(e, entry, ENTRY_DIRTY));
    const writable = e.ifValue(
      e.and(permitsWrite, e.eqz(clean)),
      'i32',
      () => claimWrite(e, tlb, at),
      () => e.i32(0),
    );
    const write = e.ne(has(e, access!, WALK_WRITE), e.i32(0));
    e.if(e.and(write, e.eqz(writable)), () => e.return(e.i32(WALK_SLOW)));
    const pge = e.ne(has(e, e.getState('i32', cpu.CR4), CR4_PGE), e.i32(0));
    const global = e.and(pge, entryHas(e, entry, ENTRY_GLOBAL));
    enter(e, tlb, linear!, access!, { at, writable, global, shift: e.wrap(leaf.shift) });
    return e.add(at, has(e, e.wrap(linear!), 4095));
  },
};

export const PAGE_WALK_ROUTINES: RoutineTable = { fillTlb };
