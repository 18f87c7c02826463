// Machine code for an instruction form: what iced-x86's OpCodeInfo says of its prefixes, opcode bytes, ModRM and
// immediates, with every free choice made at random. The generator lets the decoder confirm each result.

import iced from 'iced-x86';
import type { Prng } from '#shared/base/prng.js';
import type { InstructionForm } from '#shared/translate/instruction-form.js';
import type { CaseMode } from './case-record.js';

const { CodeExt, MandatoryPrefix, OpCodeOperandKind, OpCodeTableKind } = iced;

/** How a memory operand came out. */
export interface MemoryReference {
  /** Register numbers; −1: none. */
  readonly base: number;
  readonly index: number;
  readonly scale: number;
  readonly displacement: number;
  /** Offset in the code of a RIP-relative or absolute displacement that the caller fills in; −1: none. */
  readonly fixupAt: number;
  readonly fixupBytes: number;
  readonly fixup: 'rip' | 'absolute' | 'none';
  readonly addressBits: 16 | 32 | 64;
  /** 4, 5: FS, GS override. */
  readonly segment: number;
}

export interface EncodedInstruction {
  readonly bytes: number[];
  readonly memory: MemoryReference | undefined;
  /** ModRM.reg with REX.R. */
  readonly reg: number;
  readonly rm: number;
  readonly lock: boolean;
  readonly repeat: 'none' | 'rep' | 'repne';
  /** Address size of implicit operands. */
  readonly addressBits: 16 | 32 | 64;
  /** Offset and size of a near branch's displacement; −1: none. */
  readonly branchAt: number;
  readonly branchBytes: number;
}

interface Plan {
  readonly form: InstructionForm;
  readonly prefix: number;
  readonly table: readonly number[];
  readonly opcode: readonly number[];
  readonly hasModRm: boolean;
  readonly regDigit: number;
  readonly rmDigit: number;
  readonly rm: 'memory' | 'register' | 'any' | 'none';
  /** Adds a register number to the last opcode byte. */
  readonly opcodeRegister: boolean;
  readonly regLimit: number;
  readonly rmLimit: number;
  readonly operandSize: number;
  readonly default64: boolean;
  readonly w: number;
  readonly addressSize: number;
  readonly immediates: readonly number[];
  readonly branchBytes: number;
  readonly moffs: boolean;
  readonly lockable: boolean;
  readonly implicitMemory: boolean;
}

const IMMEDIATE_BYTES: Readonly<Record<string, number>> = {
  imm8: 1, imm8sex16: 1, imm8sex32: 1, imm8sex64: 1, imm16: 2, imm32: 4, imm32sex64: 4, imm64: 8, farbr2_2: 4, farbr4_2: 6,
}; // prettier-ignore
const BRANCH_BYTES: Readonly<Record<string, number>> = {
  br16_1: 1,
  br32_1: 1,
  br64_1: 1,
  br16_2: 2,
  br32_4: 4,
  br64_4: 4,
};
const PREFIX_BYTE = new Map<number, number>([
  [MandatoryPrefix.P66, 0x66],
  [MandatoryPrefix.PF3, 0xf3],
  [MandatoryPrefix.PF2, 0xf2],
]);
const TABLE_BYTES = new Map<number, readonly number[]>([
  [OpCodeTableKind.Normal, []],
  [OpCodeTableKind.T0F, [0x0f]],
  [OpCodeTableKind.T0F38, [0x0f, 0x38]],
  [OpCodeTableKind.T0F3A, [0x0f, 0x3a]],
]);
/** Registers 8 to 15 of these do not exist. */
const EIGHT_ONLY = /^(mm|seg|st)/;

