// Operators and memory accesses as small numbers, so that nodes are words: a plain opcode is itself, a prefixed one
// is its number above PREFIX_FD or PREFIX_FC.

import { atomicOpcode, memoryOpcode } from './memory-opcodes.js';
import { wasmOperator } from './opcodes.js';
import { WASM_TYPES } from './tree-tape.js';

export const PREFIX_FD = 0x1000;
export const PREFIX_FC = 0x2000;
const LIMIT = 0x3000;

export const OPERATOR_RESULT = new Uint8Array(LIMIT);
export const OPERATOR_ARITY = new Uint8Array(LIMIT);
export const OPERATOR_IMMEDIATES = new Uint8Array(LIMIT);

const operators = new Map<string, number>();

function define(name: string): number {
  const { code, operands, result, immediates } = wasmOperator(name);
  let number = code[0]!;
  if (code.length > 1) {
    number = code[0] === 0xfd ? PREFIX_FD : PREFIX_FC;
    for (let i = 1; i < code.length; i++) number += (code[i]! & 0x7f) << (7 * (i - 1));
  }
  OPERATOR_RESULT[number] = WASM_TYPES.indexOf(result);
  OPERATOR_ARITY[number] = operands.length;
  OPERATOR_IMMEDIATES[number] = immediates;
  operators.set(name, number);
  return number;
}

/** The number of the operator called `name`; throws on a name that WebAssembly does not have. */
export function operatorNumber(name: string): number {
  return operators.get(name) ?? define(name);
}

// The operators that the writer makes or knows by itself.
for (const name of ['i32.eqz', 'i64.eqz', 'i32.wrap_i64', 'i64.extend_i32_u', 'i64.extend_i32_s'])
  define(name);
for (const type of ['i32', 'i64'])
  for (const name of 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u add and or xor'.split(' '))
    define(`${type}.${name}`);

/** A load, store or atomic access as the tree writer's phases see it. */
export interface TreeAccess {
  readonly number: number;
  readonly prefix: number;
  readonly code: number;
  readonly align: number;
  /** Index into WASM_TYPES. */
  readonly type: number;
  readonly store: boolean;
  readonly operands: number;
  /** The most bits that a value loaded into an i32 has, 32 where it says nothing; what a store keeps of one. */
  readonly bits: number;
}

/** Accesses by number. */
export const TREE_ACCESSES: TreeAccess[] = [];
const accesses = new Map<string, TreeAccess>();

/** The access called `name`; throws on a name that is unknown. */
export function treeAccess(name: string): TreeAccess {
  const known = accesses.get(name);
  if (known !== undefined) return known;
  const { prefix, code, align, type, store, operands } = name.includes('.atomic.')
    ? atomicOpcode(name)
    : memoryOpcode(name);
  const access: TreeAccess = {
    number: TREE_ACCESSES.length,
    prefix,
    code,
    align,
    type: WASM_TYPES.indexOf(type),
    store,
    operands,
    bits: /(load|store)8(_u)?$/.test(name) ? 8 : /(load|store)16(_u)?$/.test(name) ? 16 : 32,
  };
  TREE_ACCESSES.push(access);
  accesses.set(name, access);
  return access;
}
