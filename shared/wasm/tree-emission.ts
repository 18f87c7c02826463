// Writes a function's bytes from its statements. A value is written where it is first needed; while uses are left it
// has a home, a variable that holds it or a temporary. Before a variable gets another value, what it holds moves to a
// temporary if code behind needs it. Loads wait for their use, but are evaluated, in their order, before any store, call or
// other access that could tell.

import { ByteBuffer } from './byte-buffer.js';
import type { TreeBuilder } from './tree-builder.js';
import { writeAccess, writeOperator } from './tree-encoding.js';
import { TreeHomes } from './tree-homes.js';
import type { TreeLiveness } from './tree-liveness.js';
import { TreeLocals } from './tree-locals.js';
import * as N from './tree-nodes.js';
import { TREE_ACCESSES } from './tree-opcodes.js';
import type { TreePlacement } from './tree-placement.js';
import * as S from './tree-statements.js';
import type { TreeTape } from './tree-tape.js';

const NONE = -1;

interface OpenConstruct {
  readonly opener: number;
  readonly block: number;
  readonly limit: number;
  readonly scope: number;
  /** Where its first arm's bytes begin, and its else arm's. */
  readonly start: number;
  otherwise: number;
}

export class TreeEmission {
  readonly #out: ByteBuffer;
  readonly #tape: TreeTape;
  readonly #nodes: N.TreeNodes;
  readonly #statements: S.TreeStatements;
  readonly #liveness: TreeLiveness;
  readonly #placement: TreePlacement;
  readonly #locals: TreeLocals;
  readonly #homes: TreeHomes;
  /** {@link TreeHomes.home} and {@link TreeHomes.left}, at hand. */
  readonly #home: Int32Array;
  readonly #left: Int32Array;
  readonly #constructs: OpenConstruct[] = [];
  /** Labels around, and how many there were inside of each construct. */
  #labels = 0;
  readonly #labelOf = new Map<number, number>();
  /** Loads that are needed and not evaluated, in their order. */
  #pending: number[] = [];
  readonly #evaluated: Uint8Array;
  #block = 0;
  /** The statement that ends this arm. */
  #limit: number;
  /** An effect's result that is on the stack for the next statement. */
  #onStack = NONE;

  constructor(tape: TreeTape, builder: TreeBuilder, liveness: TreeLiveness, placement: TreePlacement) {
    this.#tape = tape;
    this.#nodes = builder.nodes;
    this.#statements = builder.statements;
    this.#liveness = liveness;
    this.#placement = placement;
    this.#locals = new TreeLocals(tape, this.#statements, liveness, placement);
    this.#evaluated = new Uint8Array(this.#nodes.count);
    this.#limit = this.#statements.count;
    this.#out = new ByteBuffer(1024 + this.#statements.count * 4);
    this.#homes = new TreeHomes(this.#out, this.#locals, this.#nodes.type, placement.uses);
    this.#home = this.#homes.home;
    this.#left = this.#homes.left;
    for (const node of builder.fixed) this.#home[node] = this.#locals.declared[this.#nodes.a[node]!]!;
  }

