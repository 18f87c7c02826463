// The part of an Emitter that computes: values are locals or constants of a function under construction, so that
// each may be used any number of times. Knows nothing of registers, memory or x86.

import type { CodeSink } from '#shared/wasm/code-sink.js';
import { wasmOperator } from '#shared/wasm/opcodes.js';
import type { Label, OperandBits, Value, ValueType, Variable } from './emitter.js';

interface BuiltValue extends Value {
  readonly local?: number;
  readonly constant?: bigint;
}

/** Straight-line values and structured control flow over a {@link CodeSink}. */
export class ValueBuilder {
  readonly code: CodeSink;
  protected depth = 0;

  constructor(code: CodeSink) {
    this.code = code;
  }

  /** Wraps a local (a parameter, say) as a value. */
  protected fromLocal(local: number, type: ValueType): Value {
    const value: BuiltValue = { type, local };
    return value;
  }

  /** Emits code that leaves `value` on the stack. */
  protected push(value: Value): void {
    const built = value as BuiltValue;
    if (built.local !== undefined) this.code.get(built.local);
    else if (built.type === 'i32') this.code.i32Const(Number(BigInt.asIntN(32, built.constant!)));
    else this.code.i64Const(built.constant!);
  }

  /** Takes the stack's top into a new local. */
  protected take(type: ValueType): Value {
    const local = this.code.local(type);
    this.code.set(local);
    return this.fromLocal(local, type);
  }

  protected constantOf(value: Value): bigint | undefined {
    return (value as BuiltValue).constant;
  }

  known(value: Value): number | undefined {
    const constant = this.constantOf(value);
    if (constant === undefined) return undefined;
    return Number(BigInt.asUintN(value.type === 'i32' ? 32 : 64, constant));
  }

  i32(value: number): Value {
    const built: BuiltValue = { type: 'i32', constant: BigInt(value | 0) };
    return built;
  }

  i64(value: bigint | number): Value {
    const built: BuiltValue = { type: 'i64', constant: BigInt.asIntN(64, BigInt(value)) };
    return built;
  }

  constant(bits: OperandBits, value: bigint | number): Value {
    return bits === 64 ? this.i64(value) : this.i32(Number(BigInt.asIntN(32, BigInt(value))));
  }

  op(name: string, operands: readonly Value[], immediates: readonly number[] = []): Value {
    if (name === 'v128.const') {
      this.code.v128Const(immediates);
      return this.take('v128');
    }
    if (name === 'atomic.fence') {
      this.code.fence();
      return this.i32(0);
    }
    const operator = wasmOperator(name);
    if (operands.length !== operator.operands.length)
      throw new Error(`${name} takes ${operator.operands.length} operands`);
    operands.forEach((operand, i) => {
      if (operand.type !== operator.operands[i]) throw new Error(`${name}: operand ${i} is ${operand.type}`);
      this.push(operand);
    });
    this.code.operator(name, immediates);
    return this.take(operator.result);
  }

