// Makes nodes for operators, smaller where arithmetic allows it: constants folded, neutral operands and redundant
// masks and extensions left out, comparisons inverted instead of compared with zero.

import { fold32, fold64, highWord, lowWord } from './constant-folding.js';
import { OPERATOR_ARITY, TREE_ACCESSES } from './tree-opcodes.js';
import { N_CONST32, N_CONST64, N_LOAD, N_SELECT, type TreeNodes } from './tree-nodes.js';

const I32_EQZ = 0x45;
const I64_EQZ = 0x50;
const ADD = 0x6a;
const SUB = 0x6b;
const MUL = 0x6c;
const AND = 0x71;
const OR = 0x72;
const XOR = 0x73;
const SHL = 0x74;
const SHR_U = 0x76;
const ROTR = 0x78;
const WRAP = 0xa7;
const EXTEND_S = 0xac;
const EXTEND_U = 0xad;
const I64_AND = 0x83;
/** From a 32-bit operator's opcode to the 64-bit one's. */
const WIDE_COMPARISON = 0x0b;
const WIDE_ARITHMETIC = 0x12;

/** eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u: each one's opposite, as an offset from eq. */
const OPPOSITE = Uint8Array.of(1, 0, 8, 9, 6, 7, 4, 5, 2, 3);

const isNarrowComparison = (op: number): boolean => op >= 0x46 && op <= 0x4f;
const isWideComparison = (op: number): boolean => op >= 0x51 && op <= 0x5a;
const isCommutative = (op: number): boolean =>
  op === ADD || op === MUL || (op >= AND && op <= XOR) || op === 0x46 || op === 0x47;

export class TreeAlgebra {
  readonly #nodes: TreeNodes;

  constructor(nodes: TreeNodes) {
    this.#nodes = nodes;
  }

  unary(op: number, a: number, immediate: number): number {
    switch (op) {
      case I32_EQZ:
      case I64_EQZ:
        return this.#eqz(op, a);
      case WRAP:
        return this.#wrap(a);
      case EXTEND_S:
      case EXTEND_U:
        return this.#extend(op, a);
      case 0xc0:
      case 0xc1:
        return this.#signExtend(op, a);
      default:
        return this.#nodes.operator(op, a, 0, 0, immediate);
    }
  }

  binary(op: number, a: number, b: number, immediate: number): number {
    if (isNarrowComparison(op) || (op >= ADD && op <= ROTR)) return this.#integer(op, op, false, a, b);
    if (isWideComparison(op)) return this.#integer(op, op - WIDE_COMPARISON, true, a, b);
    if (op >= ADD + WIDE_ARITHMETIC && op <= ROTR + WIDE_ARITHMETIC)
      return this.#integer(op, op - WIDE_ARITHMETIC, true, a, b);
    return this.#nodes.operator(op, a, b, 0, immediate);
  }

  select(a: number, b: number, condition: number): number {
    const nodes = this.#nodes;
    const test = this.condition(condition);
    if (a === b) return a;
    if (nodes.op[test] === N_CONST32) return nodes.a[test] !== 0 ? a : b;
    return nodes.pure(N_SELECT, a, b, test, 0, nodes.type[a]!, 3);
  }

