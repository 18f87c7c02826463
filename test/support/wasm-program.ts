// Random WebAssembly function bodies, issued verb by verb to a CodeSink from a list of choices, so that a failing program
// shrinks with the list. Every program ends and traps nowhere: loops count down, addresses are masked, divisors are odd.

import type { CodeSink, Signature } from '#shared/wasm/code-sink.js';
import type { WasmType } from '#shared/wasm/opcodes.js';

export const PROGRAM_SIGNATURE: Signature = { parameters: ['i32', 'i64', 'i32'], results: ['i64'] };

/** Indices of what a program may call. */
export interface ProgramEnvironment {
  /** `(i32, i32) → i32` */
  readonly combine: number;
  /** `(i64) → ()` */
  readonly note: number;
  /** Type `(i32, i64) → i64`; the table's slots 0 and 1 are of it. */
  readonly tailType: number;
}

type Generated = 'i32' | 'i64' | 'v128';

const COMPARISONS = ['eq', 'ne', 'lt_s', 'lt_u', 'gt_s', 'gt_u', 'le_s', 'le_u', 'ge_s', 'ge_u'];
const BINARY = ['add', 'sub', 'mul', 'and', 'or', 'xor', 'shl', 'shr_s', 'shr_u', 'rotl', 'rotr'];
const VECTOR = ['i32x4.add', 'v128.xor', 'v128.andnot', 'i16x8.sub', 'i8x16.gt_s'];
const WORDS = [0, 1, -1, 2, 7, 8, 31, 32, 0xff, 0xffff, 0x7fffffff, -0x80000000, 0x1234567, 64, 4, -8];
const I32_LOADS = ['i32.load', 'i32.load8_u', 'i32.load8_s', 'i32.load16_u'];
const I64_LOADS = ['i64.load', 'i64.load32_u', 'i64.load32_s'];
const RMW = ['i32.atomic.rmw.add', 'i32.atomic.rmw.or', 'i32.atomic.rmw.and'];
const MAXIMUM_NESTING = 5;

export class WasmProgram {
  readonly #code: CodeSink;
  readonly #choices: readonly number[];
  readonly #environment: ProgramEnvironment;
  readonly #locals: Record<Generated, number[]> = { i32: [0, 2], i64: [1], v128: [] };
  /** Result types of the labels around, innermost last; loops are not branched to but by their own counters. */
  readonly #labels: ('plain' | 'loop' | WasmType)[] = [];
  #at = 0;

  constructor(code: CodeSink, choices: readonly number[], environment: ProgramEnvironment) {
    this.#code = code;
    this.#choices = choices;
    this.#environment = environment;
  }

  #choose(count: number): number {
    return (this.#choices[this.#at++] ?? 0) % count;
  }

