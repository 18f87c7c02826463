// SYSCALL, SYSRET, SYSENTER, SYSEXIT. Intel SDM vol. 2, vol. 3 §5.8.7–5.8.8. A 64-bit program's SYSCALL and the SYSRET back to it are
// inline; other modes and levels, single steps and faults are the helpers'.
import { EFER_SCE } from '#shared/x86/msr-index.js';
import type { Emitter, SemanticsTable, Value } from '#shared/translate/emitter.js';
import * as cpu from '#shared/x86/cpu-state.js';
import { ARITHMETIC_FLAGS, RF, RFLAGS_FIXED, TF, VM } from '#shared/x86/rflags.js';
import { leaveBy } from '#shared/x86/semantics/control-transfer.js';
import * as fast from '#shared/x86/semantics/fast-transfer.js';

const RCX = 1;
const R11 = 11;
/** What SYSRET takes from R11. */
const SYSRET_FLAGS = 0x3c7fd7 & ~(RF | VM);
const SYSRET_SYSTEM_FLAGS = SYSRET_FLAGS & ~(ARITHMETIC_FLAGS | RFLAGS_FIXED);

function callsAllowed(e: Emitter): Value {
  return e.and(e.getState('i32', cpu.EFER), e.i32(EFER_SCE));
}

/** A selector of STAR's: its RPL goes. */
function starSelector(e: Emitter, shift: 0 | 16, offset: number): Value {
  const base = e.shrU(e.getState('i32', cpu.STAR + 4), e.i32(shift));
  return e.and(e.add(base, e.i32(offset)), e.i32(0xfffc));
}

function semSyscall(e: Emitter): void {
  const flags = e.getState('i32', cpu.RFLAGS_SYSTEM);
  const inline = e.and(fast.runsInline(e, 3, flags), e.and(callsAllowed(e), fast.jumpCacheFits(e, 0)));
  e.if(e.eqz(inline), () => leaveBy(e, 'syscall'));
  const system = e.and(flags, e.i32(~RF));
  const arithmetic = e.readArithmeticFlags();
  const kept = e.xor(e.getState('i32', cpu.FMASK), e.i32(-1));
  const next = e.and(system, kept);
  e.writeGpr(RCX, 64, e.nextIp());
  e.writeGpr(R11, 64, e.extendU(e.or(e.or(system, arithmetic), e.i32(RFLAGS_FIXED))));
  e.writeArithmeticFlags(e.and(arithmetic, kept));
  e.setState('i32', cpu.RFLAGS_SYSTEM, next);
  fast.setFlatCode(e, 0, starSelector(e, 0, 0), starSelector(e, 0, 8));
  fast.enterSupervisor(e, next);
  e.jumpIndirect(e.getState('i64', cpu.LSTAR), 64);
}

function semSysret(e: Emitter): void {
  const target = e.readGpr(RCX, 64);
  const image = e.readGpr(R11, 32);
  const flags = e.getState('i32', cpu.RFLAGS_SYSTEM);
  const next = e.and(image, e.i32(SYSRET_SYSTEM_FLAGS));
  const quiet = e.eqz(e.or(e.and(image, e.i32(TF)), fast.unparks(e, next)));
  const allowed = e.and(callsAllowed(e), e.and(fast.jumpCacheFits(e, 3), fast.isCanonical(e, target)));
  const inline = e.and(fast.runsInline(e, 0, flags), e.and(allowed, quiet));
  e.if(e.eqz(inline), () => leaveBy(e, 'sysret', [e.i32(64)]));
  e.writeArithmeticFlags(e.and(image, e.i32(ARITHMETIC_FLAGS)));
  e.setState('i32', cpu.RFLAGS_SYSTEM, next);
  fast.setFlatCode(e, 3, e.or(starSelector(e, 16, 16), e.i32(3)), e.or(starSelector(e, 16, 8), e.i32(3)));
  fast.leaveSupervisor(e, flags);
  e.jumpIndirect(target, 64);
}

const ends = true;

export const systemCallSemantics: SemanticsTable = {
  Syscall: { sem: semSyscall, endsBlock: ends, notOnHost: 'enters the kernel' },
  Sysret: { sem: (e) => leaveBy(e, 'sysret', [e.i32(32)]), endsBlock: ends, notOnHost: 'privileged' },
  Sysretq: { sem: semSysret, endsBlock: ends, notOnHost: 'privileged' },
  Sysenter: { sem: (e) => leaveBy(e, 'sysenter'), endsBlock: ends, notOnHost: 'enters the kernel' },
  Sysexit: { sem: (e) => leaveBy(e, 'sysexit', [e.i32(32)]), endsBlock: ends, notOnHost: 'privileged' },
  Sysexitq: { sem: (e) => leaveBy(e, 'sysexit', [e.i32(64)]), endsBlock: ends, notOnHost: 'privileged' },
};
