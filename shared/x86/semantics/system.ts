// System instructions: descriptor tables, MSRs, CPUID and time, ports, TLB, SWAPGS, STAC and CLAC. Intel SDM vol. 2.
// UMIP, XSAVE, MONITOR, PCID, FSGSBASE and VMX are not announced: what only they bring is absent here and so #UD.
// Helpers pass results in HELPER_ARG0 (and success in HELPER_ARG2) and find the next instruction's address in HELPER_ARG1.
import type { Emitter, Operands, SemanticsEntry, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { TLB_SET_BYTES } from '#shared/translate/op-record.js';
import * as cpu from '#shared/x86/cpu-state.js';
import { AC, VM } from '#shared/x86/rflags.js';
import { AC_SHIFT } from '#shared/x86/semantics/fast-transfer.js';

const UNDEFINED_OPCODE = 6;
const GENERAL_PROTECTION = 13;
const GS_BASE = cpu.SEGMENT + cpu.GS * cpu.SEGMENT_BYTES + cpu.SEGMENT_BASE;

function requireSupervisor(e: Emitter): void {
  e.if(e.getState('i32', cpu.CPL), () => e.raise(GENERAL_PROTECTION, 0));
}

/** LLDT, LTR, LAR, LSL, VERR, VERW, SLDT, STR, ARPL are undefined in real and virtual-8086 mode. */
function requireProtectedMode(e: Emitter): void {
  e.if(e.and(e.getState('i32', cpu.RFLAGS_SYSTEM), e.i32(VM)), () => e.raise(UNDEFINED_OPCODE));
  e.if(e.eqz(e.and(e.wrap(e.getState('i64', cpu.CR0)), e.i32(1))), () => e.raise(UNDEFINED_OPCODE));
}

function selector16(e: Emitter, op: Operands, index: number): Value {
  return e.and(e.toBits(op.readLow(index, 16), 32), e.i32(0xffff));
}

/** The form for 64-bit code has no operand size of its own. */
function baseBytes(op: Operands): 4 | 8 {
  return op.bits === 16 || op.bits === 32 ? 4 : 8;
}

function storeTable(base: number, limit: number) {
  return (e: Emitter, op: Operands): void => {
    const bytes = baseBytes(op);
    const address = op.linearAddress(0, bytes + 2, 'write');
    e.store(address, 2, e.getState('u16', limit));
    const value = e.getState('i64', base);
    e.store(e.add(address, e.i64(2)), bytes, bytes === 8 ? value : e.wrap(value));
  };
}

function loadTable(base: number, limit: number) {
  return (e: Emitter, op: Operands): void => {
    requireSupervisor(e);
    const bytes = baseBytes(op);
    const address = op.linearAddress(0, bytes + 2, 'read');
    const newLimit = e.load(address, 2);
    const loaded = e.toBits(e.load(e.add(address, e.i64(2)), bytes), 64);
    const newBase = op.bits === 16 ? e.and(loaded, e.i64(0xff_ffff)) : loaded;
    if (bytes === 8) {
      e.if(e.ne(e.signExtend(newBase, 48), newBase), () => e.raise(GENERAL_PROTECTION, 0));
    }
    e.setState('i64', base, newBase);
    e.setState('i32', limit, newLimit);
  };
}

function storeSelector(segment: number) {
  const offset = cpu.SEGMENT + segment * cpu.SEGMENT_BYTES + cpu.SEGMENT_SELECTOR;
  return (e: Emitter, op: Operands): void => {
    requireProtectedMode(e);
    op.write(0, e.toBits(e.getState('u16', offset), op.bitsOf(0)));
  };
}

function loadSystemSegment(helper: string) {
  return (e: Emitter, op: Operands): void => {
    requireProtectedMode(e);
    requireSupervisor(e);
    e.helper(helper, [selector16(e, op, 0)]);
  };
}

/** LAR and LSL: the helper tells whether the selector was good. */
function queryDescriptor(helper: string) {
  return (e: Emitter, op: Operands): void => {
    requireProtectedMode(e);
    e.helper(helper, [selector16(e, op, 1)]);
    const good = e.getState('i32', cpu.HELPER_ARG2);
    e.if(good, () => op.write(0, e.toBits(e.getState('i64', cpu.HELPER_ARG0), op.bits)));
    e.writeFlags({ zf: good });
  };
}

function verify(helper: string) {
  return (e: Emitter, op: Operands): void => {
    requireProtectedMode(e);
    e.helper(helper, [selector16(e, op, 0)]);
    e.writeFlags({ zf: e.getState('i32', cpu.HELPER_ARG2) });
  };
}

function semArpl(e: Emitter, op: Operands): void {
  requireProtectedMode(e);
  const source = e.and(op.read(1), e.i32(3));
  const old = op.read(0);
  const adjust = e.ltU(e.and(old, e.i32(3)), source);
  // Memory is written only when it changes.
  e.if(adjust, () => op.write(0, e.or(e.and(old, e.i32(~3)), source)));
  e.writeFlags({ zf: adjust });
}

function semSmsw(e: Emitter, op: Operands): void {
  op.write(0, e.toBits(e.getState('i64', cpu.CR0), op.bitsOf(0)));
}

function semLmsw(e: Emitter, op: Operands): void {
  requireSupervisor(e);
  const value = selector16(e, op, 0);
  e.setState('i64', cpu.HELPER_ARG1, e.nextIp());
  e.helper('loadMachineStatusWord', [value], { ends: true });
}

function semClts(e: Emitter): void {
  requireSupervisor(e);
  e.helper('clearTaskSwitched');
}

function semSwapgs(e: Emitter): void {
  requireSupervisor(e);
  const base = e.getState('i64', GS_BASE);
  e.setState('i64', GS_BASE, e.getState('i64', cpu.KERNEL_GS_BASE));
  e.setState('i64', cpu.KERNEL_GS_BASE, base);
}

function semWrmsr(e: Emitter): void {
  requireSupervisor(e);
  e.setState('i64', cpu.HELPER_ARG1, e.nextIp());
  e.helper('writeMsr');
  e.endBlock();
}

function semRdmsr(e: Emitter): void {
  requireSupervisor(e);
  e.helper('readMsr');
}

function semRdpmc(e: Emitter): void {
  e.raise(GENERAL_PROTECTION, 0);
}

function semInvlpg(e: Emitter, op: Operands): void {
  requireSupervisor(e);
  e.setState('i64', cpu.HELPER_ARG0, op.linearAddress(0, 1, 'read'));
  e.helper('invalidatePage');
  e.endBlock();
}

function setAccessCheck(allow: boolean) {
  return (e: Emitter): void => {
    e.if(e.getState('i32', cpu.CPL), () => e.raise(UNDEFINED_OPCODE));
    const flags = e.getState('i32', cpu.RFLAGS_SYSTEM);
    const next = allow ? e.or(flags, e.i32(AC)) : e.and(flags, e.i32(~AC));
    // The set without SMAP follows the one with it.
    const moved = e.mul(e.shrS(e.sub(next, flags), e.i32(AC_SHIFT)), e.i32(TLB_SET_BYTES));
    e.setState('i32', cpu.RFLAGS_SYSTEM, next);
    e.setState('i32', cpu.TLB_BASE, e.add(e.getState('i32', cpu.TLB_BASE), moved));
  };
}

/** A port number operand: DX or an immediate. */
function portNumber(e: Emitter, op: Operands, index: number): Value {
  const mask = op.kind(index) === 'immediate' ? 0xff : 0xffff;
  return e.and(e.toBits(op.read(index), 32), e.i32(mask));
}

function semIn(e: Emitter, op: Operands): void {
  e.helper('portIn', [portNumber(e, op, 1), e.i32(op.bitsOf(0) / 8)]);
  op.write(0, e.getState('i32', cpu.HELPER_ARG0));
}

function semOut(e: Emitter, op: Operands): void {
  e.helper('portOut', [portNumber(e, op, 0), e.i32(op.bitsOf(1) / 8), op.read(1)]);
}

/** By a helper that writes the registers itself. */
function byHelper(name: string) {
  return (e: Emitter): void => e.helper(name);
}

/** CPUID serialises: what another processor wrote before is fetched after it, so the block ends and pending work is seen. SDM vol. 3 §9.3. */
function semCpuid(e: Emitter): void {
  e.helper('cpuid');
  e.endBlock();
}

/** iced-x86 takes it for a call: it ends the block. */
function semHypercall(e: Emitter): void {
  e.helper('hypercall');
  e.endBlock();
}

const PRIVILEGED = 'privileged';
const OWN_TABLES = "shows the host's tables";
const OWN_TIME = 'shows the host';

const table: Record<string, SemanticsEntry> = {
  Sgdt: { sem: storeTable(cpu.GDTR_BASE, cpu.GDTR_LIMIT), notOnHost: OWN_TABLES },
  Sidt: { sem: storeTable(cpu.IDTR_BASE, cpu.IDTR_LIMIT), notOnHost: OWN_TABLES },
  Lgdt: { sem: loadTable(cpu.GDTR_BASE, cpu.GDTR_LIMIT), notOnHost: PRIVILEGED },
  Lidt: { sem: loadTable(cpu.IDTR_BASE, cpu.IDTR_LIMIT), notOnHost: PRIVILEGED },
  Sldt: { sem: storeSelector(cpu.LDTR), notOnHost: OWN_TABLES },
  Str: { sem: storeSelector(cpu.TR), notOnHost: OWN_TABLES },
  Lldt: { sem: loadSystemSegment('loadLocalDescriptorTable'), notOnHost: PRIVILEGED },
  Ltr: { sem: loadSystemSegment('loadTaskRegister'), notOnHost: PRIVILEGED },
  Lar: { sem: queryDescriptor('loadAccessRights'), notOnHost: OWN_TABLES },
  Lsl: { sem: queryDescriptor('loadSegmentLimit'), notOnHost: OWN_TABLES },
  Verr: { sem: verify('verifyRead'), notOnHost: OWN_TABLES },
  Verw: { sem: verify('verifyWrite'), notOnHost: OWN_TABLES },
  Arpl: { sem: semArpl },
  Smsw: { sem: semSmsw, notOnHost: OWN_TABLES },
  Lmsw: { sem: semLmsw, endsBlock: true, notOnHost: PRIVILEGED },
  Clts: { sem: semClts, notOnHost: PRIVILEGED },
  Swapgs: { sem: semSwapgs, notOnHost: PRIVILEGED },
  Wrmsr: { sem: semWrmsr, endsBlock: true, notOnHost: PRIVILEGED },
  Rdmsr: { sem: semRdmsr, notOnHost: PRIVILEGED },
  Rdpmc: { sem: semRdpmc, endsBlock: true, notOnHost: PRIVILEGED },
  Invlpg: { sem: semInvlpg, endsBlock: true, notOnHost: PRIVILEGED },
  Stac: { sem: setAccessCheck(true), notOnHost: PRIVILEGED },
  Clac: { sem: setAccessCheck(false), notOnHost: PRIVILEGED },
  In: { sem: semIn, notOnHost: 'reaches a port' },
  Out: { sem: semOut, notOnHost: 'reaches a port' },
  Vmcall: { sem: semHypercall, endsBlock: true, notOnHost: OWN_TIME },
  Vmmcall: { sem: semHypercall, endsBlock: true, notOnHost: OWN_TIME },
  Cpuid: { sem: semCpuid, endsBlock: true, notOnHost: OWN_TIME },
  Rdtsc: { sem: byHelper('readTimeStampCounter'), notOnHost: OWN_TIME },
  Rdtscp: { sem: byHelper('readTimeStampCounterAndProcessor'), notOnHost: OWN_TIME },
};

export const systemSemantics: SemanticsTable = table;
