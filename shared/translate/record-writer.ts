// Turns one decoded instruction into an operation record: finds its handler and fills the operand fields.

import type iced from 'iced-x86';
import { ICED } from '#shared/x86/iced.js';
import {
  BLOCK_RIP,
  GPR,
  MODE_16,
  MODE_32,
  MODE_64,
  MODE_CODE_MASK,
  MODE_STACK32,
  SEGMENT,
  SEGMENT_BASE,
  SEGMENT_BYTES,
  X87,
  XMM,
  ZERO_SLOT,
} from '#shared/x86/cpu-state.js';
import type { SemanticsEntry, SemanticsTable } from './emitter.js';
import { shapeOf, type ShapeVariant } from './handler-catalogue.js';
import { type AddressForm, shapeName } from './handler-shape.js';
import {
  type DecodedInstruction,
  FactsTable,
  type InstructionFacts,
  operandKind,
  operandRegister,
} from './instruction-facts.js';
import type { InstructionForm } from './instruction-form.js';
import { HANDLER_UNDEFINED, shapeIndex } from './interpreter-module.js';
import {
  RECORD_BASE,
  RECORD_BYTES,
  RECORD_DISPLACEMENT,
  RECORD_HANDLER,
  RECORD_IMMEDIATE,
  RECORD_INDEX,
  RECORD_INSTRUCTIONS,
  RECORD_IP_OFFSET,
  RECORD_LENGTH,
  RECORD_REGISTER0,
  RECORD_REGISTER1,
  RECORD_SCALE,
  RECORD_SEGMENT,
  RECORD_SEGMENT_BASE,
} from './op-record.js';

const { Code, OpKind, Register } = ICED;
type Instruction = iced.Instruction;

/** Field value of each iced-x86 register: a state-page offset, or a number for ST, segment, control and debug registers. */
const FIELD = new Int32Array(512).fill(-1);

function fillFields(): void {
  for (let i = 0; i < 16; i++) {
    const wide = GPR + i * 8;
    FIELD[Register.RAX + i] = wide;
    FIELD[Register.EAX + i] = wide;
    FIELD[Register.AX + i] = wide;
    FIELD[Register.XMM0 + i] = XMM + i * 16;
    FIELD[Register.CR0 + i] = i;
    FIELD[Register.DR0 + i] = i;
  }
  for (let i = 0; i < 8; i++) {
    FIELD[Register.ST0 + i] = i;
    FIELD[Register.MM0 + i] = X87 + i * 16;
  }
  for (let i = 0; i < 4; i++) {
    FIELD[Register.AL + i] = GPR + i * 8;
    FIELD[Register.AH + i] = GPR + i * 8 + 1;
  }
  for (let i = 4; i < 16; i++) FIELD[Register.SPL + i - 4] = GPR + i * 8;
  for (let i = 0; i < 6; i++) FIELD[Register.ES + i] = i;
  FIELD[Register.RIP] = BLOCK_RIP;
  FIELD[Register.EIP] = BLOCK_RIP;
  FIELD[Register.None] = ZERO_SLOT;
}
fillFields();

const SCALE_LOG = [0, 0, 1, 0, 2, 0, 0, 0, 3];

/** Size of the code in a mode (MODE_* bits). */
export const codeBits = (mode: number): 16 | 32 | 64 => {
  switch (mode & MODE_CODE_MASK) {
    case MODE_16:
      return 16;
    case MODE_32:
      return 32;
    default:
      return 64;
  }
};

/** Finds handlers and writes records; one for each vCPU, since it caches. */
export class RecordWriter {
  readonly #indexByName = new Map<string, number>();
  readonly #handlerByVariant = new Map<number, number>();
  readonly facts: FactsTable;
  readonly #view: DataView;

