// Reads a tape and makes statements and nodes of it: WebAssembly's operand stack is followed with nodes for values,
// locals are replaced by what they hold, code that cannot be reached is left out.

import { TreeAlgebra } from './tree-algebra.js';
import { N_ATOMIC, N_CALL, N_CALL_INDIRECT, N_CONST32, N_LOAD, N_LOCAL, TreeNodes } from './tree-nodes.js';
import { OPERATOR_ARITY, TREE_ACCESSES } from './tree-opcodes.js';
import * as S from './tree-statements.js';
import * as T from './tree-tape.js';
import { TreeValues, UNKNOWN } from './tree-values.js';

/** Trees higher than this are evaluated in parts: what walks them recurses. */
const MAXIMUM_DEPTH = 40;

type ConstructKind = 'transparent' | 'block' | 'loop' | 'if' | 'always' | 'never';

interface Construct {
  readonly kind: ConstructKind;
  /** Its statement, or -1. */
  readonly opener: number;
  readonly scope: number;
  /** Operands below it. */
  readonly height: number;
  readonly outer: number;
  readonly firstBlock: number;
  readonly merged: Set<number>;
  /** Its end is reached. */
  reached: boolean;
  hasElse: boolean;
}

export class TreeBuilder {
  readonly nodes: TreeNodes;
  readonly statements: S.TreeStatements;
  /** Nodes for locals that are never set. */
  readonly fixed: number[] = [];
  readonly #tape: T.TreeTape;
  readonly #values: TreeValues;
  readonly #algebra: TreeAlgebra;
  readonly #stack: number[] = [];
  readonly #constructs: Construct[] = [];
  #block = 0;
  /** The code here is not reached; constructs opened since. */
  #dead = false;
  #deadDepth = 0;

  constructor(tape: T.TreeTape) {
    this.#tape = tape;
    this.nodes = new TreeNodes(tape.count + 64);
    this.nodes.open.push(true);
    this.statements = new S.TreeStatements((tape.count >> 1) + 64);
    this.#values = new TreeValues(tape.localTypes.length);
    this.#algebra = new TreeAlgebra(this.nodes);
  }

  build(): void {
    const { words, length } = this.#tape;
    for (let at = 0; at < length; at += T.TAPE_WORDS[words[at]!]!) {
      const code = words[at]!;
      if (this.#dead && !this.#revives(code)) continue;
      if (code <= T.T_SELECT) this.#value(code, words[at + 1]!, words[at + 2]!);
      else if (code <= T.T_FILL) this.#access(code, words[at + 1]!, words[at + 2]!, words[at + 3]!);
      else this.#control(code, words[at + 1]!, words[at + 2]!, words[at + 3]!);
    }
    this.statements.closeBlock(0);
    if (this.#dead) this.#add(S.S_UNREACHABLE);
  }

  /** In code that is not reached: keeps count of constructs; true for what ends that code. */
  #revives(code: number): boolean {
    if (code === T.T_BLOCK || code === T.T_LOOP || code === T.T_IF) this.#deadDepth++;
    else if (code === T.T_END) {
      if (this.#deadDepth === 0) return true;
      this.#deadDepth--;
    } else if (code === T.T_ELSE) return this.#deadDepth === 0;
    return false;
  }

  #add(kind: number, a = 0, b = 0, c = 0, d = 0): number {
    return this.statements.add(kind, this.#block, a, b, c, d);
  }

  #push(node: number): void {
    const { depth } = this.nodes;
    if (depth[node]! > MAXIMUM_DEPTH) {
      depth[node] = 0;
      this.#add(S.S_VALUE, node);
    }
    this.#stack.push(node);
  }

  #pop(): number {
    const node = this.#stack.pop();
    if (node === undefined) throw new Error('no operand on the stack');
    return node;
  }