  /** The body with its local declarations. */
  emit(): Uint8Array<ArrayBuffer> {
    const { count } = this.#statements;
    for (let i = 0; i < count; i++) i = this.#statement(i);
    this.#out.byte(0x0b);
    const head = new ByteBuffer(64 + this.#out.length);
    this.#locals.write(head);
    head.append(this.#out.bytes.subarray(0, this.#out.length));
    return head.finish();
  }

  // Values.

  /** Leaves a node's value on the stack, which is one of its uses. */
  #push(n: number): void {
    const { op, a, b } = this.#nodes;
    if (op[n] === N.N_CONST32) {
      this.#out.byte(0x41);
      this.#out.s32(a[n]!);
      return;
    }
    if (op[n] === N.N_CONST64) {
      this.#out.byte(0x42);
      this.#out.s64(a[n]!, b[n]!);
      return;
    }
    this.#left[n]!--;
    const home = this.#home[n]!;
    if (home >= 0) {
      this.#homes.getLocal(home);
      if (this.#left[n] === 0) this.#homes.giveBack(home);
      return;
    }
    this.#evaluate(n);
    if (this.#left[n]! > 0) {
      this.#homes.settle(n);
      this.#homes.getLocal(this.#home[n]!);
    }
  }

  /** Evaluates a node ahead of its uses. */
  #evaluateEarly(n: number): void {
    if (this.#home[n]! >= 0) return;
    this.#evaluate(n);
    this.#homes.settle(n);
  }

  /** Computes a node that has no home. */
  #evaluate(n: number): void {
    if (n === this.#onStack) {
      this.#onStack = NONE;
      return;
    }
    const { op, a, b, c, aux, arity } = this.#nodes;
    const code = op[n]!;
    if (code === N.N_LOAD) {
      this.#evaluateLoads(n);
      this.#evaluated[n] = 1;
    }
    const count = arity[n]!;
    if (count > 0) this.#push(a[n]!);
    if (code === N.N_LOAD) {
      writeAccess(this.#out, b[n]!, aux[n]!, c[n]!);
      return;
    }
    if (count > 1) this.#push(b[n]!);
    if (count > 2) this.#push(c[n]!);
    writeOperator(this.#out, code, aux[n]!, this.#tape.blobs);
  }

  // Loads.

  #isPending(n: number): boolean {
    return this.#evaluated[n] === 0 && this.#left[n]! > 0;
  }

  /** Evaluates the loads that come before load `end` and are used on this way. */
  #evaluateLoads(end: number): void {
    const pending = this.#pending;
    for (let k = 0; k < pending.length; k++) {
      const n = pending[k]!;
      if (n >= end) return;
      if (this.#isPending(n) && this.#statements.isWithin(this.#placement.home[n]!, this.#block))
        this.#evaluateEarly(n);
    }
  }

  /** Evaluates all loads that came by, except for those used in blocks `first` to `last` only. */
  #flushLoads(first: number, last: number): void {
    if (this.#pending.length === 0) return;
    const kept: number[] = [];
    for (const n of this.#pending) {
      if (!this.#isPending(n)) continue;
      const home = this.#placement.home[n]!;
      if ((home >= first && home <= last) || !this.#statements.isWithin(home, this.#block)) kept.push(n);
      else this.#evaluateEarly(n);
    }
    this.#pending = kept;
  }

  // Statements.

  /** Writes statement `i`; gives the last that is done with. */
  #statement(i: number): number {
    const { kind, a, b } = this.#statements;
    if (kind[i] === S.S_READ) {
      this.#read(a[i]!, b[i]!);
      return i;
    }
    if (kind[i] === S.S_LOAD) {
      if (this.#liveness.neededNode[a[i]!] !== 0) this.#pending.push(a[i]!);
      return i;
    }
    if (this.#liveness.neededStatement[i] === 0) return this.#isOpener(kind[i]!) ? b[i]! : i;
    switch (kind[i]) {
      case S.S_SET:
        this.#set(i, this.#locals.declared[a[i]!]!, b[i]!);
        return i;
      case S.S_VALUE:
        this.#evaluateEarly(a[i]!);
        return i;
      case S.S_EFFECT:
        this.#effect(i, a[i]!);
        return i;
      case S.S_BLOCK:
      case S.S_LOOP:
      case S.S_IF:
        this.#open(i);
        return i;
      case S.S_ELSE:
        this.#else(i);
        return i;
      case S.S_END:
        this.#end();
        return i;
      case S.S_STORE:
      case S.S_FENCE:
      case S.S_COPY:
      case S.S_FILL:
        this.#memory(i);
        return i;
      default:
        this.#leave(i);
        return i;
    }
  }

  #isOpener(kind: number): boolean {
    return kind === S.S_BLOCK || kind === S.S_LOOP || kind === S.S_IF;
  }

  #read(node: number, local: number): void {
    if (this.#liveness.neededNode[node] === 0) return;
    const declared = this.#locals.declared[local]!;
    this.#home[node] = declared;
    this.#homes.hold(declared, node);
  }

  #set(i: number, local: number, value: number): void {
    const settled = this.#home[value]! >= 0 || this.#nodes.isConstant(value);
    let moves = false;
    if (settled) this.#push(value);
    else {
      this.#left[value]!--;
      this.#evaluate(value);
      moves = this.#left[value]! > 0;
      if (moves && !this.#locals.isLasting(local)) {
        this.#homes.settle(value);
        this.#homes.getLocal(this.#home[value]!);
        moves = false;
      }
    }
    const tenant = this.#homes.tenant(local);
    if (tenant >= 0 && this.#placement.isUsedBetween(tenant, i, this.#limit)) this.#homes.save(local);
    this.#homes.setLocal(local);
    this.#homes.hold(local, moves ? value : NONE);
    if (moves) this.#home[value] = local;
  }

  #pushOperands(i: number): void {
    const operands: number[] = [];
    const count = this.#statements.operands(i, this.#nodes, operands);
    for (let k = 0; k < count; k++) this.#push(operands[k]!);
  }

  #memory(i: number): void {
    const { kind, c, d } = this.#statements;
    this.#pushOperands(i);
    this.#flushLoads(NONE, NONE);
    const out = this.#out;
    if (kind[i] === S.S_STORE) writeAccess(this.#out, c[i]! & 0xffff, d[i]!, c[i]! >>> 16);
    else if (kind[i] === S.S_FENCE) out.append([0xfe, 3, 0]);
    else out.append(kind[i] === S.S_COPY ? [0xfc, 10, 0, 0] : [0xfc, 11, 0]);
  }

  #effect(i: number, node: number): void {
    const { op, c, aux } = this.#nodes;
    this.#pushOperands(i);
    this.#flushLoads(NONE, NONE);
    if (op[node] === N.N_ATOMIC) writeAccess(this.#out, c[node]!, aux[node]!, TREE_ACCESSES[c[node]!]!.align);
    else {
      this.#out.byte(op[node] === N.N_CALL ? 0x10 : 0x11);
      this.#out.u32(c[node]!);
      if (op[node] !== N.N_CALL) this.#out.byte(0);
    }
    if (!this.#nodes.hasResult(node)) return;
    if (this.#left[node] === 0) this.#out.byte(0x1a);
    else if (this.#isNext(i, node)) this.#onStack = node;
    else this.#homes.settle(node);
  }

  /** The first thing that the next statement evaluates is `node`, which may wait on the stack. */
  #isNext(i: number, node: number): boolean {
    const { kind, a, count } = this.#statements;
    for (let next = i + 1; next < count; next++) {
      if (kind[next] === S.S_READ) continue;
      if (kind[next] === S.S_LOAD) {
        if (this.#liveness.neededNode[a[next]!] !== 0) return false;
        continue;
      }
      if (this.#liveness.neededStatement[next] === 0) {
        if (this.#isOpener(kind[next]!)) return false;
        continue;
      }
      const operands: number[] = [];
      if (this.#statements.operands(next, this.#nodes, operands) === 0) return false;
      let leaf = operands[0]!;
      while (leaf !== node && this.#home[leaf]! < 0 && this.#nodes.arity[leaf]! > 0)
        leaf = this.#nodes.a[leaf]!;
      return leaf === node;
    }
    return false;
  }

  #open(i: number): void {
    const { kind, a, b, c, d, block, merged } = this.#statements;
    const end = b[i]!;
    if (kind[i] === S.S_IF) this.#push(a[i]!);
    for (let n = this.#placement.before[i]!; n !== NONE; n = this.#placement.nextBefore[n]!)
      this.#evaluateEarly(n);
    this.#flushLoads(b[end]!, c[end]!);
    const loops = kind[i] === S.S_LOOP;
    for (const local of merged[d[i]!]!) {
      const declared = this.#locals.declared[local]!;
      if (declared < 0) continue;
      const tenant = this.#homes.tenant(declared);
      if (tenant >= 0 && (loops || this.#placement.lastUse[tenant]! > end)) this.#homes.save(declared);
      if (loops) this.#homes.hold(declared, NONE);
    }
    this.#out.byte(kind[i] === S.S_IF ? 0x04 : loops ? 0x03 : 0x02);
    this.#out.byte(0x40);
    this.#labelOf.set(i, ++this.#labels);
    this.#constructs.push({
      opener: i,
      block: this.#block,
      limit: this.#limit,
      scope: this.#homes.enterScope(),
      start: this.#out.length,
      otherwise: NONE,
    });
    if (loops) this.#homes.openLoop();
    this.#limit = c[i]! >= 0 ? c[i]! : end;
    this.#block = block[i + 1]!;
  }

  #else(i: number): void {
    const construct = this.#constructs.at(-1)!;
    this.#homes.leaveScope(construct.scope);
    if (this.#out.length === construct.start) {
      // Nothing to do when the condition holds: turn it round.
      this.#out.length -= 2;
      this.#out.append([0x45, 0x04, 0x40]);
    } else {
      this.#out.byte(0x05);
      construct.otherwise = this.#out.length;
    }
    this.#limit = this.#statements.b[construct.opener]!;
    this.#block = this.#statements.block[i + 1]!;
  }

  #end(): void {
    const { opener, block, limit, scope, otherwise } = this.#constructs.pop()!;
    const { kind, d, merged } = this.#statements;
    this.#homes.leaveScope(scope);
    if (this.#out.length === otherwise) this.#out.length--;
    this.#out.byte(0x0b);
    this.#labels--;
    this.#block = block;
    this.#limit = limit;
    if (kind[opener] === S.S_LOOP) {
      this.#homes.closeLoop();
      return;
    }
    for (const local of merged[d[opener]!]!) {
      const declared = this.#locals.declared[local]!;
      if (declared >= 0) this.#homes.hold(declared, NONE);
    }
  }

  #leave(i: number): void {
    const { kind, a, c, count } = this.#statements;
    this.#pushOperands(i);
    switch (kind[i]) {
      case S.S_BR:
      case S.S_BR_IF:
        this.#out.byte(kind[i] === S.S_BR ? 0x0c : 0x0d);
        this.#out.u32(this.#labels - this.#labelOf.get(a[i]!)!);
        return;
      case S.S_RETURN:
        // At the end of the body, it goes without saying.
        if (i + 1 < count) this.#out.byte(0x0f);
        return;
      case S.S_TAIL_CALL:
        this.#out.byte(c[i]! < 0 ? 0x12 : 0x13);
        this.#out.u32(c[i]! < 0 ? -1 - c[i]! : c[i]!);
        if (c[i]! >= 0) this.#out.byte(0);
        return;
      default:
        this.#out.byte(0x00);
    }
  }
}
