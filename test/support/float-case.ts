// Random cases for vector and floating-point instructions: encodings of every form, and states full of the values where floating point
// is difficult. All from one seeded generator.
import iced from 'iced-x86';
import type { InstructionForm } from '#shared/translate/instruction-form.js';
import { HOST_MEMORY, MEMORY_BYTES } from './host-instruction.js';
import type { InstructionState } from './host-instruction.js';

const { Encoder, Instruction, OpKind, Register, OpCodeOperandKind, CodeExt } = iced;

/** xorshift32: small, seeded, good enough to choose cases. */
export class CaseRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  below(limit: number): number {
    return this.next() % limit;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  bits(count: number): bigint {
    let value = 0n;
    for (let i = 0; i < count; i += 32) value = (value << 32n) | BigInt(this.next());
    return BigInt.asUintN(count, value);
  }
}

/** Significand fields with few or extreme bits set. */
function significand(random: CaseRandom, width: number): bigint {
  const top = BigInt(width);
  switch (random.below(7)) {
    case 0:
      return 0n;
    case 1:
      return (1n << top) - 1n;
    case 2:
      return 1n << BigInt(random.below(width));
    case 3:
      return 1n;
    case 4:
      return (
        ((random.bits(width) >> BigInt(random.below(width))) << BigInt(random.below(width))) &
        ((1n << top) - 1n)
      );
    default:
      return random.bits(width);
  }
}

/** A pattern of a format with `exponentBits` and a hidden or explicit leading bit. */
export function floatPattern(
  random: CaseRandom,
  exponentBits: number,
  fieldWidth: number,
  explicit: boolean,
): bigint {
  const maximum = (1 << exponentBits) - 1;
  const bias = maximum >> 1;
  const exponents = [
    0,
    0,
    1,
    2,
    bias - 1,
    bias,
    bias + 1,
    bias + random.below(70) - 35,
    bias + random.below(8),
    maximum - 1,
    maximum,
    random.below(maximum),
  ];
  const exponent = random.pick(exponents);
  let field = significand(random, fieldWidth);
  if (explicit) {
    const integer = 1n << BigInt(fieldWidth - 1);
    const plain = exponent === 0 ? random.chance(90) : random.chance(3);
    field = plain ? field & ~integer : field | integer;
  }
  return (
    (BigInt(random.below(2)) << BigInt(exponentBits + fieldWidth)) |
    (BigInt(exponent) << BigInt(fieldWidth)) |
    field
  );
}

const single = (random: CaseRandom): bigint => floatPattern(random, 8, 23, false);
const double = (random: CaseRandom): bigint => floatPattern(random, 11, 52, false);
const extended = (random: CaseRandom): bigint => floatPattern(random, 15, 64, true);

function putLittle(bytes: Uint8Array, at: number, value: bigint, length: number): void {
  for (let i = 0; i < length; i++) bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
}

/** 16 bytes: singles, doubles, small integers as floats, or noise. */
function fillVector(random: CaseRandom, bytes: Uint8Array, at: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  switch (random.below(6)) {
    case 0:
    case 1:
      for (let i = 0; i < 4; i++) putLittle(bytes, at + 4 * i, single(random), 4);
      break;
    case 2:
    case 3:
      for (let i = 0; i < 2; i++) putLittle(bytes, at + 8 * i, double(random), 8);
      break;
    case 4:
      if (random.chance(50))
        for (let i = 0; i < 4; i++) view.setFloat32(at + 4 * i, random.below(2001) / 4 - 250, true);
      else for (let i = 0; i < 2; i++) view.setFloat64(at + 8 * i, random.below(200001) / 8 - 12500, true);
      break;
    default:
      putLittle(bytes, at, random.bits(128), 16);
  }
}

function fillExtended(random: CaseRandom, bytes: Uint8Array, at: number): void {
  if (random.chance(25)) {
    // A plain number around one.
    putLittle(bytes, at, random.bits(64) | (1n << 63n), 8);
    putLittle(bytes, at + 8, BigInt(0x3fff - 20 + random.below(40) + (random.below(2) << 15)), 2);
  } else putLittle(bytes, at, extended(random), 10);
}

/** `masked` percent of the cases have all exceptions masked. */
export interface StateOptions {
  readonly masked: number;
  readonly x87: boolean;
}

