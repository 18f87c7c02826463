// REP MOVS and REP STOS forward through plain memory, for 64-bit code with 64-bit addresses: a run at a time, which is as much as lies in one
// page of source and destination. What no run can do (faults, MMIO, pages with code, elements across pages, close overlaps, other patterns
// than one repeated byte) is left to the TypeScript (actors/vcpu/engine-wasm/helpers/bulk-string.ts), which goes on from there.
import * as T from '#shared/translate/op-record.js';
import type { Value } from '#shared/translate/emitter.js';
import type { Routine, RoutineEmitter, RoutineTable } from '#shared/translate/routine.js';
import * as cpu from '#shared/x86/cpu-state.js';
import { dataAccess } from './memory-miss.js';
import { WALK_FAULTS, WALK_QUIET, WALK_WRITE } from './page-walk.js';

const PAGE = 4096;
const ONES = 0x0101_0101_0101_0101n;

/** Arena address of a linear address by the TLB, filled if need be; 0 or 1 where the page's memory may not be used so. */
function locate(e: RoutineEmitter, linear: Value, write: boolean): Value {
  const index = e.and(e.wrap(e.shrU(linear, e.i64(7))), e.i32((T.TLB_ENTRIES - 1) * T.TLB_ENTRY_BYTES));
  const entry = e.add(index, e.getState('i32', cpu.TLB_BASE));
  const tag = e.loadArena(entry, 'i64', write ? T.TLB_WRITE_TAG : T.TLB_READ_TAG);
  return e.ifValue(
    e.eq(tag, e.and(linear, e.i64(-PAGE))),
    'i32',
    () => e.add(e.wrap(linear), e.loadArena(entry, 'i32', T.TLB_ADDEND)),
    () => {
      const access = e.or(dataAccess(e), e.i32(WALK_QUIET | (write ? WALK_WRITE : 0)));
      return e.call('fillTlb', [linear, access]);
    },
  );
}

/** Bytes from `linear` to the end of its page, i32. */
const pageRest = (e: RoutineEmitter, linear: Value): Value =>
  e.sub(e.i32(PAGE), e.and(e.wrap(linear), e.i32(PAGE - 1)));

const smaller = (e: RoutineEmitter, a: Value, b: Value): Value => e.select(e.ltU(a, b), a, b);

/** One run: the elements that were done before it, as bytes (i64), and how many it may do at most give how many it did; 0 ends all. */
type Run = (doneBytes: Value, atMost: (room: Value) => Value) => Value;

/** Runs until `count` elements of 1 << `shift` bytes are done, none can be done so, or work is pending; gives how many were. */
function runs(e: RoutineEmitter, count: Value, shift: Value, run: Run): Value {
  const done = e.variable(e.i32(0));
  e.block((end) => {
    e.loop((again) => {
      const before = done.get();
      const left = e.sub(count, e.extendU(before));
      const atMost = (room: Value): Value => {
        const fits = e.extendU(e.shrU(room, shift));
        return e.wrap(smaller(e, fits, left));
      };
      const elements = run(e.shl(e.extendU(before), e.extendU(shift)), atMost);
      e.branchIf(end, e.eqz(elements));
      const now = e.add(before, elements);
      done.set(now);
      e.branchIf(end, e.eq(e.extendU(now), count));
      e.branchIf(end, e.getState('i32', cpu.PENDING));
      // Its caller counts in an i32.
      e.branchIf(again, e.ltU(now, e.i32(0x1000_0000)));
    });
  });
  return done.get();
}

/** Ends the routine's runs with 0 unless `address` is one. */
const usable = (e: RoutineEmitter, address: Value): Value => e.gtU(address, e.i32(WALK_FAULTS));

/** `(source, destination, count, log2 of the element's bytes)`: elements moved. */
const moveRun: Routine = {
  parameters: ['i64', 'i64', 'i64', 'i32'],
  body: (e, [source, destination, count, shift]) =>
    runs(e, count!, shift!, (doneBytes, atMost) => {
      const readFrom = e.add(source!, doneBytes);
      const writeTo = e.add(destination!, doneBytes);
      const elements = atMost(smaller(e, pageRest(e, readFrom), pageRest(e, writeTo)));
      return e.ifValue(
        elements,
        'i32',
        () => {
          const from = locate(e, readFrom, false);
          const to = locate(e, writeTo, true);
          const bytes = e.shl(elements, shift!);
          const distance = e.sub(to, from);
          // Elements that are read after they were written repeat a pattern.
          const apart = e.or(e.eqz(distance), e.geU(distance, bytes));
          return e.ifValue(
            e.and(e.and(usable(e, from), usable(e, to)), apart),
            'i32',
            () => {
              e.copyArena(to, from, bytes);
              return elements;
            },
            () => e.i32(0),
          );
        },
        () => e.i32(0),
      );
    }),
};

/** `(destination, count, value of an element, log2 of its bytes)`: elements stored. */
const fillRun: Routine = {
  parameters: ['i64', 'i64', 'i64', 'i32'],
  body: (e, [destination, count, value, shift]) => {
    const byte = e.and(value!, e.i64(0xff));
    const bits = e.shl(e.i64(8), e.extendU(shift!));
    const mask = e.shrU(e.i64(-1), e.sub(e.i64(64), bits));
    const repeated = e.and(e.mul(byte, e.i64(ONES)), mask);
    e.if(e.ne(repeated, e.and(value!, mask)), () => e.return(e.i32(0)));
    return runs(e, count!, shift!, (doneBytes, atMost) => {
      const writeTo = e.add(destination!, doneBytes);
      const elements = atMost(pageRest(e, writeTo));
      return e.ifValue(
        elements,
        'i32',
        () => {
          const to = locate(e, writeTo, true);
          return e.ifValue(
            usable(e, to),
            'i32',
            () => {
              e.fillArena(to, e.wrap(byte), e.shl(elements, shift!));
              return elements;
            },
            () => e.i32(0),
          );
        },
        () => e.i32(0),
      );
    });
  },
};

/** Behind the page walk's, which they call. */
export const STRING_ROUTINES: RoutineTable = { moveRun, fillRun };
