// Decodes a basic block with iced-x86 into operation records: up to a branch, a change of mode, the page's end or a
// bound. CMP and TEST fuse with the Jcc behind them; flag results that die within the block are not computed.

import type iced from 'iced-x86';
import { ICED } from '#shared/x86/iced.js';
import { DECODER_OPTIONS } from '#shared/translate/instruction-form.js';
import {
  type DecodedInstruction,
  type InstructionFacts,
  operandKind,
} from '#shared/translate/instruction-facts.js';
import {
  HANDLER_COUNT,
  HANDLER_HEAT,
  HANDLER_NEXT_BLOCK,
  HANDLER_STEP_END,
} from '#shared/translate/interpreter-module.js';
import {
  LINK_NEXT_DELTA,
  LINK_TAKEN_DELTA,
  RECORD_BYTES,
  RECORD_HANDLER,
  RECORD_IMMEDIATE,
  RECORD_INSTRUCTIONS,
  RECORD_IP_OFFSET,
} from '#shared/translate/op-record.js';
import { type RecordWriter, codeBits } from '#shared/translate/record-writer.js';
import { MODE_64, MODE_CODE_MASK, MODE_SINGLE } from '#shared/x86/cpu-state.js';

const { Code, Decoder, DecoderError, Instruction, OpKind, Register } = ICED;

/** Instructions in a block at most; a record each, and two for a branch. */
const MAX_INSTRUCTIONS = 64;
export const MAX_BLOCK_SLOTS = (MAX_INSTRUCTIONS + 3) * 2;
/** Of the heat threshold, for code that changes. */
const MAX_DOUBLINGS = 12;
/** Longest instruction. SDM vol. 2 §2.3.11. */
export const MAX_INSTRUCTION_BYTES = 15;

export interface DecodedBlock {
  readonly slots: number;
  /** Bytes of code it covers. */
  readonly bytes: number;
}

export class BlockDecoder {
  readonly #view: DataView;
  readonly #writer: RecordWriter;
  readonly #heat: number;
  readonly #counts: boolean;
  /** Decoded into again and again: an object of iced-x86's is dear to make. */
  readonly #instructions: iced.Instruction[] = [];

  /** `heat`: executions after which a block asks to be compiled; 0 for never. `counts`: blocks count their instructions. */
  constructor(view: DataView, writer: RecordWriter, heat: number, counts = false) {
    this.#view = view;
    this.#writer = writer;
    this.#heat = heat;
    this.#counts = counts;
  }

  /**
   * Decodes from `code` (the bytes from the block's start to the page's end, or those of one crossing instruction)
   * into records at `record`. Gives undefined when not even the first instruction is complete in `code`. `drops`: how often
   * the page's code changed; each time doubles the heat that asks for a region. `limit`: instructions at most.
   */
  decode(
    code: Uint8Array,
    mode: number,
    record: number,
    drops: number,
    limit = MAX_INSTRUCTIONS,
  ): DecodedBlock | undefined {
    const decoder = new Decoder(codeBits(mode), code, DECODER_OPTIONS);
    decoder.ip = 0n;
    const single = (mode & MODE_SINGLE) !== 0;
    const instructions: DecodedInstruction[] = [];
    let bytes = 0;
    let ended = false;
    try {
      while (!ended && instructions.length < (single ? 1 : limit)) {
        const instruction = (this.#instructions[instructions.length] ??= new Instruction());
        decoder.decodeOut(instruction);
        const facts = this.#writer.facts.of(instruction);
        if (facts.code === Code.INVALID && decoder.lastError === DecoderError.NoMoreBytes) {
          if (code.length - bytes >= MAX_INSTRUCTION_BYTES) break;
          if (instructions.length === 0) return undefined;
          break;
        }
        const { length } = instruction;
        instructions.push({ instruction, facts, ipOffset: bytes, length });
        bytes += length;
        ended = facts.endsBlock || (facts.mayLoadSystemRegister && loadsSystemRegister(instruction));
      }
      return { slots: this.#write(instructions, mode, record, bytes, ended, single, drops), bytes };
    } finally {
      decoder.free();
    }
  }

  #write(
    instructions: readonly DecodedInstruction[],
    mode: number,
    record: number,
    bytes: number,
    ended: boolean,
    single: boolean,
    drops: number,
  ): number {
    let slot = this.#writeHeat(record, mode, single, drops);
    if (this.#counts) this.#writeCount(record + slot++ * RECORD_BYTES, instructions.length);
    const long = (mode & MODE_CODE_MASK) === MODE_64;
    for (let i = 0; i < instructions.length; i++) {
      const decoded = instructions[i]!;
      const { instruction, facts } = decoded;
      const at = record + slot * RECORD_BYTES;
      const next = instructions[i + 1];
      if (long && !single && next !== undefined && this.#fuse(at, decoded, next, mode)) return slot + 2;
      const flagsDead = facts.entry?.overwritesFlags === true && this.#flagsDie(instructions, i);
      this.#writer.write(at, decoded, mode, { flagsDead, fusedCondition: undefined });
      slot++;
      if (facts.branches && facts.entry !== undefined && hasNearTarget(instruction)) {
        this.#writeLinks(at, decoded);
        slot++;
      } else if (long && facts.indirect) this.#clear(record + slot++ * RECORD_BYTES);
    }
    if (!ended || single) slot += this.#writeEnd(record + slot * RECORD_BYTES, bytes, single);
    return slot;
  }

  /** Only 64-bit code is compiled. */
  #writeHeat(at: number, mode: number, single: boolean, drops: number): number {
    if (this.#heat === 0 || single || (mode & MODE_CODE_MASK) !== MODE_64) return 0;
    this.#view.setUint16(at + RECORD_IP_OFFSET, 0, true);
    this.restartHeat(at, drops);
    return 1;
  }

  /** Has the block at `record`, whose first record is a heat counter's, count from the start. `drops`: as for {@link decode}. */
  restartHeat(record: number, drops: number): void {
    this.#view.setInt32(record + RECORD_IMMEDIATE, heatAfter(this.#heat, drops), true);
    this.#view.setUint32(record + RECORD_HANDLER, HANDLER_HEAT, true);
  }

  /** It is part of a region's request: counted and uncounted code are never taken for each other. */
  #writeCount(at: number, instructions: number): void {
    this.#clear(at);
    this.#view.setUint32(at + RECORD_HANDLER, HANDLER_COUNT, true);
    this.#view.setInt32(at + RECORD_IMMEDIATE, instructions, true);
  }

  /** A block that just stops goes on with the block behind it, or leaves after a single step. */
  #writeEnd(at: number, bytes: number, single: boolean): number {
    this.#clear(at);
    this.#clear(at + RECORD_BYTES);
    this.#view.setUint32(at + RECORD_HANDLER, single ? HANDLER_STEP_END : HANDLER_NEXT_BLOCK, true);
    this.#view.setUint16(at + RECORD_IP_OFFSET, bytes, true);
    this.#view.setInt32(at + LINK_NEXT_DELTA, bytes, true);
    return 2;
  }

  /** Equal code gives equal slots. */
  #clear(slot: number): void {
    for (let word = 0; word < RECORD_BYTES; word += 4) this.#view.setInt32(slot + word, 0, true);
  }

