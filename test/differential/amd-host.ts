// Where an AMD host may answer otherwise than our processor, which is Intel's: what the manuals leave undefined, and what
// AMD's (APM: AMD64 Architecture Programmer's Manual, 24592 to 24594) says otherwise than Intel's (SDM). A row names the
// forms, and its rule leaves out as little as it can; every other result must be the same on both.

import iced from 'iced-x86';
import { ARITHMETIC_FLAGS, OF } from '#shared/x86/rflags.js';
import { SEMANTICS } from '#shared/x86/semantics/index.js';
import type { InstructionForm } from '#shared/translate/instruction-form.js';
import { destinationRegister, eachInstruction, operandAddress } from './case-instruction.js';
import { type Case, DATA, type Outcome } from './case-record.js';
import { faulted, formNamed, isMemoryFault } from './comparison.js';
import { type HostRules, type Latitude, NO_LATITUDE } from './latitude.js';

const { Code, OpKind, RflagsBits } = iced;

const LEGACY_PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
const [ADDRESS_SIZE, REPNE, REP] = [0x67, 0xf2, 0xf3] as const;
const REX_W = 8;
const LONG_CODE_SELECTOR = 0x30;
const X87_ERROR_SUMMARY = 0x80;
const GENERAL_PROTECTION = 13;
const PAGE_FAULT = 14;
const PAGE = 4096;
const PAGE_OFFSET = 4095n;
const TOP_OF_SEGMENT = 0xffffff00n;
/** Where bits 16 to 23 of MXCSR and of MXCSR_MASK are in an FXSAVE image. */
const [MXCSR_BYTE, MXCSR_MASK_BYTE] = [26, 30] as const;
const MXCSR_MM = 2;
const [RCX, RSP, RSI, RDI] = [1, 4, 6, 7] as const;
const UPPER_HALF = 0xffffffff00000000n;
const LOW_WORD = 0xffffn;

/**
 * APM vol. 3, LFS, JMP (Far), CALL (Far): a far pointer in memory has an offset of 16 or 32 bits, with REX.W too. SDM
 * vol. 2: with REX.W it has 64.
 */
function withoutRexW(c: Case): Case {
  const code = Uint8Array.from(c.code);
  const at = code.findIndex((byte) => !LEGACY_PREFIXES.has(byte));
  code[at]! &= ~REX_W;
  return { ...c, code };
}

/** APM vol. 3, PREFETCH: 0F 0D is defined with memory operands only. SDM vol. 2, appendix A: it is a reserved NOP with any. */
function withoutRegisterPrefetch(c: Case): Case {
  const [register] = eachInstruction(c, (instruction) => instruction.op0Kind === OpKind.Register);
  return register! ? { ...c, code: Uint8Array.of(0x0f, 0x0b) } : c;
}

const DECODINGS: readonly (readonly [RegExp, (c: Case) => Case])[] = [
  [/^(L[fgs]s_r64|Jmp|Call)_m1664/, withoutRexW],
  [/_0F0D$/, withoutRegisterPrefetch],
];

type Rule = (c: Case, host: Outcome, engine: Outcome) => Latitude | undefined;

/** The count of a shift or rotation as the processor masks it; undefined when it is in CL. */
function maskedCount(instruction: iced.Instruction): number | undefined {
  const last = instruction.opKind(instruction.opCount - 1);
  if (last !== OpKind.Immediate8) return undefined;
  return instruction.immediate8 & (formOf(instruction)?.bits === 64 ? 63 : 31);
}

function formOf(instruction: iced.Instruction): InstructionForm | undefined {
  return formNamed(Code[instruction.code]!);
}

/** A case's count, of one instruction: CL is what the case gives it. */
function countOf(c: Case): number {
  const [count] = eachInstruction(c, (instruction) => {
    const mask = formOf(instruction)?.bits === 64 ? 63 : 31;
    return maskedCount(instruction) ?? Number(c.gpr[RCX]! & 255n) & mask;
  });
  return count!;
}

/**
 * SDM vol. 2 and APM vol. 3, shifts and rotations: OF is undefined for masked counts other than 1 (and 0, which changes
 * nothing). In a sequence, an instruction that reads it then shows it in its results; one that writes it ends that.
 */
