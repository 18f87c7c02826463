// CLC STC CMC CLD STD CLI STI LAHF SAHF PUSHF POPF SALC. Intel SDM vol. 2; CR4.VME and CR4.PVI are left out.
// POPF stays inline unless TF or AC changes: those are part of the mode that code runs under.
import type { Emitter, OperandBits, Operands, SemanticsTable, Value } from '#shared/translate/emitter.js';
import {
  CPL,
  INTERRUPT_SHADOW,
  IRQ_PARKED,
  RFLAGS_SYSTEM,
  SHADOW_IP,
  SHADOW_STI,
} from '#shared/x86/cpu-state.js';
import {
  AC,
  ARITHMETIC_FLAGS,
  DF,
  ID,
  IF,
  IOPL,
  IOPL_SHIFT,
  NT,
  RFLAGS_FIXED,
  RF,
  TF,
  VM,
} from '#shared/x86/rflags.js';

const GENERAL_PROTECTION = 13;
const RAX = 0;

function setSystemFlags(e: Emitter, flags: Value): void {
  e.setState('i32', RFLAGS_SYSTEM, flags);
}

/** i32 1 when CPL ≤ IOPL. */
function mayChangeInterruptFlag(e: Emitter, flags: Value): Value {
  const level = e.and(e.shrU(flags, e.i32(IOPL_SHIFT)), e.i32(3));
  return e.leU(e.getState('i32', CPL), level);
}

function semCli(e: Emitter): void {
  const flags = e.getState('i32', RFLAGS_SYSTEM);
  e.if(e.eqz(mayChangeInterruptFlag(e, flags)), () => e.raise(GENERAL_PROTECTION, 0));
  setSystemFlags(e, e.and(flags, e.i32(~IF)));
}

/** An interrupt that waited for IF = 1 becomes pending again. */
export function unparkInterrupt(e: Emitter): void {
  e.if(e.getState('i32', IRQ_PARKED), () => e.helper('unparkInterrupt'));
}

function semSti(e: Emitter): void {
  const flags = e.getState('i32', RFLAGS_SYSTEM);
  e.if(e.eqz(mayChangeInterruptFlag(e, flags)), () => e.raise(GENERAL_PROTECTION, 0));
  e.if(e.eqz(e.and(flags, e.i32(IF))), () => {
    setSystemFlags(e, e.or(flags, e.i32(IF)));
    e.setState('i32', INTERRUPT_SHADOW, e.i32(SHADOW_STI));
    e.setState('i64', SHADOW_IP, e.nextIp());
    unparkInterrupt(e);
  });
  e.endBlock();
}

function changeDirection(set: boolean) {
  return (e: Emitter): void => {
    const flags = e.getState('i32', RFLAGS_SYSTEM);
    setSystemFlags(e, set ? e.or(flags, e.i32(DF)) : e.and(flags, e.i32(~DF)));
  };
}

function semLahf(e: Emitter): void {
  const image = e.or(e.and(e.readArithmeticFlags(), e.i32(0xd5)), e.i32(RFLAGS_FIXED));
  e.writeGpr(RAX, 16, e.or(e.readGpr(RAX, 8), e.shl(image, e.i32(8))));
}

function semSahf(e: Emitter): void {
  const image = e.and(e.shrU(e.readGpr(RAX, 16), e.i32(8)), e.i32(0xd5));
  const overflow = e.shl(e.getFlag('of'), e.i32(11));
  e.writeArithmeticFlags(e.or(image, overflow));
}

function semSalc(e: Emitter): void {
  e.writeGpr(RAX, 8, e.sub(e.i32(0), e.getFlag('cf')));
}

/** PUSHF and POPF need IOPL 3 in virtual-8086 mode, which has no 64-bit operands. */
function checkVirtual8086(e: Emitter, bits: OperandBits): void {
  if (bits === 64) return;
  const flags = e.getState('i32', RFLAGS_SYSTEM);
  const refused = e.and(
    e.ne(e.and(flags, e.i32(VM)), e.i32(0)),
    e.ne(e.and(flags, e.i32(IOPL)), e.i32(IOPL)),
  );
  e.if(refused, () => e.raise(GENERAL_PROTECTION, 0));
}

function pushFlags(bits: OperandBits) {
  return (e: Emitter): void => {
    checkVirtual8086(e, bits);
    const system = e.and(e.getState('i32', RFLAGS_SYSTEM), e.i32(~(RF | VM)));
    const image = e.or(e.or(e.readArithmeticFlags(), system), e.i32(RFLAGS_FIXED));
    e.push(e.toBits(image, bits), bits);
  };
}

/** The bits of RFLAGS_SYSTEM that a POPF of `bits` may change at this privilege (i32 mask). */
function changeableFlags(e: Emitter, flags: Value, bits: OperandBits): Value {
  const always = (TF | DF | NT | AC | ID) & (bits === 16 ? 0xffff : -1);
  const interrupt = e.select(mayChangeInterruptFlag(e, flags), e.i32(always | IF), e.i32(always));
  return e.select(e.getState('i32', CPL), interrupt, e.i32(always | IF | IOPL));
}

function popFlags(bits: OperandBits) {
  return (e: Emitter, _op: Operands): void => {
    checkVirtual8086(e, bits);
    const { value, commit } = e.pop(bits);
    const image = e.toBits(value, 32);
    const flags = e.getState('i32', RFLAGS_SYSTEM);
    const mask = changeableFlags(e, flags, bits);
    const changed = e.and(e.xor(image, flags), mask);
    const next = e.and(e.xor(flags, changed), e.i32(~RF));
    commit();
    e.writeArithmeticFlags(e.and(image, e.i32(ARITHMETIC_FLAGS)));
    setSystemFlags(e, next);
    e.if(e.and(changed, e.i32(TF | AC)), () => e.helper('systemFlagsChanged'));
    e.if(e.and(e.and(changed, next), e.i32(IF)), () => unparkInterrupt(e));
    e.endBlock();
  };
}

export const flagSemantics: SemanticsTable = {
  Clc: { sem: (e) => e.writeFlags({ cf: e.i32(0) }) },
  Stc: { sem: (e) => e.writeFlags({ cf: e.i32(1) }) },
  Cmc: { sem: (e) => e.writeFlags({ cf: e.eqz(e.getFlag('cf')) }) },
  Cld: { sem: changeDirection(false) },
  Std: { sem: changeDirection(true) },
  Cli: { sem: semCli, notOnHost: 'privileged' },
  Sti: { sem: semSti, endsBlock: true, notOnHost: 'privileged' },
  Lahf: { sem: semLahf },
  Sahf: { sem: semSahf },
  Salc: { sem: semSalc },
  Pushf: { sem: pushFlags(16), modeSensitive: true, notOnHost: 'shows IF and IOPL' },
  Pushfd: { sem: pushFlags(32), modeSensitive: true, notOnHost: 'shows IF and IOPL' },
  Pushfq: { sem: pushFlags(64), modeSensitive: true, notOnHost: 'shows IF and IOPL' },
  Popf: { sem: popFlags(16), modeSensitive: true, endsBlock: true },
  Popfd: { sem: popFlags(32), modeSensitive: true, endsBlock: true },
  Popfq: { sem: popFlags(64), modeSensitive: true, endsBlock: true },
};
