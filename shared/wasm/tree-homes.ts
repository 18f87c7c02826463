// Where values live while a body is written: a variable that holds one, or a temporary. What was so is brought back at the
// end of an arm of control flow, where other arms and the code behind begin from the same.

import type { ByteBuffer } from './byte-buffer.js';
import type { TreeLocals } from './tree-locals.js';

const NONE = -1;

export class TreeHomes {
  /** The declared local that has a node's value, or -1. */
  readonly home: Int32Array;
  /** Uses not written yet. */
  readonly left: Int32Array;
  readonly #out: ByteBuffer;
  readonly #locals: TreeLocals;
  readonly #types: Uint8Array;
  /** The node that a variable holds, by declared local. */
  readonly #holds: Int32Array;
  /** What holds and homes were, to go back to at the end of an arm: a local, or ~node, and its old word. */
  readonly #trail: number[] = [];
  /** Temporaries to give back at the end of each open loop, and how many loops were open when each was taken. */
  readonly #loops: number[][] = [];
  readonly #takenIn: number[] = [];
  /** Where the last local.set began and ended. */
  #setAt = NONE;
  #setEnd = NONE;
  #setLocal = NONE;

  /** `types` are those of nodes, `left` how often each is used. */
  constructor(out: ByteBuffer, locals: TreeLocals, types: Uint8Array, left: Int32Array) {
    this.#out = out;
    this.#locals = locals;
    this.#types = types;
    this.left = left;
    this.home = new Int32Array(left.length).fill(NONE);
    this.#holds = new Int32Array(locals.firstTemporary).fill(NONE);
  }

  getLocal(local: number): void {
    if (this.#setEnd === this.#out.length && this.#setLocal === local) {
      this.#out.bytes[this.#setAt] = 0x22;
      this.#setEnd = NONE;
      return;
    }
    this.#out.byte(0x20);
    this.#out.u32(local);
  }

  setLocal(local: number): void {
    this.#setAt = this.#out.length;
    this.#setLocal = local;
    this.#out.byte(0x21);
    this.#out.u32(local);
    this.#setEnd = this.#out.length;
  }

  takeTemporary(type: number): number {
    const local = this.#locals.take(type);
    this.#takenIn[local] = this.#loops.length;
    return local;
  }

  /** A temporary that was taken outside of a loop may be read when the loop comes round. */
  giveBack(local: number): void {
    if (local < this.#locals.firstTemporary) return;
    const depth = this.#takenIn[local]!;
    if (depth < this.#loops.length) this.#loops[depth]!.push(local);
    else this.#locals.giveBack(local);
  }

  hold(local: number, node: number): void {
    this.#trail.push(local, this.#holds[local]!);
    this.#holds[local] = node;
  }

  /** Moves what a variable holds to a temporary. */
  save(local: number): void {
    const node = this.#holds[local]!;
    const temporary = this.takeTemporary(this.#types[node]!);
    this.getLocal(local);
    this.setLocal(temporary);
    this.#trail.push(~node, this.home[node]!);
    this.home[node] = temporary;
  }

  /** The node that lives in this variable alone and is used again; or NONE. */
  tenant(local: number): number {
    const node = this.#holds[local]!;
    return node >= 0 && this.home[node] === local && this.left[node]! > 0 ? node : NONE;
  }

  leaveScope(scope: number): void {
    for (let i = this.#trail.length - 2; i >= scope; i -= 2) {
      const key = this.#trail[i]!;
      const old = this.#trail[i + 1]!;
      if (key >= 0) this.#holds[key] = old;
      else {
        if (this.left[~key]! > 0) this.giveBack(this.home[~key]!);
        this.home[~key] = old;
      }
    }
    this.#trail.length = scope;
  }

  /** Takes a node's value from the stack into a temporary. */
  settle(n: number): void {
    const temporary = this.takeTemporary(this.#types[n]!);
    this.setLocal(temporary);
    this.home[n] = temporary;
  }

  /** Begins an arm, or a construct; what changes until {@link leaveScope} is undone then. */
  enterScope(): number {
    return this.#trail.length;
  }

  openLoop(): void {
    this.#loops.push([]);
  }

  closeLoop(): void {
    for (const temporary of this.#loops.pop()!) this.giveBack(temporary);
  }
}
