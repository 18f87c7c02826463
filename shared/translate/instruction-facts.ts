// What all instructions of one iced-x86 Code have in common, asked of iced-x86 once: each of its getters is a call into WebAssembly,
// and a boot decodes 300,000 instructions of 500 Codes.

import type iced from 'iced-x86';
import { ICED } from '#shared/x86/iced.js';
import type { SemanticsEntry, SemanticsTable } from './emitter.js';
import { isFusible } from './handler-catalogue.js';
import { type InstructionForm, instructionForms } from './instruction-form.js';

const { Code, FlowControl, Mnemonic } = ICED;

export interface InstructionFacts {
  readonly code: number;
  /** Undefined where the CPU model does not announce it. */
  readonly form: InstructionForm | undefined;
  readonly entry: SemanticsEntry | undefined;
  /** It goes elsewhere: a branch, a call, an interrupt. */
  readonly branches: boolean;
  /** No instruction behind it belongs to its block. */
  readonly endsBlock: boolean;
  /** MOV or POP, which end the block when they load a system register. */
  readonly mayLoadSystemRegister: boolean;
  readonly isStackInstruction: boolean;
  /** It may fault whatever its operands are. */
  readonly faults: boolean;
  /** LEA and NOP touch no memory. */
  readonly onlyNamesMemory: boolean;
  /** CMP and TEST that fuse with a Jcc. */
  readonly fusible: boolean;
  /** The condition code of a short or near Jcc as encoded, −1 for others. */
  readonly condition: number;
  /** A near JMP or CALL through a register or memory: its record's second slot remembers targets. */
  readonly indirect: boolean;
  /** An operand is memory that the encoding does not spell out: strings, XLAT, MASKMOVQ. */
  readonly impliesMemory: boolean;
  /** The size of the counter that JCXZ and LOOP name; 0 for others. */
  readonly counterBits: 0 | 16 | 32 | 64;
}

/** One instruction of a block. */
export interface DecodedInstruction {
  readonly instruction: iced.Instruction;
  readonly facts: InstructionFacts;
  /** Distance from the block's start. */
  readonly ipOffset: number;
  readonly length: number;
}

const CONDITIONS = [
  'Jo', 'Jno', 'Jb', 'Jae', 'Je', 'Jne', 'Jbe', 'Ja', 'Js', 'Jns', 'Jp', 'Jnp', 'Jl', 'Jge', 'Jle', 'Jg',
]; // prettier-ignore

const FAULTING = new Set([Mnemonic.Div, Mnemonic.Idiv]);
const NAMES_MEMORY = new Set([Mnemonic.Lea, Mnemonic.Nop]);

/** Facts by Code, each made when an instruction of it first comes by. */
export class FactsTable {
  readonly #semantics: SemanticsTable;
  readonly #forms = instructionForms();
  readonly #facts: (InstructionFacts | undefined)[] = new Array<undefined>(Object.keys(Code).length / 2).fill(
    undefined,
  );

  constructor(semantics: SemanticsTable) {
    this.#semantics = semantics;
  }

  of(instruction: iced.Instruction): InstructionFacts {
    const { code } = instruction;
    return (this.#facts[code] ??= this.#read(instruction, code));
  }

  #read(instruction: iced.Instruction, code: number): InstructionFacts {
    const form = this.#formOf(code);
    const entry = form === undefined ? undefined : this.#semantics[form.mnemonic];
    const { mnemonic, flowControl, isStackInstruction } = instruction;
    const branches = flowControl !== FlowControl.Next;
    return {
      ...{ code, form, entry, branches, isStackInstruction },
      endsBlock: entry === undefined || entry.endsBlock === true || branches,
      mayLoadSystemRegister: mnemonic === Mnemonic.Mov || mnemonic === Mnemonic.Pop,
      faults: instruction.isPrivileged || isStackInstruction || FAULTING.has(mnemonic),
      onlyNamesMemory: NAMES_MEMORY.has(mnemonic),
      fusible: form !== undefined && isFusible(form),
      condition: instruction.isJccShortOrNear ? CONDITIONS.indexOf(Mnemonic[mnemonic]!) : -1,
      indirect: code === Code.Jmp_rm64 || code === Code.Call_rm64,
      impliesMemory: form !== undefined && (form.repeatable || form.operands.length < instruction.opCount),
      counterBits: form === undefined ? 0 : counterBits(form.name),
    };
  }

  #formOf(code: number): InstructionForm | undefined {
    // RDSSP is a reserved NOP on a CPU without shadow stacks.
    if (code === Code.Rdsspd_r32 || code === Code.Rdsspq_r64) return this.#forms.get(Code.Nopd);
    return this.#forms.get(code);
  }
}

function counterBits(name: string): 0 | 16 | 32 | 64 {
  if (/^Jcxz|_CX$/.test(name)) return 16;
  if (/^Jecxz|_ECX$/.test(name)) return 32;
  if (/^Jrcxz|_RCX$/.test(name)) return 64;
  return 0;
}

/** As `opKind(index)`, which checks its index and takes three times as long. */
export function operandKind(instruction: iced.Instruction, index: number): iced.OpKind {
  switch (index) {
    case 0:
      return instruction.op0Kind;
    case 1:
      return instruction.op1Kind;
    case 2:
      return instruction.op2Kind;
    case 3:
      return instruction.op3Kind;
    default:
      return instruction.opKind(index);
  }
}

/** As `opRegister(index)`, for the same reason. */
export function operandRegister(instruction: iced.Instruction, index: number): iced.Register {
  switch (index) {
    case 0:
      return instruction.op0Register;
    case 1:
      return instruction.op1Register;
    case 2:
      return instruction.op2Register;
    default:
      return instruction.opRegister(index);
  }
}