  get #over(): boolean {
    return this.#at >= this.#choices.length;
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#choose(list.length)]!;
  }

  emit(): void {
    for (const type of ['i32', 'i32', 'i64', 'i64', 'v128'] as const)
      this.#locals[type].push(this.#code.local(type));
    while (!this.#over) this.#statement();
    this.#code.get(1);
    for (const local of this.#locals.i64) {
      this.#code.get(local);
      this.#code.operator('i64.xor');
    }
    for (const local of this.#locals.i32) {
      this.#code.get(local);
      this.#code.operator('i64.extend_i32_u');
      this.#code.operator('i64.add');
    }
  }

  #statement(): void {
    switch (this.#choose(16)) {
      case 0:
      case 1:
      case 2:
        return this.#assign(this.#pick(['i32', 'i64', 'v128']));
      case 3:
      case 4:
        return this.#fresh(this.#pick(['i32', 'i64', 'i64', 'v128']));
      case 5:
      case 6:
        return this.#store();
      case 7:
      case 8:
        return this.#if();
      case 9:
        return this.#block();
      case 10:
        return this.#loop();
      case 11:
        return this.#call();
      case 12:
        return this.#branch();
      case 13:
        return this.#exit();
      case 14:
        return this.#bulk();
      default:
        return this.#atomic();
    }
  }

  #body(): void {
    const count = this.#choose(5);
    for (let i = 0; i < count && !this.#over; i++) this.#statement();
  }

  #assign(type: Generated): void {
    this.#expression(type, 4);
    this.#code.set(this.#pick(this.#locals[type]));
  }

  #fresh(type: Generated): void {
    this.#expression(type, 3);
    const local = this.#code.local(type);
    this.#code.set(local);
    this.#locals[type].push(local);
  }

  #address(depth: number): void {
    this.#expression('i32', depth);
    this.#code.i32Const(0x78);
    this.#code.operator('i32.and');
  }

  #store(): void {
    const type = this.#pick(['i32', 'i64', 'v128'] as const);
    this.#address(2);
    this.#expression(type, 3);
    const name =
      type === 'i32'
        ? this.#pick(['i32.store', 'i32.store8', 'i32.store16'])
        : type === 'i64'
          ? this.#pick(['i64.store', 'i64.store32'])
          : 'v128.store';
    this.#code.memory(name, this.#pick([0, 8, 200]));
  }

  #if(): void {
    if (this.#labels.length >= MAXIMUM_NESTING) return;
    this.#expression('i32', 3);
    this.#code.if();
    this.#labels.push('plain');
    this.#body();
    if (this.#choose(2) === 1) {
      this.#code.else();
      this.#body();
    }
    this.#labels.pop();
    this.#code.end();
  }

  #block(): void {
    if (this.#labels.length >= MAXIMUM_NESTING) return;
    this.#code.block();
    this.#labels.push('plain');
    this.#body();
    this.#labels.pop();
    this.#code.end();
  }

  #loop(): void {
    if (this.#labels.length >= MAXIMUM_NESTING) return;
    const counter = this.#code.local('i32');
    this.#code.i32Const(this.#choose(4));
    this.#code.set(counter);
    this.#code.loop();
    this.#labels.push('loop');
    this.#body();
    this.#labels.pop();
    this.#code.get(counter);
    this.#code.i32Const(1);
    this.#code.operator('i32.sub');
    this.#code.tee(counter);
    this.#code.i32Const(0);
    this.#code.operator('i32.gt_s');
    this.#code.brIf(0);
    this.#code.end();
  }

  #call(): void {
    if (this.#choose(3) === 0) {
      this.#expression('i64', 3);
      this.#code.call(this.#environment.note);
      return;
    }
    this.#expression('i32', 2);
    this.#expression('i32', 2);
    this.#code.call(this.#environment.combine);
    this.#code.set(this.#pick(this.#locals.i32));
  }

  /** To a block or if around, always or on a condition. */
  #branch(): void {
    const depth = this.#choose(Math.max(1, this.#labels.length));
    const label = this.#labels.at(-1 - depth);
    if (label === undefined || label === 'loop') return;
    if (label !== 'plain') this.#expression(label as Generated, 2);
    this.#expression('i32', 2);
    if (this.#choose(3) === 0 && label === 'plain') {
      this.#code.if();
      this.#labels.push('plain');
      this.#body();
      this.#labels.pop();
      this.#code.br(depth + 1);
      this.#code.end();
    } else {
      this.#code.brIf(depth);
      if (label !== 'plain') this.#code.set(this.#pick(this.#locals[label as Generated]));
    }
  }

  /** Returns, in an arm. */
  #exit(): void {
    this.#expression('i32', 3);
    this.#code.if();
    this.#labels.push('plain');
    const kind = this.#choose(4);
    if (kind === 0) {
      this.#expression('i32', 2);
      this.#expression('i64', 3);
      this.#code.i32Const(this.#choose(2));
      this.#code.returnCallIndirect(this.#environment.tailType);
    } else {
      if (kind === 1) this.#assign('i64');
      this.#expression('i64', 3);
      this.#code.return();
    }
    this.#labels.pop();
    this.#code.end();
  }

  #bulk(): void {
    this.#address(1);
    if (this.#choose(2) === 0) {
      this.#address(2);
      this.#code.i32Const(this.#choose(24));
      this.#code.memoryCopy();
    } else {
      this.#expression('i32', 2);
      this.#code.i32Const(this.#choose(24));
      this.#code.memoryFill();
    }
  }

  #atomic(): void {
    if (this.#choose(4) === 0) return this.#code.fence();
    this.#address(2);
    if (this.#choose(2) === 0) {
      this.#expression('i32', 2);
      this.#code.atomic(this.#pick(RMW), 16);
    } else {
      this.#expression('i32', 1);
      this.#expression('i32', 2);
      this.#code.atomic('i32.atomic.rmw.cmpxchg', 0);
    }
    this.#code.set(this.#pick(this.#locals.i32));
  }

  /** Leaves a value on the stack. */
  #expression(type: Generated, depth: number): void {
    if (depth === 0 || this.#over || this.#choose(4) === 0) return this.#leaf(type);
    if (type === 'i32') this.#i32(depth - 1);
    else if (type === 'i64') this.#i64(depth - 1);
    else this.#v128(depth - 1);
  }

  #leaf(type: Generated): void {
    if (this.#choose(3) > 0) this.#code.get(this.#pick(this.#locals[type]));
    else if (type === 'i32') this.#code.i32Const(this.#pick(WORDS));
    else if (type === 'i64')
      this.#code.i64Const((BigInt(this.#pick(WORDS)) << 32n) | BigInt(this.#pick(WORDS) >>> 0));
    else this.#code.v128Const(Array.from({ length: 16 }, (_, i) => (i * this.#choose(9)) & 0xff));
  }

  #i32(depth: number): void {
    const code = this.#code;
    switch (this.#choose(11)) {
      case 0:
      case 1:
        return this.#operate('i32', `i32.${this.#pick(BINARY)}`, depth, 2);
      case 2:
        return this.#operate('i32', `i32.${this.#pick(COMPARISONS)}`, depth, 2);
      case 3:
        return this.#operate('i64', `i64.${this.#pick(COMPARISONS)}`, depth, 2);
      case 4:
        return this.#operate('i64', this.#pick(['i32.wrap_i64', 'i64.eqz']), depth, 1);
      case 5:
        return this.#operate('i32', this.#pick(['i32.eqz', 'i32.extend8_s', 'i32.popcnt']), depth, 1);
      case 6:
        this.#address(depth);
        return code.memory(this.#pick(I32_LOADS), this.#pick([0, 8, 200]));
      case 7:
        return this.#select('i32', depth);
      case 8:
        return this.#divide('i32', depth);
      case 9:
        this.#expression('v128', depth);
        return code.operator('i32x4.extract_lane', [this.#choose(4)]);
      default:
        return this.#valued('i32', depth);
    }
  }

  #i64(depth: number): void {
    switch (this.#choose(8)) {
      case 0:
      case 1:
        return this.#operate('i64', `i64.${this.#pick(BINARY)}`, depth, 2);
      case 2:
        return this.#operate('i32', this.#pick(['i64.extend_i32_u', 'i64.extend_i32_s']), depth, 1);
      case 3:
        return this.#operate('i64', this.#pick(['i64.clz', 'i64.extend32_s', 'i64.ctz']), depth, 1);
      case 4:
        this.#address(depth);
        return this.#code.memory(this.#pick(I64_LOADS), this.#pick([0, 8, 200]));
      case 5:
        return this.#select('i64', depth);
      case 6:
        return this.#divide('i64', depth);
      default:
        return this.#valued('i64', depth);
    }
  }

  #v128(depth: number): void {
    switch (this.#choose(4)) {
      case 0:
        return this.#operate('i64', 'i64x2.splat', depth, 1);
      case 1:
        this.#address(depth);
        return this.#code.memory('v128.load', 8);
      case 2:
        this.#expression('v128', depth);
        this.#expression('v128', depth);
        return this.#code.operator(
          'i8x16.shuffle',
          Array.from({ length: 16 }, (_, i) => (i + this.#choose(16)) & 31),
        );
      default:
        return this.#operate('v128', this.#pick(VECTOR), depth, 2);
    }
  }

  #operate(operands: Generated, name: string, depth: number, count: number): void {
    for (let i = 0; i < count; i++) this.#expression(operands, depth);
    this.#code.operator(name);
  }

  #select(type: Generated, depth: number): void {
    this.#expression(type, depth);
    this.#expression(type, depth);
    this.#expression('i32', depth);
    this.#code.select();
  }

  #divide(type: 'i32' | 'i64', depth: number): void {
    this.#expression(type, depth);
    this.#expression(type, depth);
    if (type === 'i32') this.#code.i32Const(1);
    else this.#code.i64Const(1n);
    this.#code.operator(`${type}.or`);
    this.#code.operator(`${type}.${this.#pick(['div_u', 'rem_u'])}`);
  }

  /** A construct with a result, or a value that is kept on its way. */
  #valued(type: 'i32' | 'i64', depth: number): void {
    const kind = this.#labels.length >= MAXIMUM_NESTING ? 2 : this.#choose(3);
    if (kind === 2) {
      this.#expression(type, depth);
      this.#code.tee(this.#pick(this.#locals[type]));
      return;
    }
    if (kind === 0) {
      this.#expression('i32', depth);
      this.#code.if(type);
    } else this.#code.block(type);
    this.#labels.push(type);
    this.#body();
    this.#expression(type, depth);
    if (kind === 0) {
      this.#code.else();
      this.#body();
      this.#expression(type, depth);
    }
    this.#labels.pop();
    this.#code.end();
  }
}