function planOf(form: InstructionForm): Plan {
  const info = CodeExt.opCode(form.code);
  const kinds = Array.from({ length: info.opCount }, (_, i) => OpCodeOperandKind[info.opKind(i)]!);
  const reg = kinds.find((k) => /_reg$/.test(k));
  const rm = kinds.find((k) => /(_rm|_or_mem|^mem)$/.test(k));
  const digits = info.isGroup ? info.groupIndex : -1;
  const rmDigits = info.isRmGroup ? info.rmGroupIndex : -1;
  const hasModRm = reg !== undefined || rm !== undefined || digits >= 0 || rmDigits >= 0;
  const long = info.opCodeLength === 2;
  const limit = (kind: string | undefined): number =>
    kind === undefined ? 16 : kind === 'seg_reg' ? 6 : EIGHT_ONLY.test(kind) ? 8 : 16;
  return {
    form,
    prefix: PREFIX_BYTE.get(info.mandatoryPrefix) ?? 0,
    table: TABLE_BYTES.get(info.table) ?? [],
    opcode: long ? [info.opCode >> 8, info.opCode & 255] : [info.opCode & 255],
    hasModRm,
    regDigit: digits,
    rmDigit: rmDigits,
    rm:
      rm === undefined
        ? hasModRm
          ? 'register'
          : 'none'
        : rm === 'mem'
          ? 'memory'
          : /_rm$/.test(rm)
            ? 'register'
            : 'any',
    opcodeRegister: kinds.some((k) => /_opcode$/.test(k)),
    regLimit: limit(reg),
    rmLimit: limit(rm),
    operandSize: info.operandSize,
    default64: info.defaultOpSize64 || info.forceOpSize64,
    w: info.W,
    addressSize: info.addressSize,
    immediates: kinds.flatMap((k) => IMMEDIATE_BYTES[k] ?? []),
    branchBytes: kinds.map((k) => BRANCH_BYTES[k]).find((n) => n !== undefined) ?? 0,
    moffs: kinds.includes('mem_offs'),
    lockable: info.canUseLockPrefix,
    implicitMemory: kinds.some((k) => /^(seg|es)_r/.test(k)),
  };
}

const plans = new Map<number, Plan>();

function plan(form: InstructionForm): Plan {
  let made = plans.get(form.code);
  if (made === undefined) plans.set(form.code, (made = planOf(form)));
  return made;
}

const oneIn = (prng: Prng, n: number): boolean => prng.below(n) === 0;

interface Draft {
  rex: number;
  modRm: number[];
  memory: MemoryReference | undefined;
  reg: number;
  rm: number;
}

function pushNumber(bytes: number[], value: number, length: number): void {
  for (let i = 0; i < length; i++) bytes.push(i < 4 ? (value >>> (8 * i)) & 255 : value < 0 ? 255 : 0);
}

/** ModRM and SIB of a 32 or 64-bit address. */
function draftAddress(prng: Prng, mode: CaseMode, draft: Draft, addressBits: 32 | 64, segment: number): void {
  const long = mode === 64;
  const bytes: number[] = [];
  const regBits = (draft.reg & 7) << 3;
  const shape = prng.below(16);
  let base = -1;
  let index = -1;
  let scale = 1;
  let displacement = 0;
  let fixup: MemoryReference['fixup'] = 'none';
  let fixupAt = -1;
  if (shape === 0) {
    // [disp32], RIP-relative in 64-bit code; the other one through a SIB.
    fixup = long ? 'rip' : 'absolute';
    bytes.push(regBits | 5);
    fixupAt = bytes.length;
    pushNumber(bytes, 0, 4);
  } else {
    base = prng.below(long ? 16 : 8);
    const sib = shape < 8 || (base & 7) === 4;
    if (sib && shape > 1) index = prng.below(long ? 16 : 8);
    if (index === 4) index = -1;
    const noBase = sib && shape === 2;
    if (noBase) base = -1;
    const size = noBase ? 4 : (base & 7) === 5 ? 1 + 3 * prng.below(2) : [0, 1, 4][prng.below(3)]!;
    displacement =
      size === 0
        ? 0
        : size === 1
          ? (prng.u32() << 24) >> 24
          : oneIn(prng, 2)
            ? prng.below(0x1000) - 0x800
            : prng.u32() | 0;
    if (noBase && index < 0) fixup = 'absolute';
    const mod = noBase || size === 0 ? 0 : size === 1 ? 1 : 2;
    scale = 1 << prng.below(4);
    const low = base < 0 ? 5 : base & 7;
    bytes.push((mod << 6) | regBits | (sib ? 4 : low));
    if (sib) bytes.push((Math.log2(scale) << 6) | ((index < 0 ? 4 : index & 7) << 3) | low);
    if (fixup === 'absolute') fixupAt = bytes.length;
    pushNumber(bytes, displacement, size);
    if (long) draft.rex |= (base >= 8 ? 1 : 0) | (index >= 8 ? 2 : 0);
  }
  draft.modRm = bytes;
  draft.memory = { base, index, scale, displacement, fixup, fixupAt, fixupBytes: 4, addressBits, segment };
}

