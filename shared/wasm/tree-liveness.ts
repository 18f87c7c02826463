// Backward liveness of locals over structured code, together with which statements and nodes anything needs: a set of
// a local that is set again before it is read is not needed, nor is what only it used. Loops are gone through until
// nothing changes; what is needed only grows, so that this ends.

import type { TreeNodes } from './tree-nodes.js';
import * as S from './tree-statements.js';

interface OpenFrame {
  readonly opener: number;
  /** Live behind it, and for a loop at its start: what a branch to it needs. */
  readonly label: Uint32Array;
  /** Live behind the construct. */
  readonly after: Uint32Array;
  /** Live at the start of the else arm. */
  otherwise: Uint32Array | undefined;
  needed: boolean;
}

export class TreeLiveness {
  readonly neededStatement: Uint8Array;
  readonly neededNode: Uint8Array;
  /** Number among the locals that are read as locals, or -1. */
  readonly variable: Int32Array;
  /** Locals by variable. */
  readonly locals: number[] = [];
  /** Bits of variables that are live at a loop's start or at entry. */
  readonly lasting: Uint32Array;
  readonly #nodes: TreeNodes;
  readonly #statements: S.TreeStatements;
  readonly #words: number;
  readonly #frames: OpenFrame[] = [];
  readonly #loopStart = new Map<number, Uint32Array>();
  readonly #operands: number[] = [];
  #live: Uint32Array;

  constructor(nodes: TreeNodes, statements: S.TreeStatements, locals: number) {
    this.#nodes = nodes;
    this.#statements = statements;
    this.neededStatement = new Uint8Array(statements.count);
    this.neededNode = new Uint8Array(nodes.count);
    this.variable = new Int32Array(locals).fill(-1);
    for (let i = 0; i < statements.count; i++) {
      if (statements.kind[i] !== S.S_READ) continue;
      const local = statements.b[i]!;
      if (this.variable[local]! < 0) this.variable[local] = this.locals.push(local) - 1;
    }
    this.#words = (this.locals.length + 31) >> 5;
    this.lasting = new Uint32Array(this.#words);
    this.#live = new Uint32Array(this.#words);
  }

  isLasting(variable: number): boolean {
    return (this.lasting[variable >> 5]! & (1 << (variable & 31))) !== 0;
  }

  analyze(): void {
    for (let i = this.#statements.count - 1; i >= 0; i--) i = this.#statement(i);
    this.#unite(this.lasting, this.#live);
    for (const start of this.#loopStart.values()) this.#unite(this.lasting, start);
  }

  /** Adds `from` to `to`; true if that changed it. */
  #unite(to: Uint32Array, from: Uint32Array): boolean {
    let changed = 0;
    for (let w = 0; w < to.length; w++) {
      const old = to[w]!;
      to[w] = old | from[w]!;
      changed |= old ^ to[w]!;
    }
    return changed !== 0;
  }

  #needNode(n: number): void {
    if (this.neededNode[n] !== 0) return;
    this.neededNode[n] = 1;
    const { depth } = this.#nodes;
    // Its own statement does the rest.
    if (depth[n] !== 0) this.#needOperands(n);
  }

  #needOperands(n: number): void {
    const { arity, a, b, c } = this.#nodes;
    const count = arity[n]!;
    if (count > 0) this.#needNode(a[n]!);
    if (count > 1) this.#needNode(b[n]!);
    if (count > 2) this.#needNode(c[n]!);
  }

  #needStatement(i: number): void {
    this.neededStatement[i] = 1;
    const count = this.#statements.operands(i, this.#nodes, this.#operands);
    for (let k = 0; k < count; k++) this.#needNode(this.#operands[k]!);
    const frame = this.#frames.at(-1);
    if (frame !== undefined) frame.needed = true;
  }

  /** Goes backward over statement `i`; gives the statement to go on before. */
  #statement(i: number): number {
    const { kind, a, b } = this.#statements;
    switch (kind[i]) {
      case S.S_SET:
        this.#set(i, this.variable[a[i]!]!);
        return i;
      case S.S_READ: {
        if (this.neededNode[a[i]!] === 0) return i;
        const variable = this.variable[b[i]!]!;
        this.#live[variable >> 5]! |= 1 << (variable & 31);
        return i;
      }
      case S.S_LOAD:
        return i;
      case S.S_VALUE:
        if (this.neededNode[a[i]!] !== 0) {
          this.#needOperands(a[i]!);
          this.neededStatement[i] = 1;
          const frame = this.#frames.at(-1);
          if (frame !== undefined) frame.needed = true;
        }
        return i;
      case S.S_BLOCK:
      case S.S_LOOP:
      case S.S_IF:
      case S.S_ELSE:
      case S.S_END:
        return this.#construct(i);
      case S.S_BR:
        this.#live.set(this.#label(a[i]!));
        break;
      case S.S_BR_IF:
        this.#unite(this.#live, this.#label(a[i]!));
        break;
      case S.S_RETURN:
      case S.S_TAIL_CALL:
      case S.S_UNREACHABLE:
        this.#live.fill(0);
        break;
      default:
    }
    this.#needStatement(i);
    return i;
  }

  #set(i: number, variable: number): void {
    if (variable < 0) return;
    const word = variable >> 5;
    const bit = 1 << (variable & 31);
    if ((this.#live[word]! & bit) === 0) return;
    this.#live[word]! &= ~bit;
    this.#needStatement(i);
  }

  #label(opener: number): Uint32Array {
    for (let k = this.#frames.length - 1; ; k--)
      if (this.#frames[k]!.opener === opener) return this.#frames[k]!.label;
  }

  #construct(i: number): number {
    const { kind, a } = this.#statements;
    switch (kind[i]) {
      case S.S_END:
        this.#close(a[i]!);
        return i;
      case S.S_ELSE: {
        const frame = this.#frames.at(-1)!;
        frame.otherwise = this.#live;
        this.#live = frame.after.slice();
        return i;
      }
      case S.S_LOOP: {
        const frame = this.#frames.at(-1)!;
        if (this.#unite(frame.label, this.#live)) {
          this.#live.set(frame.after);
          return this.#statements.b[i]!;
        }
        this.#live.set(frame.label);
        this.#open(i);
        return i;
      }
      case S.S_IF: {
        const frame = this.#frames.at(-1)!;
        this.#unite(this.#live, frame.otherwise ?? frame.after);
        this.#open(i);
        return i;
      }
      default:
        this.#open(i);
        return i;
    }
  }

  /** Comes to the end of the construct of statement `opener`. */
  #close(opener: number): void {
    const after = this.#live.slice();
    let label: Uint32Array = after;
    if (this.#statements.kind[opener] === S.S_LOOP) {
      label = this.#loopStart.get(opener) ?? new Uint32Array(this.#words);
      this.#loopStart.set(opener, label);
    }
    this.#frames.push({ opener, label, after, otherwise: undefined, needed: false });
  }

  /** Comes out at the beginning of a construct, which is needed if something in it is. */
  #open(i: number): void {
    const { needed } = this.#frames.pop()!;
    if (!needed) return;
    const { b, c } = this.#statements;
    this.neededStatement[b[i]!] = 1;
    if (c[i]! >= 0) this.neededStatement[c[i]!] = 1;
    this.#needStatement(i);
  }
}
