// What generators write WebAssembly function bodies to: one verb per instruction, operands before operators, locals
// numbered as they are asked for. code-writer.ts writes at once, tree-writer.ts thinks first.

import type { WasmType } from './opcodes.js';

/** A function body with its local declarations, without the size prefix. */
export type CodeBody = readonly number[] | Uint8Array;

/** A function's type; at most one result where a {@link CodeSink} must know it. */
export interface Signature {
  readonly parameters: readonly WasmType[];
  readonly results: readonly WasmType[];
}

/** Types of what a body calls. */
export interface SignatureLookup {
  ofFunction(index: number): Signature;
  ofType(index: number): Signature;
}

export interface CodeSink {
  /** A new local of `type`, zero at entry; gives its index. */
  local(type: WasmType): number;
  i32Const(value: number): void;
  i64Const(value: bigint): void;
  v128Const(bytes: readonly number[]): void;
  get(local: number): void;
  set(local: number): void;
  tee(local: number): void;
  /** A numeric or vector operator; its operands are on the stack. */
  operator(name: string, immediates?: readonly number[]): void;
  select(): void;
  /** A load or store by name, at a constant offset; `align` is the exponent that it declares. */
  memory(name: string, offset: number, align?: number): void;
  /** An atomic access; its address must be naturally aligned. */
  atomic(name: string, offset: number): void;
  fence(): void;
  /** Destination, source and length in bytes are on the stack. */
  memoryCopy(): void;
  /** Destination, byte and length in bytes are on the stack. */
  memoryFill(): void;
  block(result?: WasmType): void;
  loop(): void;
  if(result?: WasmType): void;
  else(): void;
  end(): void;
  br(depth: number): void;
  brIf(depth: number): void;
  return(): void;
  unreachable(): void;
  call(functionIndex: number): void;
  callIndirect(typeIndex: number): void;
  returnCall(functionIndex: number): void;
  returnCallIndirect(typeIndex: number): void;
  finish(): CodeBody;
}
