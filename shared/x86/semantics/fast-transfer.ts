// What SYSCALL, SYSRET, IRETQ and events do inline when a 64-bit kernel and its 64-bit programs use them: between CPL 3 and CPL 0, in flat
// segments, without single step. Everything else is the helper's (actors/vcpu/engine-wasm/helpers), which also describes the faults.
// A change of CPL moves the TLB set and the jump cache in use, whose places follow one another in the arena.
import type { Computation, Value } from '#shared/translate/emitter.js';
import { JUMP_CACHE_BYTES, TLB_SET_BYTES } from '#shared/translate/op-record.js';
import * as cpu from '#shared/x86/cpu-state.js';
import { AC, IF, TF } from '#shared/x86/rflags.js';

export const AC_SHIFT = 18;
/** Attributes of a flat data segment and of a 64-bit code segment, accessed; DPL 0. */
const DATA = 0xc93;
const CODE64 = 0xa9b;
const DPL3 = 0x60;
/** The descriptor of flat 64-bit code, accessed, DPL 0. */
export const CODE64_DESCRIPTOR = 0x00af_9b00_0000_ffffn;
const FLAT_LIMIT = 0xffff_ffff;
/** SEGMENT_HIGH of a flat segment: an access may wrap around its end. */
const FLAT_HIGH = FLAT_LIMIT + 16;

const place = (segment: number, field: number): number => cpu.SEGMENT + segment * cpu.SEGMENT_BYTES + field;

function setFlatSegment(e: Computation, segment: number, selector: Value, attributes: number): void {
  e.setState('i64', place(segment, cpu.SEGMENT_BASE), e.i64(0));
  e.setState('i64', place(segment, cpu.SEGMENT_LOW), e.i64(0));
  e.setState('i64', place(segment, cpu.SEGMENT_HIGH), e.i64(FLAT_HIGH));
  e.setState('i32', place(segment, cpu.SEGMENT_LIMIT), e.i32(-1));
  e.setState('u16', place(segment, cpu.SEGMENT_SELECTOR), selector);
  e.setState('u16', place(segment, cpu.SEGMENT_ATTRIBUTES), e.i32(attributes));
}

/** Flat 64-bit code at `cpl`; the selector as it is to stand in CS. */
export function setFlatCodeSegment(e: Computation, cpl: 0 | 3, code: Value): void {
  setFlatSegment(e, cpu.CS, code, CODE64 | (cpl === 3 ? DPL3 : 0));
}

/** That and a flat stack. */
export function setFlatCode(e: Computation, cpl: 0 | 3, code: Value, stack: Value): void {
  setFlatCodeSegment(e, cpl, code);
  setFlatSegment(e, cpu.SS, stack, DATA | (cpl === 3 ? DPL3 : 0));
}

/** An unusable segment, selector 0. */
export function setNullSegment(e: Computation, segment: number): void {
  e.setState('i64', place(segment, cpu.SEGMENT_BASE), e.i64(0));
  e.setState('i64', place(segment, cpu.SEGMENT_LOW), e.i64(0));
  e.setState('i64', place(segment, cpu.SEGMENT_HIGH), e.i64(-1));
  e.setState('i64', place(segment, cpu.SEGMENT_LIMIT), e.i64(0)); // and selector and attributes
}

/** Conditions (i32, not zero when true) of running inline at all: 64-bit code at `cpl`, and no single step. */
export function runsInline(e: Computation, cpl: 0 | 3, flags: Value): Value {
  const long = e.eq(e.and(e.getState('i32', cpu.CODE_MODE), e.i32(cpu.MODE_CODE_MASK)), e.i32(cpu.MODE_64));
  const level = e.eq(e.getState('i32', cpu.CPL), e.i32(cpl));
  return e.and(e.and(long, level), e.eqz(e.and(flags, e.i32(TF))));
}

/** i32: the jump cache of `cpl` holds 64-bit code, so that it can be used without a flush. */
export function jumpCacheFits(e: Computation, cpl: 0 | 3): Value {
  const word = cpl === 3 ? cpu.USER_JUMP_CACHE_MODE : cpu.SUPERVISOR_JUMP_CACHE_MODE;
  return e.eq(e.getState('i32', word), e.i32(cpu.MODE_64 + 1));
}

/** i32: an interrupt that waits for IF would have to be made pending. */
export function unparks(e: Computation, newFlags: Value): Value {
  return e.and(e.ne(e.getState('i32', cpu.IRQ_PARKED), e.i32(0)), e.ne(e.and(newFlags, e.i32(IF)), e.i32(0)));
}

/** Bytes between the user TLB set and the supervisor set that goes with these flags (SMAP is off under AC). */
function supervisorSetDistance(e: Computation, flags: Value): Value {
  const smapOff = e.shrU(e.and(flags, e.i32(AC)), e.i32(AC_SHIFT));
  return e.mul(e.add(smapOff, e.i32(1)), e.i32(TLB_SET_BYTES));
}

/** CPL 3 → 0, `flags` being the new ones. */
export function enterSupervisor(e: Computation, flags: Value): void {
  e.setState('i32', cpu.CPL, e.i32(0));
  e.setState('i32', cpu.TLB_BASE, e.add(e.getState('i32', cpu.TLB_BASE), supervisorSetDistance(e, flags)));
  e.setState(
    'i32',
    cpu.JUMP_CACHE_BASE,
    e.sub(e.getState('i32', cpu.JUMP_CACHE_BASE), e.i32(JUMP_CACHE_BYTES)),
  );
}

/** CPL 0 → 3, `flags` being the old ones. */
export function leaveSupervisor(e: Computation, flags: Value): void {
  e.setState('i32', cpu.CPL, e.i32(3));
  e.setState('i32', cpu.TLB_BASE, e.sub(e.getState('i32', cpu.TLB_BASE), supervisorSetDistance(e, flags)));
  e.setState(
    'i32',
    cpu.JUMP_CACHE_BASE,
    e.add(e.getState('i32', cpu.JUMP_CACHE_BASE), e.i32(JUMP_CACHE_BYTES)),
  );
}

/** i32: an i64 is a canonical address. */
export function isCanonical(e: Computation, address: Value): Value {
  return e.eq(e.signExtend(address, 48), address);
}