  #value(code: number, a: number, b: number): void {
    switch (code) {
      case T.T_CONST32:
        this.#stack.push(this.nodes.const32(a));
        return;
      case T.T_CONST64:
        this.#stack.push(this.nodes.const64(a, b));
        return;
      case T.T_CONST128:
        this.#stack.push(this.nodes.const128(a));
        return;
      case T.T_GET:
        this.#stack.push(this.#get(a));
        return;
      case T.T_SET:
        this.#set(a, this.#pop());
        return;
      case T.T_TEE:
        this.#set(a, this.#stack.at(-1)!);
        return;
      case T.T_OPERATOR:
        this.#operator(a, b);
        return;
      default: {
        const condition = this.#pop();
        const otherwise = this.#pop();
        this.#push(this.#algebra.select(this.#pop(), otherwise, condition));
      }
    }
  }

  #operator(op: number, immediate: number): void {
    const arity = OPERATOR_ARITY[op]!;
    const c = arity > 2 ? this.#pop() : 0;
    const b = arity > 1 ? this.#pop() : 0;
    this.#push(this.#algebra.operator(op, this.#pop(), b, c, immediate));
  }

  #get(local: number): number {
    const known = this.#values.get(local);
    if (known !== UNKNOWN) return known;
    const node = this.nodes.add(N_LOCAL, local, 0, 0, 0, this.#tape.localTypes[local]!, 0);
    if (this.#tape.sets[local] === 0) {
      this.nodes.block[node] = 0;
      this.fixed.push(node);
      this.#values.fix(local, node);
    } else {
      this.#add(S.S_READ, node, local);
      this.#values.set(local, node);
    }
    return node;
  }

  #set(local: number, node: number): void {
    if (this.#values.get(local) === node) return;
    this.#values.set(local, node);
    this.#add(S.S_SET, local, node);
  }

  #access(code: number, a: number, b: number, c: number): void {
    switch (code) {
      case T.T_LOAD: {
        const node = this.nodes.add(N_LOAD, this.#pop(), a, c, b, TREE_ACCESSES[a]!.type, 1);
        this.#add(S.S_LOAD, node);
        this.#push(node);
        return;
      }
      case T.T_STORE: {
        const access = TREE_ACCESSES[a]!;
        const value = this.#pop();
        const kept = access.type === T.TYPE_I32 ? this.#algebra.stored(value, access.bits) : value;
        this.#add(S.S_STORE, this.#pop(), kept, a | (c << 16), b);
        return;
      }
      case T.T_ATOMIC:
        this.#effect(N_ATOMIC, c, a, b, TREE_ACCESSES[a]!.type);
        return;
      case T.T_FENCE:
        this.#add(S.S_FENCE);
        return;
      default: {
        const size = this.#pop();
        const middle = this.#pop();
        this.#add(code === T.T_COPY ? S.S_COPY : S.S_FILL, this.#pop(), middle, size);
      }
    }
  }

  /** Takes operands into the list of arguments; gives where they are. */
  #arguments(count: number): number {
    const { args } = this.nodes;
    const first = args.length;
    const from = this.#stack.length - count;
    if (from < 0) throw new Error('too few operands on the stack');
    for (let i = from; i < from + count; i++) args.push(this.#stack[i]!);
    this.#stack.length = from;
    return first;
  }

  #effect(op: number, count: number, c: number, aux: number, type: number): void {
    const node = this.nodes.add(op, this.#arguments(count), count, c, aux, type, 0);
    this.#add(S.S_EFFECT, node);
    if (type !== T.NO_TYPE) this.#stack.push(node);
  }

  #control(code: number, a: number, b: number, c: number): void {
    switch (code) {
      case T.T_BLOCK:
        this.#open(a !== 0 ? 'block' : 'transparent');
        return;
      case T.T_LOOP:
        if (a !== 0) this.#openLoop(b, c);
        else this.#open('transparent');
        return;
      case T.T_IF:
        this.#openIf(a !== 0);
        return;
      case T.T_ELSE:
        this.#else();
        return;
      case T.T_END:
        this.#end();
        return;
      case T.T_CALL:
        this.#effect(N_CALL, b, a, 0, c);
        return;
      case T.T_CALL_INDIRECT:
        this.#effect(N_CALL_INDIRECT, b + 1, a, 0, c);
        return;
      default:
        this.#leave(code, a, b);
    }
  }

  #leave(code: number, a: number, b: number): void {
    switch (code) {
      case T.T_BR:
        this.#add(S.S_BR, this.#target(a));
        break;
      case T.T_BR_IF: {
        const condition = this.#algebra.condition(this.#pop());
        if (this.nodes.op[condition] !== N_CONST32) {
          this.#add(S.S_BR_IF, this.#target(a), condition);
          return;
        }
        if (this.nodes.a[condition] === 0) return;
        this.#add(S.S_BR, this.#target(a));
        break;
      }
      case T.T_RETURN:
        this.#add(S.S_RETURN, a > 0 ? this.#pop() : -1);
        break;
      case T.T_RETURN_CALL_INDIRECT:
        this.#add(S.S_TAIL_CALL, this.#arguments(b + 1), b + 1, a);
        break;
      case T.T_RETURN_CALL:
        this.#add(S.S_TAIL_CALL, this.#arguments(b), b, -1 - a);
        break;
      default:
        this.#add(S.S_UNREACHABLE);
    }
    this.#dead = true;
  }

  /** The statement of the construct that a branch goes to, which takes note of it. */
  #target(depth: number): number {
    const construct = this.#constructs.at(-1 - depth)!;
    if (construct.kind !== 'loop') {
      this.#values.changes(construct.scope, construct.merged);
      construct.reached = true;
    }
    return construct.opener;
  }

  #enter(kind: ConstructKind, opener: number): Construct {
    const construct: Construct = {
      kind,
      opener,
      scope: this.#values.enter(),
      height: this.#stack.length,
      outer: this.#block,
      firstBlock: this.statements.parent.length,
      merged: new Set(),
      reached: false,
      hasElse: false,
    };
    this.#constructs.push(construct);
    if (opener >= 0) this.#openBlock(construct);
    return construct;
  }

  #openBlock(construct: Construct): void {
    this.#block = this.statements.openBlock(construct.outer, construct.opener, construct.kind === 'loop');
    this.nodes.open.push(true);
    this.nodes.current = this.#block;
  }

  #closeBlock(construct: Construct): void {
    this.statements.closeBlock(this.#block);
    this.nodes.open[this.#block] = false;
    this.#block = construct.outer;
    this.nodes.current = construct.outer;
  }

  #open(kind: 'transparent' | 'block'): void {
    this.#enter(kind, kind === 'block' ? this.#add(S.S_BLOCK, 0, 0, -1) : -1);
  }

  /** What the loop sets is not known in it, since it may come round. */
  #openLoop(from: number, to: number): void {
    const merged: number[] = [];
    for (let i = from; i < to; i++) {
      const local = this.#tape.setOrder[i]!;
      if (this.#values.get(local) === UNKNOWN) continue;
      this.#values.set(local, UNKNOWN);
      merged.push(local);
    }
    const list = this.statements.merged.push(merged) - 1;
    this.#enter('loop', this.#add(S.S_LOOP, 0, 0, -1, list));
  }

  #openIf(targeted: boolean): void {
    const condition = this.#algebra.condition(this.#pop());
    if (this.nodes.op[condition] === N_CONST32 && !targeted) {
      const taken = this.nodes.a[condition] !== 0;
      this.#enter(taken ? 'always' : 'never', -1);
      this.#dead = !taken;
    } else this.#enter('if', this.#add(S.S_IF, condition, 0, -1));
  }

  /** Code at the end of an arm: what it changed is not known behind the construct. */
  #arrive(construct: Construct): void {
    if (!this.#dead) {
      this.#values.changes(construct.scope, construct.merged);
      construct.reached = true;
    }
    this.#values.leave(construct.scope);
    this.#stack.length = construct.height;
  }

  #else(): void {
    const construct = this.#constructs.at(-1)!;
    construct.hasElse = true;
    if (construct.kind === 'if') {
      this.#arrive(construct);
      this.#closeBlock(construct);
      this.statements.c[construct.opener] = this.#add(S.S_ELSE, construct.opener);
      this.#openBlock(construct);
      this.#dead = false;
    } else {
      construct.reached = !this.#dead;
      this.#dead = construct.kind === 'always';
    }
  }

  #end(): void {
    const construct = this.#constructs.pop()!;
    const { kind, opener } = construct;
    if (kind === 'always') this.#dead = construct.hasElse ? !construct.reached : this.#dead;
    else if (kind === 'never') this.#dead = construct.hasElse && this.#dead;
    if (opener < 0) {
      if (this.#dead) this.#stack.length = construct.height;
      return;
    }
    this.#arrive(construct);
    this.#closeBlock(construct);
    if (kind === 'if' && !construct.hasElse) construct.reached = true;
    const lastBlock = this.statements.parent.length - 1;
    this.statements.b[opener] = this.#add(S.S_END, opener, construct.firstBlock, lastBlock);
    this.#dead = !construct.reached;
    if (kind === 'loop') return;
    const merged = [...construct.merged].filter((local) => this.#values.get(local) !== UNKNOWN);
    this.statements.d[opener] = this.statements.merged.push(merged) - 1;
    for (const local of merged) this.#values.set(local, UNKNOWN);
  }
}