const BASE_16 = [3, 3, 5, 5, -1, -1, 5, 3];
const INDEX_16 = [6, 7, 6, 7, 6, 7, -1, -1];

function draftAddress16(prng: Prng, draft: Draft, segment: number): void {
  const rm = prng.below(8);
  const size = prng.below(3);
  const absolute = rm === 6 && size === 0;
  const displacement = size === 0 ? 0 : size === 1 ? (prng.u32() << 24) >> 24 : prng.below(0x800);
  const bytes = [(size << 6) | ((draft.reg & 7) << 3) | rm];
  pushNumber(bytes, displacement, absolute ? 2 : size);
  let base = BASE_16[rm]!;
  let index = INDEX_16[rm]!;
  if (absolute) base = -1;
  if (base < 0) [base, index] = [index, -1];
  draft.modRm = bytes;
  const fixup = absolute ? 'absolute' : 'none';
  draft.memory = {
    base,
    index,
    scale: 1,
    displacement,
    fixup,
    fixupAt: absolute ? 1 : -1,
    fixupBytes: 2,
    addressBits: 16,
    segment,
  };
}

function draftModRm(
  prng: Prng,
  p: Plan,
  mode: CaseMode,
  wantMemory: boolean,
  addressBits: 16 | 32 | 64,
  segment: number,
): Draft {
  const registers = mode === 64 ? 16 : 8;
  const reg = p.regDigit >= 0 ? p.regDigit : prng.below(Math.min(p.regLimit, registers));
  const rm = p.rmDigit >= 0 ? p.rmDigit : prng.below(Math.min(p.rmLimit, registers));
  const draft: Draft = { rex: reg >= 8 ? 4 : 0, modRm: [], memory: undefined, reg, rm };
  if (!p.hasModRm) return draft;
  if (wantMemory) {
    if (addressBits === 16) draftAddress16(prng, draft, segment);
    else draftAddress(prng, mode, draft, addressBits, segment);
  } else {
    draft.modRm = [0xc0 | ((reg & 7) << 3) | (rm & 7)];
    draft.rex |= rm >= 8 ? 1 : 0;
  }
  return draft;
}

function operandSizePrefix(p: Plan, mode: CaseMode): { prefix: boolean; w: boolean } {
  if (p.operandSize === 64) return { prefix: false, w: !p.default64 };
  if (p.operandSize === 16) return { prefix: mode !== 16, w: p.w === 1 };
  if (p.operandSize === 32) return { prefix: mode === 16, w: p.w === 1 };
  return { prefix: false, w: p.w === 1 };
}

function draftImmediates(prng: Prng, p: Plan): number[] {
  const bytes: number[] = [];
  for (const size of p.immediates) {
    const choice = prng.below(4);
    const value =
      choice === 0
        ? prng.below(64)
        : choice === 1
          ? -1 - prng.below(4)
          : choice === 2
            ? 1 << prng.below(32)
            : prng.u32() | 0;
    pushNumber(bytes, value, Math.min(size, 4));
    for (let i = 4; i < size; i++) bytes.push(choice === 3 ? prng.below(256) : value < 0 ? 255 : 0);
  }
  return bytes;
}

