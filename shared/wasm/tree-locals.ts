// The locals that a body declares: its variables (locals that are read as such), of which those that are never alive
// together share one, and temporaries, which are taken and given back while it is written.

import type { ByteBuffer } from './byte-buffer.js';
import { WASM_TYPE_CODE } from './opcodes.js';
import type { TreeLiveness } from './tree-liveness.js';
import type { TreePlacement } from './tree-placement.js';
import { S_READ, S_SET, type TreeStatements } from './tree-statements.js';
import { type TreeTape, WASM_TYPES } from './tree-tape.js';

export class TreeLocals {
  /** The declared local of each local that the tape knows, or -1. */
  readonly declared: Int32Array;
  /** Temporaries' numbers begin here. */
  readonly firstTemporary: number;
  readonly #tape: TreeTape;
  readonly #types: number[];
  /** By declared local: no other variable lives in it, and its own may live around loops. */
  readonly #lasting: boolean[];
  readonly #free: number[][] = WASM_TYPES.map(() => []);

  constructor(tape: TreeTape, statements: TreeStatements, liveness: TreeLiveness, placement: TreePlacement) {
    this.#tape = tape;
    this.#types = tape.localTypes.slice(0, tape.parameters);
    this.#lasting = this.#types.map(() => true);
    this.declared = new Int32Array(tape.localTypes.length).fill(-1);
    for (let i = 0; i < tape.parameters; i++) this.declared[i] = i;
    this.#declareUnset();
    this.#declareVariables(statements, liveness, placement);
    this.firstTemporary = this.#types.length;
    for (const list of this.#free) list.length = 0;
  }

  #declare(type: number, lasting: boolean): number {
    this.#lasting.push(lasting);
    return this.#types.push(type) - 1;
  }

  /** Locals that are read and never set: zero, so that one of each type does. */
  #declareUnset(): void {
    const zero = WASM_TYPES.map(() => -1);
    const { gets, sets, localTypes, parameters } = this.#tape;
    for (let local = parameters; local < localTypes.length; local++) {
      if (sets[local] !== 0 || gets[local] === 0) continue;
      const type = localTypes[local]!;
      if (zero[type]! < 0) zero[type] = this.#declare(type, true);
      this.declared[local] = zero[type]!;
    }
  }

  /**
   * A variable that is live at no loop's start and not at entry is alive between its first and its last mention at
   * most, as the code is written: a linear scan (Poletto and Sarkar, 1999).
   */
  #declareVariables(statements: TreeStatements, liveness: TreeLiveness, placement: TreePlacement): void {
    const count = liveness.locals.length;
    const ends = new Int32Array(count).fill(-1);
    const order: number[] = [];
    const starts: number[] = [];
    const { kind, a, b } = statements;
    for (let i = 0; i < statements.count; i++) {
      if (
        kind[i] === S_SET
          ? liveness.neededStatement[i] === 0
          : kind[i] !== S_READ || liveness.neededNode[a[i]!] === 0
      )
        continue;
      const variable = liveness.variable[kind[i] === S_SET ? a[i]! : b[i]!]!;
      if (ends[variable]! < 0) {
        order.push(variable);
        starts.push(i);
      }
      const end = kind[i] === S_SET ? i : placement.lastUse[a[i]!]!;
      ends[variable] = Math.max(ends[variable]!, i, end);
    }
    for (const variable of order)
      if (liveness.isLasting(variable)) this.#declareLasting(liveness.locals[variable]!);
    this.#scan(order, starts, ends, liveness);
  }

  #declareLasting(local: number): void {
    if (this.declared[local]! < 0) this.declared[local] = this.#declare(this.#tape.localTypes[local]!, true);
  }

  #scan(order: readonly number[], starts: readonly number[], ends: Int32Array, liveness: TreeLiveness): void {
    let active: number[] = [];
    order.forEach((variable, k) => {
      const local = liveness.locals[variable]!;
      if (this.declared[local]! >= 0) return;
      active = active.filter((other) => {
        if (ends[other]! > starts[k]!) return true;
        const given = this.declared[liveness.locals[other]!]!;
        this.#free[this.#types[given]!]!.push(given);
        return false;
      });
      const type = this.#tape.localTypes[local]!;
      this.declared[local] = this.#free[type]!.pop() ?? this.#declare(type, false);
      active.push(variable);
    });
  }

  isLasting(declared: number): boolean {
    return this.#lasting[declared] === true;
  }

  take(type: number): number {
    return this.#free[type]!.pop() ?? this.#types.push(type) - 1;
  }

  giveBack(temporary: number): void {
    this.#free[this.#types[temporary]!]!.push(temporary);
  }

  /** Writes the declarations: runs of one type. */
  write(out: ByteBuffer): void {
    const runs: [count: number, type: number][] = [];
    for (let i = this.#tape.parameters; i < this.#types.length; i++) {
      const last = runs.at(-1);
      if (last !== undefined && last[1] === this.#types[i]) last[0]++;
      else runs.push([1, this.#types[i]!]);
    }
    out.u32(runs.length);
    for (const [count, type] of runs) {
      out.u32(count);
      out.byte(WASM_TYPE_CODE[WASM_TYPES[type]!]);
    }
  }
}
