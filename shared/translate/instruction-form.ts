// What iced-x86 knows of an instruction form (a `Code`), in the terms of handler shapes: the operands it has, the
// sizes it can have, whether the CPU model announces it. The list of forms is the single source for the handlers
// that are generated, for what decodes to #UD, and for the differential tests.

import { ICED } from '#shared/x86/iced.js';
import type { OperandBits } from './emitter.js';
import type { OperandKind } from './handler-shape.js';

const {
  Code,
  CodeExt,
  CpuidFeature,
  DecoderOptions,
  EncodingKind,
  Instruction,
  MemorySizeExt,
  Mnemonic,
  OpCodeOperandKind,
} = ICED;

/** CPUID features (iced-x86's names) of the CPU model: x86-64-v2 and what shared/x86/cpuid.ts announces besides. */
const ANNOUNCED = new Set([
  'INTEL8086', 'INTEL186', 'INTEL286', 'INTEL386', 'INTEL486', 'X64', 'PAUSE', 'FPU', 'FPU287', 'FPU387', 'CMOV', 'SSE', 'SSE2', 'SSE3',
  'SSSE3', 'SSE4_1', 'SSE4_2', 'SMAP', 'RDTSCP', 'SYSCALL', 'MULTIBYTENOP', 'CET_IBT', 'MSR', 'TSC', 'RDPMC', 'SEP', 'MMX', 'CPUID', 'FXSR',
  'CLFSH', 'POPCNT', 'CX8', 'CMPXCHG16B', 'PREFETCHW',
]); // prettier-ignore

/** Of VMX and SVM only what a guest of KVM calls its hypervisor with. */
const HYPERCALLS = new Set(['Vmcall', 'Vmmcall']);

/** For iced-x86's Decoder: encodings of features that the model does not announce mean what they mean without them (BSF for TZCNT, NOP for RDSSP…). */
export const DECODER_OPTIONS =
  DecoderOptions.NoMPFX_0FBC |
  DecoderOptions.NoMPFX_0FBD |
  DecoderOptions.NoWbnoinvd |
  DecoderOptions.ForceReservedNop;

/** One operand as the form allows it. `memoryBits` is present when it may be memory, `registerBits` when it may be a register. */
export interface FormOperand {
  readonly kind: OperandKind;
  readonly registerBits: OperandBits | undefined;
  readonly memoryBits: OperandBits | undefined;
}

export interface InstructionForm {
  readonly code: number;
  /** iced-x86's name of the Code, e.g. 'Add_rm64_r64'. */
  readonly name: string;
  /** The semantics table's key. */
  readonly mnemonic: string;
  readonly bits: OperandBits;
  readonly operands: readonly FormOperand[];
  /** Operand index in the instruction of each entry of `operands`. */
  readonly operandIndexes: readonly number[];
  readonly far: boolean;
  readonly lockable: boolean;
  readonly repeatable: boolean;
  readonly modes: readonly (16 | 32 | 64)[];
}