  #writeLinks(at: number, { instruction, ipOffset, length }: DecodedInstruction): void {
    const view = this.#view;
    this.#clear(at + RECORD_BYTES);
    view.setInt32(at + LINK_TAKEN_DELTA, targetDelta(instruction), true);
    view.setInt32(at + LINK_NEXT_DELTA, ipOffset + length, true);
  }

  /** Writes CMP/TEST + Jcc as one record; false when they do not fuse. */
  #fuse(at: number, first: DecodedInstruction, next: DecodedInstruction, mode: number): boolean {
    const fusedCondition = next.facts.condition;
    if (!first.facts.fusible || fusedCondition < 0) return false;
    this.#writer.write(at, first, mode, { flagsDead: false, fusedCondition });
    if (this.#view.getUint32(at + RECORD_HANDLER, true) === 1) return false;
    this.#view.setUint8(at + RECORD_INSTRUCTIONS, 2);
    this.#writeLinks(at, next);
    return true;
  }

  /** Whether all flags that instruction `i` writes are overwritten later in the block before a read, a fault or a way out. */
  #flagsDie(instructions: readonly DecodedInstruction[], i: number): boolean {
    for (let j = i + 1; j < instructions.length; j++) {
      const { instruction, facts } = instructions[j]!;
      const { entry } = facts;
      if (entry === undefined || entry.endsBlock === true) return false;
      if (instruction.rflagsRead !== 0) return false;
      if (mayFault(instruction, facts)) return false;
      if (entry.overwritesFlags === true) return true;
      if (facts.branches) return false;
      // Writers of some flags, and meanings that leave through helpers, keep it simple: the flags stay.
      if (instruction.rflagsModified !== 0) return false;
    }
    return false;
  }
}

/** The heat of code that changed so often. A heat of 1 means everything, whatever it costs. */
export function heatAfter(heat: number, drops: number): number {
  return heat === 1 ? 1 : heat * 2 ** Math.min(drops, MAX_DOUBLINGS);
}

/** Memory operands and everything that is not plain register work may fault or leave the block. */
function mayFault(instruction: iced.Instruction, facts: InstructionFacts): boolean {
  if (facts.faults) return true;
  for (let i = 0; i < instruction.opCount; i++) {
    const kind = operandKind(instruction, i);
    if (kind !== OpKind.Register && (kind < OpKind.Immediate8 || kind > OpKind.Immediate32to64))
      return !facts.onlyNamesMemory;
  }
  return false;
}

/** MOV and POP of a segment, control or debug register: their meanings end the block. */
function loadsSystemRegister(instruction: iced.Instruction): boolean {
  if (instruction.op0Kind !== OpKind.Register) return false;
  const register = instruction.op0Register;
  return (
    (register >= Register.ES && register <= Register.GS) ||
    (register >= Register.CR0 && register <= Register.CR15) ||
    (register >= Register.DR0 && register <= Register.DR15)
  );
}

function hasNearTarget(instruction: iced.Instruction): boolean {
  if (instruction.opCount === 0) return false;
  const kind = instruction.op0Kind;
  return kind === OpKind.NearBranch16 || kind === OpKind.NearBranch32 || kind === OpKind.NearBranch64;
}

/** Signed distance of a near branch's target from the block's start. */
function targetDelta(instruction: iced.Instruction): number {
  const target = instruction.nearBranchTarget;
  const bits =
    instruction.op0Kind === OpKind.NearBranch16 ? 16 : instruction.op0Kind === OpKind.NearBranch32 ? 32 : 64;
  return Number(BigInt.asIntN(32, BigInt.asIntN(bits, target)));
}
