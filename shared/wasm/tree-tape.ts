// What a TreeWriter was told, as words: instructions in WebAssembly's order, before anything is known of them.
// Results of blocks are locals by then. Reading it twice tells early what a loop will set.

import type { WasmType } from './opcodes.js';

// Instructions; the words that follow each.
export const T_CONST32 = 0; // value
export const T_CONST64 = 1; // low, high
export const T_CONST128 = 2; // blob
export const T_GET = 3; // local
export const T_SET = 4; // local
export const T_TEE = 5; // local
export const T_OPERATOR = 6; // operator, immediate
export const T_SELECT = 7;
export const T_LOAD = 8; // access, offset, align
export const T_STORE = 9; // access, offset, align
export const T_ATOMIC = 10; // access, offset, operands
export const T_FENCE = 11;
export const T_COPY = 12;
export const T_FILL = 13;
export const T_BLOCK = 14; // targeted
export const T_LOOP = 15; // targeted, sets from, sets to
export const T_IF = 16; // targeted
export const T_ELSE = 17;
export const T_END = 18;
export const T_BR = 19; // depth
export const T_BR_IF = 20; // depth
export const T_RETURN = 21; // operands
export const T_UNREACHABLE = 22;
export const T_CALL = 23; // function, operands, result type or NO_TYPE
export const T_CALL_INDIRECT = 24; // type, operands, result type or NO_TYPE
export const T_RETURN_CALL_INDIRECT = 25; // type, operands
export const T_RETURN_CALL = 26; // function, operands

/** Words of each instruction, its own included. */
export const TAPE_WORDS = Uint8Array.of(2, 3, 2, 2, 2, 2, 3, 1, 4, 4, 4, 1, 1, 1, 2, 4, 2, 1, 1, 2, 2, 2, 1, 4, 4, 3, 3); // prettier-ignore

export const WASM_TYPES: readonly WasmType[] = ['i32', 'i64', 'f32', 'f64', 'v128'];
export const TYPE_I32 = 0;
export const TYPE_I64 = 1;
export const TYPE_V128 = 4;
export const NO_TYPE = 5;

export class TreeTape {
  words = new Int32Array(4096);
  length = 0;
  /** How many instructions there are. */
  count = 0;
  /** Immediates of more than a byte. */
  readonly blobs: (readonly number[])[] = [];
  /** Index into {@link WASM_TYPES} by local, parameters first. */
  readonly localTypes: number[];
  /** How often each local is set, and got. */
  readonly sets: number[];
  readonly gets: number[];
  /** Locals in the order in which they are set. */
  readonly setOrder: number[] = [];
  readonly parameters: number;

  constructor(parameters: readonly WasmType[]) {
    this.parameters = parameters.length;
    this.localTypes = parameters.map((type) => WASM_TYPES.indexOf(type));
    this.sets = parameters.map(() => 0);
    this.gets = parameters.map(() => 0);
  }

  /** Adds an instruction; words that it does not have are overwritten by the next. Gives its place. */
  put(code: number, a = 0, b = 0, c = 0): number {
    const at = this.length;
    if (at + 4 > this.words.length) this.#grow();
    const { words } = this;
    words[at] = code;
    words[at + 1] = a;
    words[at + 2] = b;
    words[at + 3] = c;
    this.length = at + TAPE_WORDS[code]!;
    this.count++;
    return at;
  }

  #grow(): void {
    const grown = new Int32Array(this.words.length * 2);
    grown.set(this.words);
    this.words = grown;
  }

  local(type: WasmType): number {
    this.sets.push(0);
    this.gets.push(0);
    return this.localTypes.push(WASM_TYPES.indexOf(type)) - 1;
  }

  noteSet(local: number): void {
    this.sets[local]!++;
    this.setOrder.push(local);
  }
}
