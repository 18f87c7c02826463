// Where each value is evaluated: at its first use, unless that is in a block within the one that holds all its uses
// (then before the construct that it is in) or in a loop that it is not of (then before the loop). Uses are counted
// and their places kept.

import { N_LOCAL, type TreeNodes } from './tree-nodes.js';
import type { TreeLiveness } from './tree-liveness.js';
import * as S from './tree-statements.js';

const NONE = -1;

export class TreePlacement {
  /** How often each node is used. */
  readonly uses: Int32Array;
  /** The innermost block around all uses of a node. */
  readonly home: Int32Array;
  /** The statement that ends the last of them; a loop's end where the use is in a loop that the node is not of. */
  readonly lastUse: Int32Array;
  /** First node to be evaluated before a construct, by its statement, and the next of each node. */
  readonly before: Int32Array;
  readonly nextBefore: Int32Array;
  readonly #nodes: TreeNodes;
  readonly #statements: S.TreeStatements;
  readonly #liveness: TreeLiveness;
  readonly #first: Int32Array;
  /** The first loop before which a node must be there for its uses within. */
  readonly #firstLoop: Int32Array;
  // Places of uses, as lists.
  readonly #firstPlace: Int32Array;
  readonly #place: number[] = [];
  readonly #nextPlace: number[] = [];

  constructor(nodes: TreeNodes, statements: S.TreeStatements, liveness: TreeLiveness) {
    const make = (): Int32Array => new Int32Array(nodes.count).fill(NONE);
    this.#nodes = nodes;
    this.#statements = statements;
    this.#liveness = liveness;
    this.uses = new Int32Array(nodes.count);
    this.home = make();
    this.lastUse = make();
    this.nextBefore = make();
    this.#first = make();
    this.#firstLoop = make();
    this.#firstPlace = make();
    this.before = new Int32Array(statements.count).fill(NONE);
  }

  place(): void {
    this.#placeStatements();
    const { arity, a, b, c, op } = this.#nodes;
    // Users have higher numbers: all uses of a node are known when it is reached.
    for (let n = this.#nodes.count - 1; n >= 0; n--) {
      if (this.home[n] === NONE || op[n] === N_LOCAL || this.#nodes.isEffect(n)) continue;
      const at = this.#evaluation(n);
      const count = arity[n]!;
      if (count > 0) this.#use(a[n]!, at);
      if (count > 1) this.#use(b[n]!, at);
      if (count > 2) this.#use(c[n]!, at);
    }
  }

  #placeStatements(): void {
    const { count, kind, a } = this.#statements;
    const operands: number[] = [];
    for (let i = 0; i < count; i++) {
      if (this.#liveness.neededStatement[i] === 0) continue;
      const used = this.#statements.operands(i, this.#nodes, operands);
      for (let k = 0; k < used; k++) this.#use(operands[k]!, i);
      if (kind[i] !== S.S_VALUE && kind[i] !== S.S_EFFECT) continue;
      // It is evaluated here, which is no use of it.
      this.#use(a[i]!, i);
      this.uses[a[i]!]!--;
    }
  }

  #use(n: number, from: number): void {
    if (this.#nodes.isConstant(n)) return;
    const { block, loop, opener, parent, b } = this.#statements;
    const own = this.#nodes.block[n]!;
    let at = from;
    let within = block[at]!;
    let last = at;
    for (let l = loop[within]!; l >= 0 && !this.#statements.isWithin(own, l); l = loop[within]!) {
      at = opener[l]!;
      last = b[at]!;
      within = parent[l]!;
    }
    this.uses[n]!++;
    if (this.home[n] === NONE) {
      this.home[n] = within;
      this.#first[n] = at;
    } else {
      this.home[n] = this.#statements.around(this.home[n]!, within);
      if (at < this.#first[n]!) this.#first[n] = at;
    }
    if (last !== from && (this.#firstLoop[n] === NONE || at < this.#firstLoop[n]!)) this.#firstLoop[n] = at;
    if (last > this.lastUse[n]!) this.lastUse[n] = last;
    this.#place.push(at);
    this.#nextPlace.push(this.#firstPlace[n]!);
    this.#firstPlace[n] = this.#place.length - 1;
  }

  /** The statement that a node is evaluated in, or before. */
  #evaluation(n: number): number {
    const { block, opener, parent } = this.#statements;
    const home = this.home[n]!;
    const first = this.#first[n]!;
    let within = block[first]!;
    if (within === home && this.#firstLoop[n] !== first) return first;
    while (within !== home && parent[within] !== home) within = parent[within]!;
    const construct = within === home ? first : opener[within]!;
    this.nextBefore[n] = this.before[construct]!;
    this.before[construct] = n;
    return construct;
  }

  /** Something uses `n` behind statement `after` and before statement `end`. */
  isUsedBetween(n: number, after: number, end: number): boolean {
    for (let p = this.#firstPlace[n]!; p !== NONE; p = this.#nextPlace[p]!) {
      const at = this.#place[p]!;
      if (at > after && at < end) return true;
    }
    return false;
  }
}