function openOverflow(c: Case, host: Outcome): Latitude | undefined {
  if (faulted(c, host)) return undefined;
  if (c.form !== 'sequence') return countOf(c) > 1 ? { flags: OF } : undefined;
  let open = false;
  let shown = false;
  eachInstruction(c, (instruction) => {
    const { rflagsRead, rflagsWritten, rflagsCleared, rflagsSet } = instruction;
    const row = SEMANTICS[formOf(instruction)?.mnemonic ?? ''];
    shown ||= open && (rflagsRead & RflagsBits.OF) !== 0;
    if (((row?.undefinedUnlessOne ?? 0) & OF) !== 0) {
      const count = maskedCount(instruction);
      if (count !== 0) open = count !== 1;
    } else if (((rflagsWritten | rflagsCleared | rflagsSet) & RflagsBits.OF) !== 0) open = false;
  });
  if (shown) return { all: true };
  return open ? { flags: OF } : undefined;
}

/** SDM vol. 2 and APM vol. 3, SHLD and SHRD: counts above the operand's size leave it and all flags undefined. */
function openDoubleShift(c: Case, host: Outcome): Latitude | undefined {
  if (faulted(c, host) || countOf(c) <= 16) return openOverflow(c, host);
  const [open] = eachInstruction(c, (instruction): Latitude => {
    const register = destinationRegister(instruction);
    if (register !== undefined) return { registers: new Map([[register, LOW_WORD]]) };
    return { memory: [[Number(operandAddress(c, instruction)) - DATA, 2]] };
  });
  return { ...open, flags: ARITHMETIC_FLAGS };
}

/**
 * SDM vol. 2, PUSH of a segment register with a 32-bit operand: a zero-extended selector, or a 16-bit move that leaves
 * the upper half as it was; recent Intel processors do the latter. APM vol. 3, PUSH: zero-extended.
 */
function openPushedSelector(c: Case, host: Outcome, engine: Outcome): Latitude | undefined {
  const top = stackTop(c, c.gpr[RSP]! - 4n);
  if (!faulted(c, host)) return { memory: [[Number(top) + 2 - DATA, 2]] };
  return openWideAccess(top, 4, c, host, engine);
}

/** Linear address of a place on the stack. */
function stackTop(c: Case, pointer: bigint): bigint {
  return c.mode === 16 ? BigInt(DATA) + (pointer & LOW_WORD) : BigInt.asUintN(c.mode, pointer);
}

/** APM vol. 1, MXCSR: bit 17, MM, masks the faults of misaligned operands; AMD's MXCSR_MASK in an FXSAVE image has it. SDM: reserved. */
function openMxcsrMask(c: Case, host: Outcome): Latitude | undefined {
  if (faulted(c, host)) return undefined;
  const [address] = eachInstruction(c, (instruction) => operandAddress(c, instruction));
  return { memory: [[Number(address) - DATA + MXCSR_MASK_BYTE, 1]] };
}

/** The same bit loaded, where Intel's fault. */
function openMisalignedMask(_: Case, host: Outcome): Latitude | undefined {
  return (host.fx[MXCSR_BYTE]! & MXCSR_MM) !== 0 ? { all: true } : undefined;
}

/** SDM vol. 2, DPPS and DPPD: which of several NaNs goes through the sum is implementation-dependent. */
const openNans =
  (bits: 32 | 64): Rule =>
  () => ({ nans: bits });

/** A store whose unmasked exception keeps it from storing: AMD's check the address all the same, and that fault goes first. */
function openStoreOrder(c: Case, host: Outcome, engine: Outcome): Latitude | undefined {
  const pending = (engine.fx[2]! & X87_ERROR_SUMMARY) !== 0 && (host.fx[2]! & X87_ERROR_SUMMARY) === 0;
  return pending && faulted(c, host) && isMemoryFault(host) && !faulted(c, engine)
    ? { all: true }
    : undefined;
}

/**
 * APM vol. 3, RETF and IRET: the whole return RIP is held against the limit of a compatibility-mode code segment. Intel's
 * take its low half.
 */
function openReturnLimit(c: Case, host: Outcome, engine: Outcome): Latitude | undefined {
  const refused = host.trap === GENERAL_PROTECTION && host.error === 0 && faulted(c, host);
  return refused && (engine.selectors[1]! & ~3) !== LONG_CODE_SELECTOR ? { all: true } : undefined;
}

