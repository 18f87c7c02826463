// A case's instructions as the decoder sees them: what rules of a comparison ask about them.

import iced from 'iced-x86';
import { DECODER_OPTIONS } from '#shared/translate/instruction-form.js';
import { type Case, CODE, DATA, FS_BASE, GS_BASE } from './case-record.js';

const { Decoder, OpKind, Register, RegisterExt } = iced;

/** What `look` makes of each instruction of the case, in order. */
export function eachInstruction<T>(c: Case, look: (instruction: iced.Instruction) => T): T[] {
  const decoder = new Decoder(c.mode, c.code, DECODER_OPTIONS);
  decoder.ip = BigInt(c.rip);
  const results: T[] = [];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    results.push(look(instruction));
    instruction.free();
  }
  decoder.free();
  return results;
}

/** Encoding number of the general register that the first operand is; undefined when it is none. */
export function destinationRegister(instruction: iced.Instruction): number | undefined {
  const { op0Kind, op0Register } = instruction;
  if (op0Kind !== OpKind.Register || !RegisterExt.isGPR(op0Register)) return undefined;
  return RegisterExt.number(RegisterExt.fullRegister(op0Register));
}

/** Base of a segment as the runner sets it up. */
export function segmentBase(c: Case, segment: number): number {
  if (segment === Register.FS) return FS_BASE;
  if (segment === Register.GS) return GS_BASE;
  if (c.mode !== 16) return 0;
  return segment === Register.CS ? CODE : DATA;
}

function addressBits(instruction: iced.Instruction): number {
  const { memoryBase: base, memoryIndex: index, memoryDisplSize } = instruction;
  const register = base === Register.None ? index : base;
  if (register === Register.None) return memoryDisplSize * 8;
  return RegisterExt.size(register) * 8;
}

/** Linear address of an explicit memory operand. */
export function operandAddress(c: Case, instruction: iced.Instruction): bigint {
  const base = BigInt(segmentBase(c, instruction.memorySegment));
  const bits = c.mode === 64 ? 64 : 32;
  if (instruction.isIpRelMemoryOperand) return BigInt.asUintN(bits, base + instruction.ipRelMemoryAddress);
  const register = (r: number): bigint =>
    RegisterExt.isGPR(r) ? c.gpr[RegisterExt.number(RegisterExt.fullRegister(r))]! : 0n;
  const offset =
    register(instruction.memoryBase) +
    register(instruction.memoryIndex) * BigInt(instruction.memoryIndexScale) +
    instruction.memoryDisplacement;
  return BigInt.asUintN(bits, base + BigInt.asUintN(addressBits(instruction), offset));
}
