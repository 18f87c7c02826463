// The values of a function as nodes of a graph, in arrays of words. Operands exist before what uses them, so that a
// node's number is above its operands'. Equal pure values are one node as long as the block that made it is open.

import { OPERATOR_ARITY, OPERATOR_RESULT } from './tree-opcodes.js';
import { NO_TYPE, TYPE_I32, TYPE_I64, TYPE_V128 } from './tree-tape.js';

// Kinds that are no operator (those are their numbers), and what a, b, c and aux are.
export const N_CONST32 = 0x4000; // value
export const N_CONST64 = 0x4001; // low, high
export const N_CONST128 = 0x4002; // aux: blob
export const N_SELECT = 0x4003; // two values and a condition
export const N_LOAD = 0x4004; // address, access, align; aux: offset
/** What a local holds where nothing else is known of it. */
export const N_LOCAL = 0x4005; // local
// Effects: evaluated where they stand. a, b: first of the arguments and how many.
export const N_ATOMIC = 0x4010; // c: access; aux: offset
export const N_CALL = 0x4011; // c: function
export const N_CALL_INDIRECT = 0x4012; // c: type

const HASH_BITS_MINIMUM = 10;

function grown<T extends Int32Array | Uint8Array>(old: T, make: (length: number) => T): T {
  const next = make(old.length * 2);
  next.set(old);
  return next;
}

export class TreeNodes {
  count = 0;
  op: Int32Array;
  a: Int32Array;
  b: Int32Array;
  c: Int32Array;
  aux: Int32Array;
  /** Block that it was made in. */
  block: Int32Array;
  type: Uint8Array;
  /** How many of a, b and c are nodes. */
  arity: Uint8Array;
  /** Height of its tree, down to nodes that are evaluated where they were made. */
  depth: Uint8Array;
  /** Arguments of effects. */
  readonly args: number[] = [];
  /** By block: it is open. */
  readonly open: boolean[] = [];
  #hash: Int32Array;
  #hashMask: number;
  /** The block that is being filled. */
  current = 0;

  constructor(capacity: number) {
    const make = (): Int32Array => new Int32Array(capacity);
    this.op = make();
    this.a = make();
    this.b = make();
    this.c = make();
    this.aux = make();
    this.block = make();
    this.type = new Uint8Array(capacity);
    this.arity = new Uint8Array(capacity);
    this.depth = new Uint8Array(capacity);
    const hashBits = Math.max(HASH_BITS_MINIMUM, 32 - Math.clz32(capacity));
    this.#hash = new Int32Array(1 << hashBits).fill(-1);
    this.#hashMask = (1 << hashBits) - 1;
  }

  #grow(): void {
    const words = (length: number): Int32Array => new Int32Array(length);
    const bytes = (length: number): Uint8Array => new Uint8Array(length);
    this.op = grown(this.op, words);
    this.a = grown(this.a, words);
    this.b = grown(this.b, words);
    this.c = grown(this.c, words);
    this.aux = grown(this.aux, words);
    this.block = grown(this.block, words);
    this.type = grown(this.type, bytes);
    this.arity = grown(this.arity, bytes);
    this.depth = grown(this.depth, bytes);
  }

  /** A node of its own. */
  add(op: number, a: number, b: number, c: number, aux: number, type: number, arity: number): number {
    if (this.count === this.op.length) this.#grow();
    const n = this.count++;
    this.op[n] = op;
    this.a[n] = a;
    this.b[n] = b;
    this.c[n] = c;
    this.aux[n] = aux;
    this.block[n] = this.current;
    this.type[n] = type;
    this.arity[n] = arity;
    let depth = 0;
    if (arity > 0) depth = this.depth[a]!;
    if (arity > 1) depth = Math.max(depth, this.depth[b]!);
    if (arity > 2) depth = Math.max(depth, this.depth[c]!);
    this.depth[n] = Math.min(255, depth + 1);
    return n;
  }

  /** The node for a pure value: one that is there already, or a new one. */
  pure(op: number, a: number, b: number, c: number, aux: number, type: number, arity: number): number {
    let h = Math.imul(op, 0x9e3779b1) ^ Math.imul(a + 1, 0x85ebca6b) ^ Math.imul(b + 7, 0xc2b2ae35);
    h ^= Math.imul(c + 3, 0x27d4eb2f) ^ Math.imul(aux, 0x165667b1);
    h ^= h >>> 15;
    // A collision forgets the older: it never searches.
    const first = h & this.#hashMask;
    const found = this.#hash[first]!;
    if (found >= 0 && this.#is(found, op, a, b, c, aux) && this.open[this.block[found]!]!) return found;
    const n = this.add(op, a, b, c, aux, type, arity);
    this.#hash[first] = n;
    return n;
  }

  #is(n: number, op: number, a: number, b: number, c: number, aux: number): boolean {
    return this.op[n] === op && this.a[n] === a && this.b[n] === b && this.c[n] === c && this.aux[n] === aux;
  }

  const32(value: number): number {
    return this.pure(N_CONST32, value | 0, 0, 0, 0, TYPE_I32, 0);
  }

  const64(low: number, high: number): number {
    return this.pure(N_CONST64, low | 0, high | 0, 0, 0, TYPE_I64, 0);
  }

  const128(blob: number): number {
    return this.pure(N_CONST128, 0, 0, 0, blob, TYPE_V128, 0);
  }

  operator(op: number, a: number, b: number, c: number, immediate: number): number {
    return this.pure(op, a, b, c, immediate, OPERATOR_RESULT[op]!, OPERATOR_ARITY[op]!);
  }

  /** It costs nothing to write a scalar constant again. */
  isConstant(n: number): boolean {
    const op = this.op[n]!;
    return op === N_CONST32 || op === N_CONST64;
  }

  isEffect(n: number): boolean {
    return this.op[n]! >= N_ATOMIC;
  }

  hasResult(n: number): boolean {
    return this.type[n] !== NO_TYPE;
  }
}