const IMPLICIT_MEMORY = new Set(['es_rDI', 'seg_rSI', 'seg_rDI', 'seg_rBX_al']);
const SEGMENTS = new Set(['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'seg_reg']);
const FIXED_BITS: Readonly<Record<string, OperandBits>> = { al: 8, cl: 8, ax: 16, dx: 16, eax: 32, rax: 64 };
const REGISTER_PREFIX: Readonly<Record<string, readonly [OperandKind, OperandBits]>> = {
  r8: ['gpr', 8], r16: ['gpr', 16], r32: ['gpr', 32], r64: ['gpr', 64], xmm: ['xmm', 128], mm: ['mmx', 64],
}; // prettier-ignore

/** Whether `mnemonic` names a string instruction: its memory operands are implicit. */
export function isStringForm(name: string): boolean {
  return /^(Movs|Cmps|Stos|Lods|Scas|Ins|Outs)[bwdq]_(m|AL|AX|EAX|RAX|DX)/.test(name);
}

function operandOf(kindName: string, memoryBits: OperandBits): FormOperand | undefined {
  const register = (kind: OperandKind, bits: OperandBits): FormOperand => ({
    kind,
    registerBits: bits,
    memoryBits: undefined,
  });
  if (IMPLICIT_MEMORY.has(kindName)) return undefined;
  if (SEGMENTS.has(kindName)) return register('segment', 16);
  if (kindName in FIXED_BITS) return register('gpr', FIXED_BITS[kindName]!);
  if (kindName === 'mem' || kindName === 'mem_offs')
    return { kind: 'memory', registerBits: undefined, memoryBits };
  if (kindName === 'st0' || kindName === 'sti_opcode') return register('st', 64);
  if (kindName === 'cr_reg') return register('control', 64);
  if (kindName === 'dr_reg') return register('debug', 64);
  const immediate = /^imm(\d+)(?:sex(\d+)|_const_1)?$/.exec(kindName);
  if (immediate !== null) return register('immediate', Number(immediate[2] ?? immediate[1]) as OperandBits);
  if (/^(far)?br\d/.test(kindName)) return register('branch', 64);
  const [prefix, ...rest] = kindName.split('_');
  const entry = REGISTER_PREFIX[prefix!];
  if (entry === undefined) return undefined;
  return {
    kind: entry[0],
    registerBits: entry[1],
    memoryBits: rest.join('_') === 'or_mem' ? memoryBits : undefined,
  };
}

/** A mnemonic's key in the semantics tables: iced-x86's name, but strings that share theirs with SSE get a prefix. */
function keyOf(name: string, mnemonic: string): string {
  return isStringForm(name) && (mnemonic === 'Movsd' || mnemonic === 'Cmpsd')
    ? `String${mnemonic}`
    : mnemonic;
}

function readForm(name: string, code: number): InstructionForm | undefined {
  const opCode = CodeExt.opCode(code);
  if (opCode.encoding !== EncodingKind.Legacy || !opCode.isInstruction) return undefined;
  const instruction = new Instruction();
  instruction.code = code;
  const features = [...(instruction.cpuidFeatures() as unknown as Iterable<number>)].map(
    (f) => CpuidFeature[f]!,
  );
  if (!HYPERCALLS.has(name) && !features.every((feature) => ANNOUNCED.has(feature))) return undefined;
  const memoryBits = (MemorySizeExt.size(opCode.memorySize) * 8) as OperandBits;
  const operands: FormOperand[] = [];
  const operandIndexes: number[] = [];
  const string = isStringForm(name);
  for (let i = 0; i < opCode.opCount && !string; i++) {
    const kindName = OpCodeOperandKind[opCode.opKind(i)]!;
    const operand = operandOf(kindName, memoryBits);
    if (operand === undefined) {
      if (!IMPLICIT_MEMORY.has(kindName)) return undefined;
      continue;
    }
    operands.push(operand);
    operandIndexes.push(i);
  }
  const modes = ([16, 32, 64] as const).filter((m) => opCode.isAvailableInMode(m));
  const first = operands[0];
  const bits = string
    ? memoryBits
    : ((opCode.operandSize !== 0
        ? opCode.operandSize
        : (first?.registerBits ?? first?.memoryBits ?? 32)) as OperandBits);
  return {
    code,
    name,
    mnemonic: keyOf(name, Mnemonic[opCode.mnemonic]!),
    bits,
    operands,
    operandIndexes,
    far: /^(Call|Jmp)_(ptr|m16)/.test(name),
    lockable: opCode.canUseLockPrefix,
    repeatable: string,
    modes,
  };
}

let cached: ReadonlyMap<number, InstructionForm> | undefined;

/** Every form that the CPU model announces, by iced-x86 Code. About 1,300. */
export function instructionForms(): ReadonlyMap<number, InstructionForm> {
  if (cached !== undefined) return cached;
  const forms = new Map<number, InstructionForm>();
  for (const [name, code] of Object.entries(Code)) {
    if (typeof code !== 'number') continue;
    const form = readForm(name, code);
    if (form !== undefined) forms.set(code, form);
  }
  cached = forms;
  return forms;
}
