// The interpreter tier's Operands: reads and writes an instruction's operands by what its operation record says.
// Register operands take the record's register fields in order; a memory operand its address fields.

import type { OperandBits, Operands, Value } from './emitter.js';
import type { HandlerShape, OperandShape } from './handler-shape.js';
import type { InterpreterEmitter } from './interpreter-emitter.js';
import {
  RECORD_BASE,
  RECORD_DISPLACEMENT,
  RECORD_IMMEDIATE,
  RECORD_INDEX,
  RECORD_REGISTER0,
  RECORD_REGISTER1,
  RECORD_SCALE,
  RECORD_SEGMENT,
  RECORD_SEGMENT_BASE,
} from './op-record.js';

const STATE_LOAD: Readonly<Record<OperandBits, string>> = {
  8: 'i32.load8_u',
  16: 'i32.load16_u',
  32: 'i32.load',
  64: 'i64.load',
  128: 'v128.load',
};
const STATE_STORE: Readonly<Record<OperandBits, string>> = {
  8: 'i32.store8',
  16: 'i32.store16',
  32: 'i32.store',
  64: 'i64.store',
  128: 'v128.store',
};

const typeOf = (bits: OperandBits): 'i32' | 'i64' | 'v128' =>
  bits === 128 ? 'v128' : bits === 64 ? 'i64' : 'i32';

export class InterpreterOperands implements Operands {
  readonly mnemonic: string;
  readonly count: number;
  readonly bits: OperandBits;
  readonly lock: boolean;
  readonly repeat: 'none' | 'rep' | 'repne';
  readonly far: boolean;
  readonly #e: InterpreterEmitter;
  readonly #shape: HandlerShape;

  constructor(emitter: InterpreterEmitter, shape: HandlerShape) {
    this.#e = emitter;
    this.#shape = shape;
    this.mnemonic = shape.mnemonic;
    this.count = shape.operands.length;
    this.bits = shape.bits;
    this.lock = shape.lock;
    this.repeat = shape.repeat;
    this.far = shape.far;
  }

  #modes(): { code: 16 | 32 | 64; address: 16 | 32 | 64; stack: 16 | 32 | 64 } {
    if (this.#shape.modes === undefined) throw new Error(`${this.mnemonic} is not modeSensitive`);
    return this.#shape.modes;
  }

  get mode(): 16 | 32 | 64 {
    return this.#modes().code;
  }

  get addressBits(): 16 | 32 | 64 {
    return this.#modes().address;
  }

  get stackBits(): 16 | 32 | 64 {
    return this.#modes().stack;
  }

