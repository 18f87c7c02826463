// The slow memory paths of generated code (shared/translate/region-slow.ts, memory-builder.ts) when the page only has to be entered into the TLB:
// the access itself then, or the fault. What they cannot do is the TypeScript's of mmu.ts.
import type { Value } from '#shared/translate/emitter.js';
import type { Routine, RoutineEmitter, RoutineTable } from '#shared/translate/routine.js';
import * as cpu from '#shared/x86/cpu-state.js';
import { AC } from '#shared/x86/rflags.js';
import { WALK_FAULTS, WALK_SLOW, WALK_SMAP_OFF, WALK_USER, WALK_WRITE } from './page-walk.js';

/** What these routines give beside EXIT_ values. */
export const MISS_SLOW = -1;

const BYTES = 0xff;
const LOCK = 0x100;
const KINDS = [
  [8, 'i64'],
  [4, 'i32'],
  [1, 'u8'],
  [2, 'u16'],
  [16, 'v128'],
] as const;

/** The access rights of an instruction's own data accesses now. */
export function dataAccess(e: RoutineEmitter): Value {
  const user = e.eq(e.getState('i32', cpu.CPL), e.i32(3));
  const smapOff = e.and(e.getState('i32', cpu.RFLAGS_SYSTEM), e.i32(AC));
  return e.select(user, e.i32(WALK_USER), e.select(smapOff, e.i32(WALK_SMAP_OFF), e.i32(0)));
}

/** Arena address of an access of `bytes` that lies in one page; leaves where it faults and where TypeScript must look. */
function locate(e: RoutineEmitter, linear: Value, bytes: Value, write: boolean): Value {
  const offset = e.and(e.wrap(linear), e.i32(4095));
  e.if(e.gtU(e.add(offset, bytes), e.i32(4096)), () => e.return(e.i32(MISS_SLOW)));
  const access = dataAccess(e);
  const at = e.call('fillTlb', [linear, write ? e.or(access, e.i32(WALK_WRITE)) : access]);
  e.if(e.eq(at, e.i32(WALK_SLOW)), () => e.return(e.i32(MISS_SLOW)));
  e.if(e.eq(at, e.i32(WALK_FAULTS)), () => e.return(e.i32(cpu.EXIT_EXCEPTION)));
  return at;
}

/** Runs `copy` for the kind that holds `bytes`, and ends the routine. */
function copied(e: RoutineEmitter, bytes: Value, copy: (kind: (typeof KINDS)[number][1]) => void): Value {
  for (const [size, kind] of KINDS)
    e.if(e.eq(bytes, e.i32(size)), () => {
      copy(kind);
      e.return(e.i32(cpu.EXIT_NONE));
    });
  return e.i32(MISS_SLOW);
}

/** `(linear address, argument)`, as the slow paths have them. */
const missRead: Routine = {
  parameters: ['i64', 'i32'],
  body: (e, [linear, argument]) => {
    const bytes = e.and(argument!, e.i32(BYTES));
    const at = locate(e, linear!, bytes, false);
    return copied(e, bytes, (kind) => e.setState(kind, cpu.SLOW_DATA, e.loadArena(at, kind)));
  },
};

const missWrite: Routine = {
  parameters: ['i64', 'i32'],
  body: (e, [linear, argument]) => {
    const bytes = e.and(argument!, e.i32(BYTES));
    const at = locate(e, linear!, bytes, true);
    return copied(e, bytes, (kind) => e.storeArena(at, kind, 0, e.getState(kind, cpu.SLOW_DATA)));
  },
};

const missModifyBegin: Routine = {
  parameters: ['i64', 'i32'],
  body: (e, [linear, argument]) => {
    e.setState('i32', cpu.MODIFIES_DIRECTLY, e.i32(0));
    const bytes = e.and(argument!, e.i32(BYTES));
    const locked = e.ne(e.and(argument!, e.i32(LOCK)), e.i32(0));
    const aligned = e.eqz(e.and(e.wrap(linear!), e.sub(bytes, e.i32(1))));
    e.if(e.and(locked, e.eqz(aligned)), () => e.return(e.i32(MISS_SLOW)));
    e.setState('i32', cpu.HELPER_ARG0, locate(e, linear!, bytes, true));
    e.setState('i32', cpu.MODIFIES_DIRECTLY, e.i32(1));
    return e.i32(cpu.EXIT_NONE);
  },
};

/** Nobody decodes code from a page between the two without this vCPU's having flushed its TLB. */
const missModifyEnd: Routine = {
  parameters: ['i64', 'i32'],
  body: (e) => e.select(e.getState('i32', cpu.MODIFIES_DIRECTLY), e.i32(cpu.EXIT_NONE), e.i32(MISS_SLOW)),
};

/** Behind the page walk's, which they call. */
export const MEMORY_MISS_ROUTINES: RoutineTable = { missRead, missWrite, missModifyBegin, missModifyEnd };
