// Delivery of a fault, interrupt or NMI to a 64-bit kernel in the usual case: from flat 64-bit code at CPL 0 or 3 through an interrupt
// or trap gate to flat code at CPL 0, to a stack whose part for the frame lies in one writable page. Intel SDM vol. 3 §6.14. Everything
// else, what faults on the way included, is TypeScript (actors/vcpu/engine-wasm/helpers/long-gate.ts): nothing is written before it is sure.
import type { Value } from '#shared/translate/emitter.js';
import type { Routine, RoutineEmitter, RoutineTable } from '#shared/translate/routine.js';
import * as T from '#shared/translate/op-record.js';
import * as cpu from '#shared/x86/cpu-state.js';
import { IF, NT, RF, RFLAGS_FIXED, TF, VM } from '#shared/x86/rflags.js';
import * as fast from '#shared/x86/semantics/fast-transfer.js';
import { WALK_QUIET, WALK_WRITE } from './page-walk.js';

const DEBUG = 1;
const GATE_BYTES = 16;
/** P, S and type of interrupt gates and, with the lowest bit, trap gates. */
const GATE_KIND = 0x9f;
const INTERRUPT_GATE = 0x8e;
/** Offsets of RSP0 and IST1 in the TSS. */
const TSS_RSP0 = 4;
const TSS_IST1 = 36;
/** SS, RSP, RFLAGS, CS, RIP, and an error code below. */
const FRAME_BYTES = 40;
const EVENT_CLEARS = TF | NT | RF | VM;

const place = (segment: number, field: number): number => cpu.SEGMENT + segment * cpu.SEGMENT_BYTES + field;

/** `(linear address, bytes, WALK_ bits)`: the arena address of a supervisor's access that lies in one page, 0 where it needs TypeScript. */
const locateSupervisor: Routine = {
  parameters: ['i64', 'i32', 'i32'],
  body: (e, [linear, bytes, access]) => {
    const low = e.wrap(linear!);
    e.if(e.gtU(e.add(e.and(low, e.i32(4095)), bytes!), e.i32(4096)), () => e.return(e.i32(0)));
    const index = e.and(e.wrap(e.shrU(linear!, e.i64(7))), e.i32((T.TLB_ENTRIES - 1) * T.TLB_ENTRY_BYTES));
    const entry = e.add(e.add(e.getState('i32', cpu.WALKED_TLB), e.i32(T.TLB_SET_BYTES)), index);
    const tag = e.select(
      e.and(access!, e.i32(WALK_WRITE)),
      e.loadArena(entry, 'i64', T.TLB_WRITE_TAG),
      e.loadArena(entry, 'i64', T.TLB_READ_TAG),
    );
    return e.ifValue(
      e.eq(tag, e.and(linear!, e.i64(-4096))),
      'i32',
      () => e.add(e.loadArena(entry, 'i32', T.TLB_ADDEND), low),
      () => e.call('fillTlb', [linear!, e.or(access!, e.i32(WALK_QUIET))]),
    );
  },
};

function giveUpUnless(e: RoutineEmitter, condition: Value): void {
  e.if(e.eqz(condition), () => e.return(e.i32(0)));
}

/** Arena address of what a supervisor reads or writes; gives the routine up when there is none at once. */
function locate(e: RoutineEmitter, linear: Value, bytes: Value, access: number): Value {
  const at = e.call('locateSupervisor', [linear, bytes, e.i32(access)]);
  giveUpUnless(e, at);
  return at;
}

interface Gate {
  /** The first eight bytes. */
  readonly low: Value;
  readonly target: Value;
  readonly selector: Value;
  /** i32: it clears IF. */
  readonly masks: Value;
}

function readGate(e: RoutineEmitter, vector: Value): Gate {
  const offset = e.mul(vector, e.i32(GATE_BYTES));
  const last = e.add(offset, e.i32(GATE_BYTES - 1));
  giveUpUnless(e, e.leS(last, e.getState('i32', cpu.IDTR_LIMIT)));
  const linear = e.add(e.getState('i64', cpu.IDTR_BASE), e.extendU(offset));
  const at = locate(e, linear, e.i32(GATE_BYTES), 0);
  const low = e.loadArena(at, 'i64');
  const kind = e.and(e.wrap(e.shrU(low, e.i64(40))), e.i32(GATE_KIND));
  giveUpUnless(e, e.eq(e.and(kind, e.i32(~1)), e.i32(INTERRUPT_GATE)));
  const middle = e.and(e.shrU(low, e.i64(32)), e.i64(0xffff_0000));
  const high = e.shl(e.extendU(e.loadArena(at, 'i32', 8)), e.i64(32));
  const target = e.or(e.or(e.and(low, e.i64(0xffff)), middle), high);
  giveUpUnless(e, fast.isCanonical(e, target));
  const selector = e.and(e.wrap(e.shrU(low, e.i64(16))), e.i32(0xffff));
  return { low, target, selector, masks: e.eq(kind, e.i32(INTERRUPT_GATE)) };
}