  #operand(index: number): OperandShape {
    const operand = this.#shape.operands[index];
    if (operand === undefined) throw new Error(`${this.mnemonic} has no operand ${index}`);
    return operand;
  }

  kind(index: number): OperandShape['kind'] {
    return this.#operand(index).kind;
  }

  bitsOf(index: number): OperandBits {
    return this.#operand(index).bits;
  }

  /** The record's field for register operand `index`. */
  #field(index: number): number {
    let registers = 0;
    for (let i = 0; i < index; i++) if (isRegister(this.#operand(i))) registers++;
    return registers === 0 ? RECORD_REGISTER0 : RECORD_REGISTER1;
  }

  #offset(index: number): Value {
    return this.#e.recordU16(this.#field(index));
  }

  registerNumber(index: number): Value {
    return this.#offset(index);
  }

  read(index: number, displacement?: Value): Value {
    const { kind, bits } = this.#operand(index);
    switch (kind) {
      case 'immediate':
        return bits === 64 ? this.#e.recordI64(RECORD_IMMEDIATE) : this.#immediate(index, bits);
      case 'memory':
        return this.#e.load(this.#linear(bits / 8, 'read', displacement), bits / 8);
      case 'gpr':
      case 'xmm':
      case 'mmx':
        return this.#e.loadStateAt(this.#offset(index), STATE_LOAD[bits], typeOf(bits));
      case 'branch':
        return this.#e.recordI64(RECORD_IMMEDIATE);
      case 'st':
      case 'segment':
      case 'control':
      case 'debug':
        throw new Error(`${this.mnemonic}: operand ${index} (${kind}) is read through a verb of its own`);
    }
  }

  /** A second immediate (ENTER) stands in the displacement's field. */
  #immediate(index: number, bits: OperandBits): Value {
    const second = index > 0 && this.#operand(index - 1).kind === 'immediate';
    const value = this.#e.recordI32(second ? RECORD_DISPLACEMENT : RECORD_IMMEDIATE);
    return bits === 32 ? value : this.#e.zeroExtend(value, bits);
  }

  readLow(index: number, bits: 8 | 16 | 32 | 64): Value {
    const { kind } = this.#operand(index);
    if (kind === 'memory') return this.#e.load(this.linearAddress(index, bits / 8, 'read'), bits / 8);
    if (kind === 'immediate') return this.#e.zeroExtend(this.#e.recordI32(RECORD_IMMEDIATE), bits);
    return this.#e.loadStateAt(this.#offset(index), STATE_LOAD[bits], typeOf(bits));
  }

  readScalar(index: number, bits: 32 | 64): Value {
    if (this.kind(index) === 'memory')
      return this.#e.load(this.linearAddress(index, bits / 8, 'read'), bits / 8, true);
    const type = bits === 64 ? 'f64' : 'f32';
    return this.#e.loadStateAt(this.#offset(index), `${type}.load`, type);
  }

  writeScalar(index: number, bits: 32 | 64, value: Value): void {
    if (this.kind(index) === 'memory')
      this.#e.store(this.linearAddress(index, bits / 8, 'write'), bits / 8, value);
    else this.#e.storeStateAt(this.#offset(index), bits === 64 ? 'f64.store' : 'f32.store', value);
  }

  write(index: number, value: Value): void {
    const { kind, bits } = this.#operand(index);
    if (kind === 'memory') this.#e.store(this.linearAddress(index, bits / 8, 'write'), bits / 8, value);
    else this.#writeRegister(index, kind, bits, value);
  }

  #writeRegister(index: number, kind: OperandShape['kind'], bits: OperandBits, value: Value): void {
    if (kind === 'gpr' && bits === 32)
      this.#e.storeStateAt(this.#offset(index), 'i64.store', this.#e.extendU(value));
    else this.#storeRegister(index, kind, bits, value);
  }

  /** A write to an MMX register sets the exponent of the x87 register that it lies in to all ones. SDM vol. 1 §9.2.1. */
  #storeRegister(index: number, kind: OperandShape['kind'], bits: OperandBits, value: Value): void {
    const offset = this.#offset(index);
    this.#e.storeStateAt(offset, STATE_STORE[bits], value);
    if (kind === 'mmx')
      this.#e.storeStateAt(this.#e.add(offset, this.#e.i32(8)), 'i32.store16', this.#e.i32(0xffff));
  }

  writeLow(index: number, bits: 8 | 16 | 32 | 64, value: Value): void {
    const { kind } = this.#operand(index);
    if (kind === 'memory') this.#e.store(this.linearAddress(index, bits / 8, 'write'), bits / 8, value);
    else this.#storeRegister(index, kind, bits, value);
  }

  modify(index: number, change: (old: Value) => Value, displacement?: Value): { old: Value; value: Value } {
    const { kind, bits } = this.#operand(index);
    if (kind === 'memory')
      return this.#e.modifyAt(this.#linear(bits / 8, 'write', displacement), bits / 8, change);
    const old = this.read(index);
    const value = change(old);
    this.#writeRegister(index, kind, bits, value);
    return { old, value };
  }

  effectiveAddress(_index: number): Value {
    return this.#computeAddress(undefined);
  }

  #computeAddress(extra: Value | undefined): Value {
    const e = this.#e;
    const register = (field: number): Value => e.loadStateAt(e.recordU16(field), 'i64.load', 'i64');
    if (this.#shape.address === 'absolute') return e.recordI64(RECORD_IMMEDIATE);
    let displacement = e.extendS(e.recordI32(RECORD_DISPLACEMENT));
    if (extra !== undefined) displacement = e.add(displacement, extra);
    const based = e.add(register(RECORD_BASE), displacement);
    if (this.#shape.address === 'base') return based;
    const scale = e.extendU(e.recordU8(RECORD_SCALE));
    const sum = e.add(based, e.shl(register(RECORD_INDEX), scale));
    if (this.#shape.address === 'full') return sum;
    return e.zeroExtend(sum, this.#shape.address === 'legacy16' ? 16 : 32);
  }

  segment(): Value {
    return this.#e.recordU8(RECORD_SEGMENT);
  }

  linearAddress(_index: number, bytes: number, access: 'read' | 'write'): Value {
    return this.#linear(bytes, access, undefined);
  }

  #linear(bytes: number, access: 'read' | 'write', displacement: Value | undefined): Value {
    const e = this.#e;
    const offset = this.#computeAddress(displacement);
    switch (this.#shape.address) {
      case 'base':
        return offset;
      case 'legacy16':
      case 'legacy32':
        return e.linear(this.segment(), offset, bytes, access);
      default:
        return e.add(offset, e.loadStateAt(e.recordU16(RECORD_SEGMENT_BASE), 'i64.load', 'i64'));
    }
  }
}

/** Whether an operand takes a register field of the record. */
export function isRegister(operand: OperandShape): boolean {
  return operand.kind !== 'memory' && operand.kind !== 'immediate' && operand.kind !== 'branch';
}
