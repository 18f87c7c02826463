// The x87 register stack, status and exceptions on a vCPU's state page. Intel SDM vol. 1 §8.1 (stack, status, tags), §8.4–8.7
// (exceptions). Status lives without TOP; ES and B always follow from the flags and masks. FCS and FDS are deprecated
// and stay zero.
import {
  HELPER_ARG2,
  RIP,
  VECTOR_SCRATCH,
  X87,
  X87_CONTROL,
  X87_DP,
  X87_IP,
  X87_STATUS,
  X87_TAGS,
  X87_TOP,
} from '#shared/x86/cpu-state.js';
import {
  DE,
  F32,
  F64,
  F80,
  IE,
  PE,
  ZE,
  bitLength,
  defaultNan,
  isNan,
  pack,
  quietBit,
  unpack,
} from '#shared/x86/softfloat/format.js';
import type { Format } from '#shared/x86/softfloat/format.js';
import { newEnvironment } from '#shared/x86/softfloat/rounding.js';
import type { FloatEnvironment } from '#shared/x86/softfloat/rounding.js';
import {
  copyExtended,
  widenDouble,
  widenInteger,
  widenSingle,
} from '#shared/x86/softfloat/extended-transfer.js';
import { fromBcd, fromInteger } from '#shared/x86/softfloat/conversion.js';

export const SF = 0x40;
export const ES = 0x80;
export const C0 = 0x100;
export const C1 = 0x200;
export const C2 = 0x400;
export const C3 = 0x4000;
export const BUSY = 0x8000;
const EXCEPTIONS = 0x3f;

/** What a memory operand is; the datum waits in VECTOR_SCRATCH. The semantics pass these as helper arguments. */
export const SOURCE_F32 = 0;
export const SOURCE_F64 = 1;
export const SOURCE_F80 = 2;
export const SOURCE_I16 = 3;
export const SOURCE_I32 = 4;
export const SOURCE_I64 = 5;
export const SOURCE_BCD = 6;

const PRECISIONS = [24, 64, 53, 64] as const;
export const INDEFINITE = defaultNan(F80);

export class X87Unit {
  readonly page: DataView;
  readonly env: FloatEnvironment = newEnvironment({ x87: true });

  constructor(page: DataView) {
    this.page = page;
  }

  get top(): number {
    return this.page.getInt32(X87_TOP, true);
  }
  set top(value: number) {
    this.page.setInt32(X87_TOP, value & 7, true);
  }
  get status(): number {
    return this.page.getInt32(X87_STATUS, true);
  }
  get control(): number {
    return this.page.getInt32(X87_CONTROL, true);
  }
  get tags(): number {
    return this.page.getInt32(X87_TAGS, true);
  }
  set tags(value: number) {
    this.page.setInt32(X87_TAGS, value & 0xff, true);
  }

  /** Sets the status word; ES and B follow from flags and masks. */
  set status(value: number) {
    this.page.setInt32(X87_STATUS, summarize(value, this.control), true);
  }

  /** Starts an instruction that can raise exceptions: takes the controls, clears C1 (FCOMI and FCMOV keep it), notes the instruction pointer. */
  begin(keepC1 = false): FloatEnvironment {
    const { env, control } = this;
    env.rounding = (control >> 10) & 3;
    env.precision = PRECISIONS[(control >> 8) & 3]!;
    env.masks = control & EXCEPTIONS;
    env.flags = 0;
    env.roundedUp = false;
    env.sourceDenormal = false;
    if (!keepC1) this.page.setInt32(X87_STATUS, this.status & ~C1, true);
    this.noteInstruction();
    return env;
  }

  noteInstruction(): void {
    this.page.setInt32(X87_IP, this.page.getInt32(RIP, true), true);
    this.page.setInt32(X87_IP + 4, this.page.getInt32(RIP + 4, true), true);
  }

  /** The data pointer changes with an unmasked exception only (CPUID.7.0:EBX[6]). */
  noteOperand(): void {
    this.page.setBigUint64(X87_DP, this.page.getBigUint64(HELPER_ARG2, true), true);
  }

  /** Byte offset of ST(i)'s physical register. */
  offset(i: number): number {
    return X87 + ((this.top + i) & 7) * 16;
  }

  isEmpty(i: number): boolean {
    return ((this.tags >> ((this.top + i) & 7)) & 1) === 0;
  }

  read(i: number): bigint {
    const at = this.offset(i);
    return (BigInt(this.page.getUint16(at + 8, true)) << 64n) | this.page.getBigUint64(at, true);
  }

  /** Writes ST(i) and makes it valid. */
  write(i: number, pattern: bigint): void {
    const at = this.offset(i);
    this.page.setBigUint64(at, BigInt.asUintN(64, pattern), true);
    this.page.setUint16(at + 8, Number(pattern >> 64n), true);
    this.tags |= 1 << ((this.top + i) & 7);
  }

  validate(i: number): void {
    this.tags |= 1 << ((this.top + i) & 7);
  }

  free(i: number): void {
    this.tags &= ~(1 << ((this.top + i) & 7));
  }

  pop(): void {
    this.free(0);
    this.top += 1;
  }