/**
 * Strings. Intel's clear the upper halves of their registers when a repetition with a 32-bit address size begins (no
 * manual says so), AMD's when they write them. CMPS and MOVS: where both operands fault, either may be reported.
 */
function openString(c: Case, host: Outcome, engine: Outcome): Latitude | undefined {
  const early = faulted(c, host);
  const fault = early && faulted(c, engine) && isMemoryFault(host) && isMemoryFault(engine);
  const either = fault && /^(Cmps|Movs)/.test(c.form) ? ({ fault: true } as const) : undefined;
  const narrow = c.code.includes(ADDRESS_SIZE) && (c.code.includes(REP) || c.code.includes(REPNE));
  if (c.mode !== 64 || !narrow || !(early || BigInt.asUintN(32, c.gpr[RCX]!) === 0n)) return either;
  const untouched = [RCX, RSI, RDI].filter((register) => host.gpr[register] === c.gpr[register]);
  return { ...either, registers: new Map(untouched.map((register) => [register, UPPER_HALF])) };
}

/** AMD's access all of an operand of which Intel's access the part that they need: what lies in the next page may fault. */
function openWideAccess(
  address: bigint,
  bytes: number,
  c: Case,
  host: Outcome,
  engine: Outcome,
): Latitude | undefined {
  const crosses = Number(address & PAGE_OFFSET) + bytes > PAGE;
  if (!crosses || !faulted(c, host) || !isMemoryFault(host)) return undefined;
  return faulted(c, engine) && isMemoryFault(engine) ? { fault: true } : { all: true };
}

/** APM vol. 3, MOVSXD: the source has 32 bits. SDM vol. 2: it has 16 with a 16-bit operand size. */
function openExtendedSource(c: Case, host: Outcome, engine: Outcome): Latitude | undefined {
  const [address] = eachInstruction(c, (instruction) => operandAddress(c, instruction));
  return openWideAccess(address!, 4, c, host, engine);
}

/** SDM vol. 2, POP of a segment register: the upper part of the operand is not read by all processors. APM vol. 3, POP: it is popped. */
function openPoppedSelector(c: Case, host: Outcome, engine: Outcome): Latitude | undefined {
  const bytes = /^Popq/.test(c.form) ? 8 : 4;
  return openWideAccess(stackTop(c, c.gpr[RSP]!), bytes, c, host, engine);
}

/** SDM vol. 3 §5.3: whether an access across the 4 GiB limit of a segment faults is implementation-specific. */
function openTopOfSegment(c: Case, host: Outcome, engine: Outcome): Latitude | undefined {
  if (c.mode !== 32 || !faulted(c, host) || !faulted(c, engine) || engine.trap !== PAGE_FAULT)
    return undefined;
  const atTop = engine.cr2 === 0n || engine.cr2 > TOP_OF_SEGMENT;
  return atTop && isMemoryFault(host) ? { fault: true } : undefined;
}

const ROWS: readonly (readonly [RegExp, Rule])[] = [
  [/^Sh[lr]d_rm16/, openDoubleShift],
  [/^(sequence$|(Sh[lr]|Sal|Ro[lr]|Rc[lr]|Sh[lr]d)_)/, openOverflow],
  [/^Pushd_[C-GS]S$/, openPushedSelector],
  [/^Pop[dq]_[D-GS]S$/, openPoppedSelector],
  [/^Movsxd_r16_rm16$/, openExtendedSource],
  [/^Fxsave/, openMxcsrMask],
  [/^(Ldmxcsr|Fxrstor)/, openMisalignedMask],
  [/^Dpps/, openNans(32)],
  [/^Dppd/, openNans(64)],
  [/^F(isttp|istp?|stp?|bstp)_m/, openStoreOrder],
  [/^(Retf|Iret)q/, openReturnLimit],
  [/^(Movs|Cmps|Stos|Lods|Scas)[bwdq]_/, openString],
  [/./, openTopOfSegment],
];

export const AMD_HOST: HostRules = {
  decoded(c) {
    const row = DECODINGS.find(([form]) => form.test(c.form));
    return row === undefined ? c : row[1](c);
  },
  latitude(c, host, engine) {
    for (const [form, rule] of ROWS) {
      const latitude = form.test(c.form) ? rule(c, host, engine) : undefined;
      if (latitude !== undefined) return latitude;
    }
    return NO_LATITUDE;
  },
};