/** The selector names the flat 64-bit code segment of CPL 0 in the GDT. */
function checkCode(e: RoutineEmitter, selector: Value): void {
  const offset = e.and(selector, e.i32(0xfff8));
  const inside = e.leS(e.add(offset, e.i32(7)), e.getState('i32', cpu.GDTR_LIMIT));
  const local = e.and(selector, e.i32(4));
  giveUpUnless(e, e.and(e.and(inside, e.eqz(local)), e.ne(offset, e.i32(0))));
  const linear = e.add(e.getState('i64', cpu.GDTR_BASE), e.extendU(offset));
  const descriptor = e.loadArena(locate(e, linear, e.i32(8), 0), 'i64');
  giveUpUnless(e, e.eq(descriptor, e.i64(fast.CODE64_DESCRIPTOR)));
}

/** Where the frame ends: the stack that the gate names, else RSP0 from CPL 3, else RSP. */
function frameEnd(e: RoutineEmitter, gate: Gate, inner: Value): Value {
  const ist = e.and(e.wrap(e.shrU(gate.low, e.i64(32))), e.i32(7));
  const top = e.ifValue(
    e.or(ist, inner),
    'i64',
    () => {
      const istOffset = e.add(e.mul(ist, e.i32(8)), e.i32(TSS_IST1 - 8));
      const offset = e.select(ist, istOffset, e.i32(TSS_RSP0));
      const limit = e.getState('i32', place(cpu.TR, cpu.SEGMENT_LIMIT));
      giveUpUnless(e, e.leU(e.add(offset, e.i32(7)), limit));
      const linear = e.add(e.getState('i64', place(cpu.TR, cpu.SEGMENT_BASE)), e.extendU(offset));
      return e.loadArena(locate(e, linear, e.i32(8), 0), 'i64');
    },
    () => e.getState('i64', cpu.RSP),
  );
  return e.and(top, e.i64(-16));
}

/** Writes the frame and gives the new RSP. */
function pushFrame(e: RoutineEmitter, end: Value, errorCode: Value, resume: Value): Value {
  const hasCode = e.geS(errorCode, e.i32(0));
  const bytes = e.select(hasCode, e.i32(FRAME_BYTES + 8), e.i32(FRAME_BYTES));
  const pointer = e.sub(end, e.extendU(bytes));
  const start = locate(e, pointer, bytes, WALK_WRITE);
  const at = e.add(start, e.sub(bytes, e.i32(FRAME_BYTES)));
  const system = e.and(e.getState('i32', cpu.RFLAGS_SYSTEM), e.i32(~RF));
  const flags = e.or(e.or(e.readArithmeticFlags(), system), e.or(resume, e.i32(RFLAGS_FIXED)));
  const selector = (segment: number): Value => e.getState('u16', place(segment, cpu.SEGMENT_SELECTOR));
  e.storeArena(at, 'i64', 32, e.extendU(selector(cpu.SS)));
  e.storeArena(at, 'i64', 24, e.getState('i64', cpu.RSP));
  e.storeArena(at, 'i64', 16, e.extendU(flags));
  e.storeArena(at, 'i64', 8, e.extendU(selector(cpu.CS)));
  e.storeArena(at, 'i64', 0, e.getState('i64', cpu.RIP));
  e.if(hasCode, () => e.storeArena(start, 'i64', 0, e.extendU(errorCode)));
  return pointer;
}

/** `(vector, error code or −1, RF or 0)`: delivers the event at RIP and gives 1, or does nothing and gives 0. */
const deliverLong: Routine = {
  parameters: ['i32', 'i32', 'i32'],
  body: (e, [vector, errorCode, resume]) => {
    const flags = e.getState('i32', cpu.RFLAGS_SYSTEM);
    const cpl = e.getState('i32', cpu.CPL);
    const inner = e.eq(cpl, e.i32(3));
    const known = e.or(inner, e.eqz(cpl));
    const stepped = e.or(e.and(flags, e.i32(TF)), e.eq(vector!, e.i32(DEBUG)));
    const walks = e.ne(e.getState('i32', cpu.WALKED_TLB), e.i32(0));
    giveUpUnless(e, e.and(e.and(known, walks), e.and(e.eqz(stepped), fast.jumpCacheFits(e, 0))));
    const gate = readGate(e, vector!);
    checkCode(e, gate.selector);
    const pointer = pushFrame(e, frameEnd(e, gate, inner), errorCode!, resume!);
    e.setState('i64', cpu.RSP, pointer);
    e.setState('i64', cpu.RIP, gate.target);
    fast.setFlatCodeSegment(e, 0, e.and(gate.selector, e.i32(0xfffc)));
    e.if(inner, () => {
      fast.setNullSegment(e, cpu.SS);
      fast.enterSupervisor(e, flags);
    });
    const cleared = e.select(gate.masks, e.i32(~(EVENT_CLEARS | IF)), e.i32(~EVENT_CLEARS));
    e.setState('i32', cpu.RFLAGS_SYSTEM, e.and(flags, cleared));
    e.setState('i32', cpu.INTERRUPT_SHADOW, e.i32(cpu.SHADOW_NONE));
    return e.i32(1);
  },
};

/** Behind the page walk's, which they call. */
export const EVENT_ROUTINES: RoutineTable = { locateSupervisor, deliverLong };