export function randomState(random: CaseRandom, options: StateOptions): InstructionState {
  const fx = new Uint8Array(512);
  const view = new DataView(fx.buffer);
  const masks = (): number => (random.chance(options.masked) ? 0x3f : random.below(64));
  const control =
    masks() |
    0x40 |
    ((random.chance(60) ? 3 : random.below(4)) << 8) |
    ((random.chance(50) ? 0 : random.below(4)) << 10);
  view.setUint16(0, control, true);
  const top = random.below(8);
  // No flag may be set that is unmasked: it would be pending.
  const flags = random.chance(50) ? 0 : random.below(64) & control & 0x3f;
  view.setUint16(2, flags | (top << 11) | (random.below(8) << 8) | (random.below(2) << 14), true);
  view.setUint8(4, !options.x87 || random.chance(70) ? 0xff : random.below(256));
  const mxcsr =
    (masks() << 7) |
    (random.chance(50) ? 0x20 : random.below(64)) |
    (random.chance(70) ? 0 : random.below(4) << 13) |
    (random.chance(85) ? 0 : 0x8000) |
    (random.chance(85) ? 0 : 0x40);
  view.setUint32(24, mxcsr, true);
  view.setUint32(28, 0xffff, true);
  for (let i = 0; i < 8; i++) fillExtended(random, fx, 32 + 16 * i);
  for (let i = 0; i < 16; i++) fillVector(random, fx, 160 + 16 * i);
  const gpr = new BigUint64Array(8);
  for (let i = 0; i < 8; i++)
    gpr[i] = random.chance(50) ? random.bits(64) : BigInt.asUintN(64, BigInt(random.below(4097) - 2048));
  gpr[5] = BigInt(HOST_MEMORY + (random.chance(97) ? 16 : random.below(32)));
  const memory = new Uint8Array(MEMORY_BYTES);
  for (let at = 0; at < 96; at += 16) {
    if (options.x87 && random.chance(30)) fillExtended(random, memory, at);
    else fillVector(random, memory, at);
  }
  return { fx, gpr, rflags: 0x202n | (random.bits(12) & 0x8d5n), memory };
}

const GPRS: Readonly<Record<number, readonly number[]>> = {
  8: [Register.AL, Register.CL, Register.DL, Register.BL, Register.SIL, Register.R8L],
  16: [Register.AX, Register.CX, Register.DX, Register.BX, Register.SI, Register.R8W],
  32: [Register.EAX, Register.ECX, Register.EDX, Register.EBX, Register.ESI, Register.R8D],
  64: [Register.RAX, Register.RCX, Register.RDX, Register.RBX, Register.RSI, Register.R8],
};

/** A random encoding of a form for 64-bit mode with memory at [RDI], or undefined when it has none. */
export function encodeForm(form: InstructionForm, random: CaseRandom): Uint8Array | undefined {
  const opCode = CodeExt.opCode(form.code);
  const instruction = new Instruction();
  instruction.code = form.code;
  for (let i = 0; i < opCode.opCount; i++)
    if (!setOperand(instruction, i, OpCodeOperandKind[opCode.opKind(i)]!, form, random)) return undefined;
  const encoder = new Encoder(64);
  try {
    encoder.encode(instruction, 0n);
    return encoder.takeBuffer();
  } catch {
    return undefined;
  }
}

function setOperand(
  instruction: InstanceType<typeof Instruction>,
  index: number,
  kind: string,
  form: InstructionForm,
  random: CaseRandom,
): boolean {
  const register = (value: number): boolean => {
    instruction.setOpKind(index, OpKind.Register);
    instruction.setOpRegister(index, value);
    return true;
  };
  const memory = (): boolean => {
    instruction.setOpKind(index, OpKind.Memory);
    instruction.memoryBase = Register.RDI;
    instruction.memoryDisplacement = 0n;
    return true;
  };
  if (kind === 'mem' || (kind.endsWith('_or_mem') && random.chance(40))) return memory();
  const operand = form.operands[form.operandIndexes.indexOf(index)];
  if (kind === 'seg_rDI') {
    instruction.setOpKind(index, OpKind.MemorySegRDI);
    return true;
  }
  if (kind.startsWith('imm8')) {
    instruction.setOpKind(index, OpKind.Immediate8);
    instruction.immediate8 = random.chance(70) ? random.below(32) : random.below(256);
    return true;
  }
  if (kind === 'st0') return register(Register.ST0);
  if (kind === 'sti_opcode') return register(Register.ST0 + random.below(8));
  if (kind === 'ax') return register(Register.AX);
  switch (operand?.kind) {
    case 'xmm':
      return register(Register.XMM0 + random.below(4));
    case 'mmx':
      return register(Register.MM0 + random.below(8));
    case 'gpr':
      return register(random.pick(GPRS[operand.registerBits!]!));
    default:
      return false;
  }
}