  /** Sets flags in the status word. True when the instruction must leave its operands alone: an unmasked fault before the computation. */
  raise(flags: number): boolean {
    const faults = flags & ~this.control & (IE | DE | ZE);
    // What stops before the computation cannot round, overflow or underflow.
    this.status |= faults === 0 ? flags : flags & (IE | DE | ZE | SF);
    return faults !== 0;
  }

  /** Ends an arithmetic instruction: flags and C1 of the environment. True when the result must not be stored. */
  finish(): boolean {
    const { env } = this;
    const stop = this.raise(env.flags);
    if (!stop && env.roundedUp && (env.flags & PE) !== 0) this.setCondition(C1, C1);
    return stop;
  }

  setCondition(mask: number, value: number): void {
    this.page.setInt32(X87_STATUS, (this.status & ~mask) | value, true);
  }

  /** Stack underflow: IE and SF, C1 = 0. True when it is masked, so that the indefinite is stored. */
  underflow(): boolean {
    this.setCondition(C1, 0);
    return !this.raise(IE | SF);
  }

  /** Pushes; on stack overflow IE, SF and C1 = 1, and the indefinite when that is masked. */
  push(pattern: bigint): void {
    if (!this.isEmpty(-1)) {
      this.setCondition(C1, C1);
      if (this.raise(IE | SF)) return;
      pattern = INDEFINITE;
    }
    this.top -= 1;
    this.write(0, pattern);
  }

  /** A memory operand as an extended value; a signalling NaN stays one, a denormal is noted in the environment. */
  source(type: number): bigint {
    const { page } = this;
    switch (type) {
      case SOURCE_F32:
        return this.#widen(F32, BigInt(page.getUint32(VECTOR_SCRATCH, true)));
      case SOURCE_F64:
        return this.#widen(F64, page.getBigUint64(VECTOR_SCRATCH, true));
      case SOURCE_F80:
        return (
          (BigInt(page.getUint16(VECTOR_SCRATCH + 8, true)) << 64n) | page.getBigUint64(VECTOR_SCRATCH, true)
        );
      case SOURCE_I16:
        return exactInteger(BigInt(page.getInt16(VECTOR_SCRATCH, true)));
      case SOURCE_I32:
        return exactInteger(BigInt(page.getInt32(VECTOR_SCRATCH, true)));
      case SOURCE_I64:
        return exactInteger(page.getBigInt64(VECTOR_SCRATCH, true));
      default:
        return bcdValue(
          (BigInt(page.getUint16(VECTOR_SCRATCH + 8, true)) << 64n) | page.getBigUint64(VECTOR_SCRATCH, true),
        );
    }
  }

  /** Widens a memory operand to `to` when it is an ordinary number. */
  quickSource(type: number, to: number): boolean {
    const { page } = this;
    switch (type) {
      case SOURCE_F32:
        return widenSingle(page, VECTOR_SCRATCH, to);
      case SOURCE_F64:
        return widenDouble(page, VECTOR_SCRATCH, to);
      case SOURCE_F80:
        copyExtended(page, VECTOR_SCRATCH, to);
        return true;
      case SOURCE_BCD:
        return false;
      default:
        widenInteger(page, ...integerWords(page, type), to);
        return true;
    }
  }

  /** Pushes without a look at the tags: the offset of the new, valid ST(0). */
  pushSlot(): number {
    this.top -= 1;
    this.tags |= 1 << this.top;
    return this.offset(0);
  }

  #widen(format: Format, pattern: bigint): bigint {
    const a = unpack(format, pattern);
    this.env.sourceDenormal = a.denormal;
    return widen(format, pattern);
  }
}

function integerWords(page: DataView, type: number): [number, number] {
  if (type === SOURCE_I64)
    return [page.getInt32(VECTOR_SCRATCH + 4, true), page.getUint32(VECTOR_SCRATCH, true)];
  const value =
    type === SOURCE_I16 ? page.getInt16(VECTOR_SCRATCH, true) : page.getInt32(VECTOR_SCRATCH, true);
  return [value >> 31, value >>> 0];
}

const EXACT = newEnvironment({ x87: true });

function exactInteger(value: bigint): bigint {
  return fromInteger(F80, EXACT, value);
}

function bcdValue(pattern: bigint): bigint {
  const { magnitude, sign } = fromBcd(pattern);
  const value = exactInteger(magnitude);
  return sign === 1 ? value | (1n << 79n) : value;
}

/** A single or double as an extended value, exactly; NaNs keep their quiet bit. */
export function widen(format: Format, pattern: bigint): bigint {
  const a = unpack(format, pattern);
  const shift = BigInt(F80.precision - format.precision);
  if (isNan(a)) return pack(F80, a.sign, 0x7fff, (1n << 63n) | (a.significand << shift));
  if (a.kind === 'infinity') return pack(F80, a.sign, 0x7fff, 1n << 63n);
  if (a.kind === 'zero') return pack(F80, a.sign, 0, 0n);
  const length = bitLength(a.significand);
  return pack(F80, a.sign, a.exponent + length - 1 + F80.emax, a.significand << BigInt(64 - length));
}

/** ES (and B, its copy) is set while a flag is whose mask is clear. */
export function summarize(status: number, control: number): number {
  const pending = (status & ~control & EXCEPTIONS) !== 0;
  return pending ? status | ES | BUSY : status & ~(ES | BUSY);
}

/** Makes a NaN pattern quiet. */
export function quieten(pattern: bigint): bigint {
  return pattern | quietBit(F80);
}