  /** A value that is zero exactly when `n` is, for where only that matters. */
  condition(n: number): number {
    const { op, a, b } = this.#nodes;
    for (;;) {
      if (op[n] === I32_EQZ && op[a[n]!] === I32_EQZ) n = a[a[n]!]!;
      else if (op[n] === 0x47 && this.#isConst(b[n]!, 0, 0)) n = a[n]!;
      else return n;
    }
  }

  /** What a store that keeps `bits` of an i32 needs of `n`. */
  stored(n: number, bits: number): number {
    const { op, a, b } = this.#nodes;
    if (bits >= 32) return n;
    const mask = bits === 8 ? 0xff : 0xffff;
    while (op[n] === AND && op[b[n]!] === N_CONST32 && (a[b[n]!]! & mask) === mask) n = a[n]!;
    return n;
  }

  /** The most bits that an i32 or i64 may have set from the low end. */
  #bits(n: number): number {
    const { op, a, b } = this.#nodes;
    const code = op[n]!;
    if (code === N_CONST32) return 32 - Math.clz32(a[n]!);
    if ((code >= I32_EQZ && code <= 0x66) === true) return 1;
    if (code === N_LOAD) return TREE_ACCESSES[b[n]!]!.bits;
    if (code === AND && op[b[n]!] === N_CONST32) return 32 - Math.clz32(a[b[n]!]!);
    if (code === SHR_U && op[b[n]!] === N_CONST32) return 32 - (a[b[n]!]! & 31);
    return 64;
  }