  #integer(name: string, a: Value, b: Value): Value {
    if (a.type !== b.type) throw new Error(`${name}: ${a.type} and ${b.type}`);
    const x = this.constantOf(a);
    const y = this.constantOf(b);
    if (x !== undefined && y !== undefined) {
      const folded = foldConstants(name, x, y, a.type === 'i64' ? 64 : 32);
      if (folded !== undefined)
        return a.type === 'i64' ? this.i64(folded) : this.i32(Number(BigInt.asIntN(32, folded)));
    }
    return this.op(`${a.type}.${name}`, [a, b]);
  }

  add = (a: Value, b: Value): Value => (this.constantOf(b) === 0n ? a : this.#integer('add', a, b));
  sub = (a: Value, b: Value): Value => this.#integer('sub', a, b);
  mul = (a: Value, b: Value): Value => this.#integer('mul', a, b);
  and = (a: Value, b: Value): Value => this.#integer('and', a, b);
  or = (a: Value, b: Value): Value => this.#integer('or', a, b);
  xor = (a: Value, b: Value): Value => this.#integer('xor', a, b);
  shl = (a: Value, b: Value): Value => (this.constantOf(b) === 0n ? a : this.#integer('shl', a, b));
  shrU = (a: Value, b: Value): Value => (this.constantOf(b) === 0n ? a : this.#integer('shr_u', a, b));
  shrS = (a: Value, b: Value): Value => (this.constantOf(b) === 0n ? a : this.#integer('shr_s', a, b));
  rotl = (a: Value, b: Value): Value => this.#integer('rotl', a, b);
  rotr = (a: Value, b: Value): Value => this.#integer('rotr', a, b);
  eq = (a: Value, b: Value): Value => this.#integer('eq', a, b);
  ne = (a: Value, b: Value): Value => this.#integer('ne', a, b);
  ltU = (a: Value, b: Value): Value => this.#integer('lt_u', a, b);
  ltS = (a: Value, b: Value): Value => this.#integer('lt_s', a, b);
  leU = (a: Value, b: Value): Value => this.#integer('le_u', a, b);
  leS = (a: Value, b: Value): Value => this.#integer('le_s', a, b);
  gtU = (a: Value, b: Value): Value => this.#integer('gt_u', a, b);
  gtS = (a: Value, b: Value): Value => this.#integer('gt_s', a, b);
  geU = (a: Value, b: Value): Value => this.#integer('ge_u', a, b);
  geS = (a: Value, b: Value): Value => this.#integer('ge_s', a, b);
  clz = (a: Value): Value => this.op(`${a.type}.clz`, [a]);
  ctz = (a: Value): Value => this.op(`${a.type}.ctz`, [a]);
  popcnt = (a: Value): Value => this.op(`${a.type}.popcnt`, [a]);
  eqz = (a: Value): Value => this.op(`${a.type}.eqz`, [a]);

  wrap(a: Value): Value {
    const constant = this.constantOf(a);
    return constant === undefined
      ? this.op('i32.wrap_i64', [a])
      : this.i32(Number(BigInt.asIntN(32, constant)));
  }

  extendU(a: Value): Value {
    const constant = this.constantOf(a);
    return constant === undefined ? this.op('i64.extend_i32_u', [a]) : this.i64(BigInt.asUintN(32, constant));
  }

  extendS(a: Value): Value {
    const constant = this.constantOf(a);
    return constant === undefined ? this.op('i64.extend_i32_s', [a]) : this.i64(constant);
  }

  toBits(a: Value, bits: OperandBits): Value {
    if (bits === 64) return a.type === 'i64' ? a : this.extendU(a);
    return a.type === 'i32' ? a : this.wrap(a);
  }

  zeroExtend(a: Value, bits: number): Value {
    if (a.type === 'i32') return bits >= 32 ? a : this.and(a, this.i32((1 << bits) - 1));
    return bits >= 64 ? a : this.and(a, this.i64((1n << BigInt(bits)) - 1n));
  }

  signExtend(a: Value, bits: number): Value {
    const width = a.type === 'i32' ? 32 : 64;
    if (bits >= width) return a;
    if (bits === 8 || bits === 16 || bits === 32) return this.op(`${a.type}.extend${bits}_s`, [a]);
    const count = a.type === 'i32' ? this.i32(width - bits) : this.i64(width - bits);
    return this.shrS(this.shl(a, count), count);
  }

  select(condition: Value, a: Value, b: Value): Value {
    if (a.type === 'v128')
      return this.ifValue(
        condition,
        'v128',
        () => a,
        () => b,
      );
    this.push(a);
    this.push(b);
    this.push(condition);
    this.code.select();
    return this.take(a.type);
  }

  if(condition: Value, then: () => void, otherwise?: () => void): void {
    this.branchOn(condition, then, otherwise);
  }

  /** What `if` does, for the builders' own slow paths. */
  protected branchOn(condition: Value, then: () => void, otherwise?: () => void): void {
    const known = this.constantOf(condition);
    if (known !== undefined) {
      if (known !== 0n) then();
      else otherwise?.();
      return;
    }
    this.push(condition);
    this.code.if();
    this.depth++;
    then();
    if (otherwise !== undefined) {
      this.code.else();
      otherwise();
    }
    this.depth--;
    this.code.end();
  }

  ifValue(condition: Value, type: ValueType, then: () => Value, otherwise: () => Value): Value {
    const result = this.code.local(type);
    this.if(
      condition,
      () => {
        this.push(then());
        this.code.set(result);
      },
      () => {
        this.push(otherwise());
        this.code.set(result);
      },
    );
    return this.fromLocal(result, type);
  }

  /** What `ifValue` does, for the builders' own slow paths. */
  protected valueOn(condition: Value, type: ValueType, then: () => Value, otherwise: () => Value): Value {
    const result = this.code.local(type);
    this.branchOn(
      condition,
      () => {
        this.push(then());
        this.code.set(result);
      },
      () => {
        this.push(otherwise());
        this.code.set(result);
      },
    );
    return this.fromLocal(result, type);
  }

  ifRare(condition: Value, then: () => void): void {
    this.branchOn(condition, then);
  }

  unlessRare(condition: Value, type: ValueType, usual: () => Value, rare: () => Value): Value {
    return this.valueOn(condition, type, usual, rare);
  }

  block(body: (end: Label) => void): void {
    this.code.block();
    this.depth++;
    body({ depth: this.depth });
    this.depth--;
    this.code.end();
  }

  loop(body: (again: Label) => void): void {
    this.code.loop();
    this.depth++;
    body({ depth: this.depth });
    this.depth--;
    this.code.end();
  }

  branch(label: Label): void {
    this.code.br(this.depth - label.depth);
  }

  branchIf(label: Label, condition: Value): void {
    this.push(condition);
    this.code.brIf(this.depth - label.depth);
  }

  variable(initial: Value): Variable {
    const type = initial.type;
    const local = this.code.local(type);
    this.push(initial);
    this.code.set(local);
    return {
      type,
      get: () => {
        this.code.get(local);
        return this.take(type);
      },
      set: (value) => {
        this.push(value);
        this.code.set(local);
      },
    };
  }
}

/** Constants of `bits`; undefined for an operator that is not folded. Comparisons are left alone: they are rare. */
function foldConstants(name: string, a: bigint, b: bigint, bits: number): bigint | undefined {
  const count = BigInt.asUintN(64, b) % BigInt(bits);
  switch (name) {
    case 'add':
      return a + b;
    case 'sub':
      return a - b;
    case 'and':
      return a & b;
    case 'or':
      return a | b;
    case 'xor':
      return a ^ b;
    case 'shl':
      return a << count;
    case 'shr_u':
      return BigInt.asUintN(bits, a) >> count;
    default:
      return undefined;
  }
}
