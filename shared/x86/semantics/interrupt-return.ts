// IRET, IRETD, IRETQ. Intel SDM vol. 2. The return of a 64-bit kernel to 64-bit code at CPL 0 or 3 through flat descriptors is inline;
// everything else, faults included, is the helper's. The inline way reads frame and descriptors first and writes nothing before it is sure.
import type { Emitter, SemanticsTable, Value } from '#shared/translate/emitter.js';
import * as cpu from '#shared/x86/cpu-state.js';
import { AC, ARITHMETIC_FLAGS, DF, ID, IF, IOPL, NT, TF, VIF, VIP } from '#shared/x86/rflags.js';
import { leaveBy } from '#shared/x86/semantics/control-transfer.js';
import * as fast from '#shared/x86/semantics/fast-transfer.js';

const RSP = 4;
/** The descriptor of a flat data segment, accessed, DPL 0; and DPL 3 in descriptors. */
const DATA = 0x00cf_9300_0000_ffffn;
const DPL3 = 0x6000_0000_0000n;
/** What IRETQ at CPL 0 takes from the image but for RF, which lasts one instruction and only spares it a breakpoint. */
const RETURNED_FLAGS = DF | NT | AC | ID | IOPL | VIF | VIP | IF;
const ATTRIBUTE_P = 0x80;
const ATTRIBUTE_DPL = 0x60;
const DR7_ENABLES = 0xff;

interface Frame {
  readonly ip: Value;
  readonly code: Value;
  readonly flags: Value;
  readonly pointer: Value;
  readonly stack: Value;
}

function readFrame(e: Emitter): Frame {
  const top = e.readGpr(RSP, 64);
  const at = (index: number): Value => e.load(e.linear(cpu.SS, e.add(top, e.i64(index * 8)), 8, 'read'), 8);
  return { ip: at(0), code: at(1), flags: at(2), pointer: at(3), stack: at(4) };
}

/** i32: the selector's descriptor lies in the GDT and is the flat one. */
function isFlat(e: Emitter, selector: Value, descriptor: bigint): Value {
  const offset = e.and(selector, e.i64(0xfff8));
  return e.ifValue(
    e.leU(e.add(e.wrap(offset), e.i32(7)), e.getState('i32', cpu.GDTR_LIMIT)),
    'i32',
    () => {
      const entry = e.load(e.add(e.getState('i64', cpu.GDTR_BASE), offset), 8);
      return e.eq(entry, e.i64(descriptor));
    },
    () => e.i32(0),
  );
}

/** i32: the segment register holds nothing that an outer level may not keep. */
function mayKeep(e: Emitter, segment: number): Value {
  const attributes = e.getState('u16', cpu.SEGMENT + segment * cpu.SEGMENT_BYTES + cpu.SEGMENT_ATTRIBUTES);
  const absent = e.eqz(e.and(attributes, e.i32(ATTRIBUTE_P)));
  return e.or(absent, e.eq(e.and(attributes, e.i32(ATTRIBUTE_DPL)), e.i32(ATTRIBUTE_DPL)));
}

/** i32: the vCPU is in the state that the inline return is for. */
function isPlain(e: Emitter, flags: Value): Value {
  const odd = e.or(e.and(flags, e.i32(NT | AC)), e.getState('i32', cpu.NMI_STATE));
  const armed = e.and(e.getState('i32', cpu.DR + 7 * 8), e.i32(DR7_ENABLES));
  return e.and(fast.runsInline(e, 0, flags), e.eqz(e.or(odd, armed)));
}

/** i32: the frame's flags and target need nothing special. */
function isQuiet(e: Emitter, frame: Frame): Value {
  const image = e.wrap(frame.flags);
  const loud = e.or(e.and(image, e.i32(TF)), fast.unparks(e, image));
  return e.and(fast.isCanonical(e, frame.ip), e.eqz(loud));
}

function selectors(e: Emitter, frame: Frame): { code: Value; stack: Value } {
  return { code: e.and(e.wrap(frame.code), e.i32(0xffff)), stack: e.and(e.wrap(frame.stack), e.i32(0xffff)) };
}

/** RPL and table of both selectors are as expected: GDT, RPL = `cpl`. */
function areOfLevel(e: Emitter, frame: Frame, cpl: 0 | 3): Value {
  const { code, stack } = selectors(e, frame);
  const matches = (selector: Value): Value => e.eq(e.and(selector, e.i32(7)), e.i32(cpl));
  const notNull = (selector: Value): Value => e.ne(e.and(selector, e.i32(0xfffc)), e.i32(0));
  return e.and(e.and(matches(code), matches(stack)), e.and(notNull(code), notNull(stack)));
}

function commit(e: Emitter, frame: Frame, cpl: 0 | 3): void {
  const { code, stack } = selectors(e, frame);
  const image = e.wrap(frame.flags);
  e.writeGpr(RSP, 64, frame.pointer);
  e.writeArithmeticFlags(e.and(image, e.i32(ARITHMETIC_FLAGS)));
  e.setState('i32', cpu.RFLAGS_SYSTEM, e.and(image, e.i32(RETURNED_FLAGS)));
  fast.setFlatCode(e, cpl, code, stack);
}

/** To CPL 3: `flags` are those of before. */
function returnToUser(e: Emitter, frame: Frame, flags: Value): void {
  const kept = e.and(
    e.and(mayKeep(e, cpu.ES), mayKeep(e, cpu.DS)),
    e.and(mayKeep(e, cpu.FS), mayKeep(e, cpu.GS)),
  );
  e.if(e.and(kept, fast.jumpCacheFits(e, 3)), () => {
    const flat = e.and(
      isFlat(e, frame.code, fast.CODE64_DESCRIPTOR | DPL3),
      isFlat(e, frame.stack, DATA | DPL3),
    );
    e.if(flat, () => {
      commit(e, frame, 3);
      fast.leaveSupervisor(e, flags);
      e.jumpIndirect(frame.ip, 64);
    });
  });
}

/** To CPL 0, whose TLB set stays unless the flags' AC is set. */
function returnToSupervisor(e: Emitter, frame: Frame): void {
  e.if(e.eqz(e.and(e.wrap(frame.flags), e.i32(AC))), () => {
    const flat = e.and(isFlat(e, frame.code, fast.CODE64_DESCRIPTOR), isFlat(e, frame.stack, DATA));
    e.if(flat, () => {
      commit(e, frame, 0);
      e.jumpIndirect(frame.ip, 64);
    });
  });
}

function semIretq(e: Emitter): void {
  const flags = e.getState('i32', cpu.RFLAGS_SYSTEM);
  e.if(isPlain(e, flags), () => {
    const frame = readFrame(e);
    e.if(isQuiet(e, frame), () => {
      e.if(areOfLevel(e, frame, 3), () => returnToUser(e, frame, flags));
      e.if(areOfLevel(e, frame, 0), () => returnToSupervisor(e, frame));
    });
  });
  leaveBy(e, 'interruptReturn', [e.i32(64)]);
}

const ends = true;
const interruptReturn = (bits: number) => (e: Emitter) => leaveBy(e, 'interruptReturn', [e.i32(bits)]);

export const interruptReturnSemantics: SemanticsTable = {
  Iret: { sem: interruptReturn(16), endsBlock: ends },
  Iretd: { sem: interruptReturn(32), endsBlock: ends },
  Iretq: { sem: semIretq, endsBlock: ends },
};