  /** `view` covers the arena; `shapes` is the module's list. */
  constructor(view: DataView, table: SemanticsTable, shapes: readonly string[]) {
    this.#view = view;
    this.facts = new FactsTable(table);
    shapes.forEach((name, i) => this.#indexByName.set(name, shapeIndex(i)));
  }

  /** Writes an instruction's record at arena offset `record`. An unannounced instruction becomes #UD. */
  write(
    record: number,
    { instruction, facts, ipOffset, length }: DecodedInstruction,
    mode: number,
    options: { flagsDead: boolean; fusedCondition: number | undefined },
  ): void {
    const view = this.#view;
    const { form, entry } = facts;
    // Equal code gives equal records: what the instruction does not use is zero.
    for (let at = 0; at < RECORD_BYTES; at += 8) view.setFloat64(record + at, 0, true);
    view.setUint16(record + RECORD_IP_OFFSET, ipOffset, true);
    view.setUint8(record + RECORD_LENGTH, length);
    view.setUint8(record + RECORD_INSTRUCTIONS, 1);
    if (form === undefined || entry === undefined) {
      view.setUint32(record + RECORD_HANDLER, HANDLER_UNDEFINED, true);
      return;
    }
    const address = this.#writeOperands(record, instruction, facts, form, mode);
    const addressBits = addressBitsFor(instruction, facts, codeBits(mode));
    const handler = this.#handler(instruction, form, entry, address, addressBits, mode, options);
    view.setUint32(record + RECORD_HANDLER, handler, true);
  }

  #handler(
    instruction: Instruction,
    form: InstructionForm,
    entry: SemanticsEntry,
    address: AddressForm | undefined,
    addressBits: 16 | 32 | 64,
    mode: number,
    options: { flagsDead: boolean; fusedCondition: number | undefined },
  ): number {
    const repeat = !form.repeatable
      ? 0
      : instruction.hasRepePrefix || instruction.hasRepPrefix
        ? 1
        : instruction.hasRepnePrefix
          ? 2
          : 0;
    const lock = form.lockable && instruction.hasLockPrefix ? 1 : 0;
    const modeKey =
      (mode & (MODE_CODE_MASK | MODE_STACK32)) * 3 + (addressBits === 64 ? 2 : addressBits === 32 ? 1 : 0);
    let key = form.code * 7 + addressNumber(address);
    key = ((key * 3 + repeat) * 2 + lock) * 24 + modeKey;
    key =
      (key * 2 + (options.flagsDead ? 1 : 0)) * 17 +
      (options.fusedCondition === undefined ? 0 : options.fusedCondition + 1);
    const known = this.#handlerByVariant.get(key);
    if (known !== undefined) return known;
    const variant: ShapeVariant = {
      address,
      lock: lock === 1,
      repeat: repeat === 1 ? 'rep' : repeat === 2 ? 'repne' : 'none',
      code: codeBits(mode),
      addressBits,
      stackBits: codeBits(mode) === 64 ? 64 : (mode & MODE_STACK32) !== 0 ? 32 : 16,
      flagsDead: options.flagsDead,
      fusedCondition: options.fusedCondition,
    };
    const name = shapeName(shapeOf(form, entry, variant));
    const index = this.#indexByName.get(name) ?? HANDLER_UNDEFINED;
    this.#handlerByVariant.set(key, index);
    return index;
  }

