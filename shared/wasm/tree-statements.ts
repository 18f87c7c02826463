// What a function does, in order: statements with nodes as operands, and the tree of blocks that they are in.

import type { TreeNodes } from './tree-nodes.js';

// Kinds, and what a, b, c and d are.
export const S_SET = 0; // local, value
/** A node of kind N_LOCAL is read: the local's value is needed from here on. */
export const S_READ = 1; // node, local
/** A load's place among memory accesses. */
export const S_LOAD = 2; // node
/** A node is evaluated here if anything uses it: its tree is high enough. */
export const S_VALUE = 3; // node
export const S_EFFECT = 4; // node
export const S_STORE = 5; // address, value, access | align << 16, offset
export const S_FENCE = 6;
export const S_COPY = 7; // three nodes
export const S_FILL = 8; // three nodes
// Constructs. a: condition; b: the statement of its end; c: of its else, or -1; d: index into `merged`.
export const S_BLOCK = 9;
export const S_LOOP = 10;
export const S_IF = 11;
export const S_ELSE = 12; // statement that opened the construct
export const S_END = 13; // statement that opened the construct, its first and its last block
export const S_BR = 14; // statement that opened the target
export const S_BR_IF = 15; // statement that opened the target, condition
export const S_RETURN = 16; // value or -1
export const S_TAIL_CALL = 17; // first of the arguments, how many, type; or −1 − function
export const S_UNREACHABLE = 18;

function grown<T extends Int32Array | Uint8Array>(old: T, next: T): T {
  next.set(old);
  return next;
}

export class TreeStatements {
  count = 0;
  kind: Uint8Array;
  a: Int32Array;
  b: Int32Array;
  c: Int32Array;
  d: Int32Array;
  /** Block that it is in; for what opens a construct, the block around it. */
  block: Int32Array;
  /** Locals whose value is another behind a construct (or from a loop's start) than before it. */
  readonly merged: number[][] = [];

  // By block: the block around, the innermost loop's block (its own too), the statement that opened it, and the last block within.
  readonly parent: number[] = [-1];
  readonly loop: number[] = [-1];
  readonly opener: number[] = [-1];
  readonly last: number[] = [0];

  constructor(capacity: number) {
    const make = (): Int32Array => new Int32Array(capacity);
    this.kind = new Uint8Array(capacity);
    this.a = make();
    this.b = make();
    this.c = make();
    this.d = make();
    this.block = make();
  }

  #grow(): void {
    const length = this.kind.length * 2;
    this.kind = grown(this.kind, new Uint8Array(length));
    this.a = grown(this.a, new Int32Array(length));
    this.b = grown(this.b, new Int32Array(length));
    this.c = grown(this.c, new Int32Array(length));
    this.d = grown(this.d, new Int32Array(length));
    this.block = grown(this.block, new Int32Array(length));
  }

  add(kind: number, block: number, a = 0, b = 0, c = 0, d = 0): number {
    if (this.count === this.kind.length) this.#grow();
    const i = this.count++;
    this.kind[i] = kind;
    this.a[i] = a;
    this.b[i] = b;
    this.c[i] = c;
    this.d[i] = d;
    this.block[i] = block;
    return i;
  }

  openBlock(parent: number, opener: number, loops: boolean): number {
    const block = this.parent.length;
    this.parent.push(parent);
    this.loop.push(loops ? block : this.loop[parent]!);
    this.opener.push(opener);
    this.last.push(block);
    return block;
  }

  closeBlock(block: number): void {
    this.last[block] = this.parent.length - 1;
  }

  /** `inner` is `outer` or within it. */
  isWithin(inner: number, outer: number): boolean {
    return inner >= outer && inner <= this.last[outer]!;
  }

  /** The innermost block around both. */
  around(a: number, b: number): number {
    const { parent } = this;
    while (a !== b) {
      if (a > b) a = parent[a]!;
      else b = parent[b]!;
    }
    return a;
  }

  /** Puts the nodes that statement `i` evaluates into `out`, in order; gives how many. Not those that it only names. */
  operands(i: number, nodes: TreeNodes, out: number[]): number {
    const { a, b, c } = this;
    switch (this.kind[i]) {
      case S_SET:
      case S_BR_IF:
        out[0] = b[i]!;
        return 1;
      case S_IF:
        out[0] = a[i]!;
        return 1;
      case S_RETURN:
        out[0] = a[i]!;
        return a[i]! < 0 ? 0 : 1;
      case S_STORE:
        out[0] = a[i]!;
        out[1] = b[i]!;
        return 2;
      case S_COPY:
      case S_FILL:
        out[0] = a[i]!;
        out[1] = b[i]!;
        out[2] = c[i]!;
        return 3;
      case S_EFFECT:
        return listed(nodes, nodes.a[a[i]!]!, nodes.b[a[i]!]!, out);
      case S_TAIL_CALL:
        return listed(nodes, a[i]!, b[i]!, out);
      default:
        return 0;
    }
  }
}

function listed(nodes: TreeNodes, first: number, count: number, out: number[]): number {
  for (let k = 0; k < count; k++) out[k] = nodes.args[first + k]!;
  return count;
}