/** Prefixes that come before REX, in random order. */
function draftPrefixes(prng: Prng, list: number[]): number[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = prng.below(i + 1);
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}

/** One random encoding of `form` in `mode`. May, rarely, decode to another form. */
export function encodeForm(prng: Prng, form: InstructionForm, mode: CaseMode): EncodedInstruction {
  const p = plan(form);
  const wantMemory = p.rm === 'memory' || (p.rm === 'any' && oneIn(prng, 2));
  const defaultBits = mode;
  const otherBits = mode === 32 ? 16 : 32;
  const addressBits =
    p.addressSize !== 0 ? (p.addressSize as 16 | 32 | 64) : oneIn(prng, 10) ? otherBits : defaultBits;
  const explicit = wantMemory || p.moffs;
  const segment = mode === 64 && (explicit || p.implicitMemory) && oneIn(prng, 8) ? 4 + prng.below(2) : 3;
  const draft = draftModRm(prng, p, mode, wantMemory, addressBits, segment);
  const { prefix, w } = operandSizePrefix(p, mode);
  const lock = p.lockable && wantMemory && oneIn(prng, 3);
  const choice = form.repeatable ? prng.below(4) : 0;
  const repeat = choice === 1 ? 'rep' : choice === 2 ? 'repne' : 'none';
  const prefixes: number[] = [];
  if (prefix) prefixes.push(0x66);
  if (addressBits !== defaultBits) prefixes.push(0x67);
  if (segment >= 4) prefixes.push(segment === 4 ? 0x64 : 0x65);
  if (lock) prefixes.push(0xf0);
  if (repeat !== 'none') prefixes.push(repeat === 'rep' ? 0xf3 : 0xf2);
  if (p.prefix !== 0 && !(p.prefix === 0x66 && prefix)) prefixes.push(p.prefix);
  const bytes = draftPrefixes(prng, prefixes);
  const opcode = [...p.opcode];
  let rex = draft.rex | (w ? 8 : 0);
  if (p.opcodeRegister) {
    const register = prng.below(mode === 64 && !/_sti|STi/.test(form.name) && opcode.length === 1 ? 16 : 8);
    opcode[opcode.length - 1]! += register & 7;
    if (register >= 8) rex |= 1;
    draft.rm = register;
  }
  if (mode === 64 && (rex !== 0 || oneIn(prng, 8))) bytes.push(0x40 | rex);
  bytes.push(...p.table, ...opcode);
  return finish(prng, p, bytes, draft, { lock, repeat, addressBits, segment });
}

function finish(
  prng: Prng,
  p: Plan,
  bytes: number[],
  draft: Draft,
  rest: Pick<EncodedInstruction, 'lock' | 'repeat' | 'addressBits'> & { segment: number },
): EncodedInstruction {
  let memory = draft.memory;
  if (memory !== undefined && memory.fixupAt >= 0)
    memory = { ...memory, fixupAt: memory.fixupAt + bytes.length };
  bytes.push(...draft.modRm);
  if (p.moffs) {
    const size = rest.addressBits / 8;
    const { addressBits, segment } = rest;
    memory = {
      base: -1,
      index: -1,
      scale: 1,
      displacement: 0,
      fixup: 'absolute',
      fixupAt: bytes.length,
      fixupBytes: size,
      addressBits,
      segment,
    };
    pushNumber(bytes, 0, size);
  }
  const branchAt = p.branchBytes > 0 ? bytes.length : -1;
  pushNumber(bytes, 0, p.branchBytes);
  bytes.push(...draftImmediates(prng, p));
  const { lock, repeat, addressBits } = rest;
  return {
    bytes,
    memory,
    reg: draft.reg,
    rm: draft.rm,
    lock,
    repeat,
    addressBits,
    branchAt,
    branchBytes: p.branchBytes,
  };
}