  /** Fills the operand fields; gives the address form when an operand is memory. */
  #writeOperands(
    record: number,
    instruction: Instruction,
    facts: InstructionFacts,
    form: InstructionForm,
    mode: number,
  ): AddressForm | undefined {
    const view = this.#view;
    let registers = 0;
    let immediates = 0;
    let address: AddressForm | undefined;
    view.setUint8(
      record + RECORD_SEGMENT,
      facts.isStackInstruction ? 2 : segmentNumber(instruction.memorySegment),
    );
    for (const index of form.operandIndexes) {
      switch (operandKind(instruction, index)) {
        case OpKind.Register: {
          // A third register (CL of SHLD, XMM0 of BLENDV) is implicit.
          const field = registers === 0 ? RECORD_REGISTER0 : RECORD_REGISTER1;
          if (registers++ < 2)
            view.setUint16(record + field, FIELD[operandRegister(instruction, index)]!, true);
          break;
        }
        case OpKind.Memory:
          address = this.#writeAddress(record, instruction, mode);
          break;
        case OpKind.NearBranch16:
        case OpKind.NearBranch32:
        case OpKind.NearBranch64:
          break;
        case OpKind.FarBranch16:
          view.setUint32(record + RECORD_IMMEDIATE, instruction.farBranch16, true);
          view.setUint32(record + RECORD_IMMEDIATE + 4, instruction.farBranchSelector, true);
          break;
        case OpKind.FarBranch32:
          view.setUint32(record + RECORD_IMMEDIATE, instruction.farBranch32, true);
          view.setUint32(record + RECORD_IMMEDIATE + 4, instruction.farBranchSelector, true);
          break;
        default:
          if (immediates++ === 0) this.#writeImmediate(record, instruction, index);
          else
            view.setInt32(
              record + RECORD_DISPLACEMENT,
              Number(BigInt.asIntN(32, instruction.immediate(index))),
              true,
            );
      }
    }
    return address;
  }

  /** Sign- or zero-extended to 64 bits. */
  #writeImmediate(record: number, instruction: Instruction, index: number): void {
    const view = this.#view;
    let low: number;
    switch (operandKind(instruction, index)) {
      case OpKind.Immediate8:
        low = instruction.immediate8;
        break;
      case OpKind.Immediate8to16:
      case OpKind.Immediate8to32:
      case OpKind.Immediate8to64:
        low = instruction.immediate8to32;
        break;
      case OpKind.Immediate32to64:
        low = instruction.immediate32 | 0;
        break;
      default: {
        const wide = BigInt.asUintN(64, instruction.immediate(index));
        view.setBigUint64(record + RECORD_IMMEDIATE, wide, true);
        return;
      }
    }
    view.setInt32(record + RECORD_IMMEDIATE, low, true);
    view.setInt32(record + RECORD_IMMEDIATE + 4, low >> 31, true);
  }

  #writeAddress(record: number, instruction: Instruction, mode: number): AddressForm {
    const view = this.#view;
    const base = instruction.memoryBase;
    const index = instruction.memoryIndex;
    const segment = segmentNumber(instruction.memorySegment);
    view.setUint8(record + RECORD_SEGMENT, segment);
    view.setUint16(record + RECORD_BASE, FIELD[base]!, true);
    view.setUint16(record + RECORD_INDEX, FIELD[index]!, true);
    view.setUint8(record + RECORD_SCALE, SCALE_LOG[instruction.memoryIndexScale]!);
    const long = (mode & MODE_CODE_MASK) === MODE_64;
    const based = !long || segment >= 4;
    view.setUint16(
      record + RECORD_SEGMENT_BASE,
      based ? SEGMENT + segment * SEGMENT_BYTES + SEGMENT_BASE : ZERO_SLOT,
      true,
    );
    const ipRelative = base === Register.RIP || base === Register.EIP;
    // iced-x86 gives an IP-relative displacement as the target, relative to the decoder's IP of the block's start (0).
    const displacement = Number(BigInt.asIntN(32, instruction.memoryDisplacement));
    view.setInt32(record + RECORD_DISPLACEMENT, displacement, true);
    if (ipRelative) return long && base === Register.EIP ? 'wrapped' : segment < 4 ? 'base' : 'full';
    if (!long) return addressBitsOf(instruction) === 16 ? 'legacy16' : 'legacy32';
    if (base === Register.None && index === Register.None && instruction.memoryDisplSize === 8) {
      if (/moffs/.test(Code[instruction.code]!)) {
        view.setBigUint64(
          record + RECORD_IMMEDIATE,
          BigInt.asUintN(64, instruction.memoryDisplacement),
          true,
        );
        return 'absolute';
      }
    }
    if (addressBitsOf(instruction) === 32) return 'wrapped';
    return index === Register.None && segment < 4 ? 'base' : 'full';
  }
}

/** The address size of a memory operand, from its registers and displacement. */
function addressBitsOf(instruction: Instruction): 16 | 32 | 64 {
  for (const register of [instruction.memoryBase, instruction.memoryIndex]) {
    if (register >= Register.AX && register <= Register.R15W) return 16;
    if (register >= Register.EAX && register <= Register.R15D) return 32;
    if (register >= Register.RAX && register <= Register.R15) return 64;
  }
  return instruction.memoryDisplSize === 2 ? 16 : instruction.memoryDisplSize === 4 ? 32 : 64;
}

/** String instructions name their pointers by operand kind, counters by their Code. */
function addressBitsFor(
  instruction: Instruction,
  { form, impliesMemory, counterBits }: InstructionFacts,
  mode: 16 | 32 | 64,
): 16 | 32 | 64 {
  for (let i = 0; impliesMemory && i < instruction.opCount; i++) {
    switch (operandKind(instruction, i)) {
      case OpKind.MemorySegSI:
      case OpKind.MemoryESDI:
      case OpKind.MemorySegDI:
        return 16;
      case OpKind.MemorySegESI:
      case OpKind.MemoryESEDI:
      case OpKind.MemorySegEDI:
        return 32;
      case OpKind.MemorySegRSI:
      case OpKind.MemoryESRDI:
      case OpKind.MemorySegRDI:
        return 64;
      default:
    }
  }
  if (counterBits !== 0) return counterBits;
  if (form?.mnemonic === 'Xlatb') return addressBitsOf(instruction);
  return mode;
}

const ADDRESS_NUMBERS: Readonly<Record<AddressForm, number>> = {
  base: 1,
  full: 2,
  wrapped: 3,
  absolute: 4,
  legacy32: 5,
  legacy16: 6,
};
const addressNumber = (address: AddressForm | undefined): number =>
  address === undefined ? 0 : ADDRESS_NUMBERS[address];

/** ES CS SS DS FS GS as 0–5; DS when there is none. */
function segmentNumber(register: number): number {
  return register >= Register.ES && register <= Register.GS ? register - Register.ES : 3;
}