  #isConst(n: number, low: number, high: number): boolean {
    const { op, a, b } = this.#nodes;
    if (op[n] === N_CONST32) return a[n] === low;
    return op[n] === N_CONST64 && a[n] === low && b[n] === high;
  }

  #constant(wide: boolean, low: number, high: number): number {
    return wide ? this.#nodes.const64(low, high) : this.#nodes.const32(low);
  }

  /** `base` is the 32-bit operator that `op` is, or is the wide form of. */
  #integer(op: number, base: number, wide: boolean, a: number, b: number): number {
    const nodes = this.#nodes;
    if (nodes.isConstant(a)) {
      if (nodes.isConstant(b)) {
        const folded = this.#fold(base, wide, a, b);
        if (folded >= 0) return folded;
      } else if (isCommutative(base)) [a, b] = [b, a];
    }
    const known = nodes.isConstant(b)
      ? this.#withConstant(op, base, wide, a, b)
      : a === b
        ? this.#withItself(base, wide, a)
        : -1;
    return known >= 0 ? known : nodes.operator(op, a, b, 0, 0);
  }

  #fold(base: number, wide: boolean, a: number, b: number): number {
    const nodes = this.#nodes;
    if (!wide) {
      const value = fold32(base, nodes.a[a]!, nodes.a[b]!);
      return value === undefined ? -1 : nodes.const32(value);
    }
    const value = fold64(base, nodes.a[a]!, nodes.b[a]!, nodes.a[b]!, nodes.b[b]!);
    if (value === undefined) return -1;
    return isNarrowComparison(base)
      ? nodes.const32(Number(value))
      : nodes.const64(lowWord(value), highWord(value));
  }

  #withItself(base: number, wide: boolean, a: number): number {
    if (base === AND || base === OR) return a;
    if (base === SUB || base === XOR) return this.#constant(wide, 0, 0);
    // eq le ge hold, ne lt gt do not.
    if (isNarrowComparison(base)) return this.#nodes.const32(+(base === 0x46 || base >= 0x4c));
    return -1;
  }

  #withConstant(op: number, base: number, wide: boolean, a: number, b: number): number {
    const nodes = this.#nodes;
    const zero = this.#isConst(b, 0, 0);
    const ones = this.#isConst(b, -1, -1);
    switch (base) {
      case SUB: {
        if (zero) return a;
        const minus = this.#fold(SUB, wide, this.#constant(wide, 0, 0), b);
        return this.#integer(op - 1, ADD, wide, a, minus);
      }
      case ADD:
        return zero ? a : this.#chain(op, base, wide, a, b);
      case MUL:
        return zero ? b : this.#isConst(b, 1, 0) ? a : -1;
      case AND:
        if (zero) return b;
        return ones || this.#masked(wide, a, b) ? a : this.#chain(op, base, wide, a, b);
      case OR:
        return zero ? a : ones ? b : this.#chain(op, base, wide, a, b);
      case XOR:
        if (zero) return a;
        if (this.#isConst(b, 1, 0) && !wide && this.#bits(a) === 1) return this.#eqz(I32_EQZ, a);
        return this.#chain(op, base, wide, a, b);
      case 0x46:
        return zero ? this.#eqz(wide ? I64_EQZ : I32_EQZ, a) : -1;
      default: {
        if (base < SHL || base > ROTR) return -1;
        const count = nodes.a[b]! & (wide ? 63 : 31);
        return count === 0 ? a : -1;
      }
    }
  }

  /** `(x op c1) op b` is `x op (c1 op b)` for operators that associate. */
  #chain(op: number, base: number, wide: boolean, a: number, b: number): number {
    const nodes = this.#nodes;
    if (nodes.op[a] !== op || !nodes.isConstant(nodes.b[a]!)) return -1;
    return this.#integer(op, base, wide, nodes.a[a]!, this.#fold(base, wide, nodes.b[a]!, b));
  }

  /** The constant `mask` takes nothing from `a`. */
  #masked(wide: boolean, a: number, mask: number): boolean {
    const nodes = this.#nodes;
    const low = nodes.a[mask]!;
    if (!wide) {
      const bits = this.#bits(a);
      return bits < 32 && (low & ((1 << bits) - 1)) === (1 << bits) - 1;
    }
    return low === -1 && nodes.op[a] === EXTEND_U;
  }

  #eqz(op: number, a: number): number {
    const nodes = this.#nodes;
    const inner = nodes.op[a]!;
    if (nodes.isConstant(a)) return nodes.const32(+this.#isConst(a, 0, 0));
    if (op === I32_EQZ) {
      if (isNarrowComparison(inner))
        return nodes.operator(0x46 + OPPOSITE[inner - 0x46]!, nodes.a[a]!, nodes.b[a]!, 0, 0);
      if (isWideComparison(inner))
        return nodes.operator(0x51 + OPPOSITE[inner - 0x51]!, nodes.a[a]!, nodes.b[a]!, 0, 0);
      if (inner === I64_EQZ) return nodes.operator(0x52, nodes.a[a]!, nodes.const64(0, 0), 0, 0);
    } else if (inner === EXTEND_U || inner === EXTEND_S) return this.#eqz(I32_EQZ, nodes.a[a]!);
    return nodes.operator(op, a, 0, 0, 0);
  }

  #wrap(a: number): number {
    const nodes = this.#nodes;
    const inner = nodes.op[a]!;
    if (inner === N_CONST64) return nodes.const32(nodes.a[a]!);
    if (inner === EXTEND_U || inner === EXTEND_S) return nodes.a[a]!;
    // A mask that keeps the low word.
    if (inner === I64_AND && nodes.op[nodes.b[a]!] === N_CONST64 && nodes.a[nodes.b[a]!] === -1)
      return this.#wrap(nodes.a[a]!);
    return nodes.operator(WRAP, a, 0, 0, 0);
  }

  #extend(op: number, a: number): number {
    const nodes = this.#nodes;
    if (nodes.op[a] === N_CONST32) {
      const value = nodes.a[a]!;
      return nodes.const64(value, op === EXTEND_S ? value >> 31 : 0);
    }
    return nodes.operator(op, a, 0, 0, 0);
  }

  /** i32.extend8_s and i32.extend16_s look at the low bits only. */
  #signExtend(op: number, a: number): number {
    const nodes = this.#nodes;
    const bits = op === 0xc0 ? 8 : 16;
    const inner = this.stored(a, bits);
    if (nodes.op[inner] !== N_CONST32) return nodes.operator(op, inner, 0, 0, 0);
    return nodes.const32((nodes.a[inner]! << (32 - bits)) >> (32 - bits));
  }

  /** Any operator, its operands given; those that it does not have are ignored. */
  operator(op: number, a: number, b: number, c: number, immediate: number): number {
    const arity = OPERATOR_ARITY[op]!;
    if (arity === 1) return this.unary(op, a, immediate);
    return arity === 2 ? this.binary(op, a, b, immediate) : this.#nodes.operator(op, a, b, c, immediate);
  }
}
