// A CodeSink that writes less: it notes what it is told and writes when the body is finished, by then knowing which
// values are used, how often and where. Values that nothing needs are left out, those used once stand where they are
// used, and locals are shared by values that are never alive together. The memory operations of a function stay in
// their order, except that loads of which nothing uses the value are left out: an address is in bounds here.
//
// Phases: tree-tape.ts (what was told), tree-builder.ts (nodes and statements), tree-liveness.ts (what is needed),
// tree-placement.ts (where each value is evaluated), tree-emission.ts (bytes).

import type { CodeSink, Signature, SignatureLookup } from './code-sink.js';
import type { WasmType } from './opcodes.js';
import { TreeBuilder } from './tree-builder.js';
import { TreeEmission } from './tree-emission.js';
import { TreeLiveness } from './tree-liveness.js';
import { operatorNumber, treeAccess } from './tree-opcodes.js';
import { TreePlacement } from './tree-placement.js';
import * as T from './tree-tape.js';

interface OpenConstruct {
  readonly at: number;
  /** The local that takes its result, or -1. */
  readonly result: number;
}

export class TreeWriter implements CodeSink {
  readonly #tape: T.TreeTape;
  readonly #signature: Signature;
  readonly #lookup: SignatureLookup;
  readonly #open: OpenConstruct[] = [];

  /** `signature` is the function's own. */
  constructor(signature: Signature, lookup: SignatureLookup) {
    this.#signature = signature;
    this.#lookup = lookup;
    this.#tape = new T.TreeTape(signature.parameters);
  }

  local(type: WasmType): number {
    return this.#tape.local(type);
  }

  i32Const(value: number): void {
    this.#tape.put(T.T_CONST32, value | 0);
  }

  i64Const(value: bigint): void {
    const short = Number(value);
    if (Number.isSafeInteger(short))
      this.#tape.put(T.T_CONST64, short | 0, Math.floor(short / 0x1_0000_0000) | 0);
    else
      this.#tape.put(
        T.T_CONST64,
        Number(value & 0xffff_ffffn) | 0,
        Number((value >> 32n) & 0xffff_ffffn) | 0,
      );
  }

  v128Const(bytes: readonly number[]): void {
    this.#tape.put(T.T_CONST128, this.#tape.blobs.push(bytes) - 1);
  }

  get(local: number): void {
    this.#tape.gets[local]!++;
    this.#tape.put(T.T_GET, local);
  }

  set(local: number): void {
    this.#tape.noteSet(local);
    this.#tape.put(T.T_SET, local);
  }

  tee(local: number): void {
    this.#tape.noteSet(local);
    this.#tape.put(T.T_TEE, local);
  }

  operator(name: string, immediates: readonly number[] = []): void {
    const many = immediates.length > 1;
    this.#tape.put(
      T.T_OPERATOR,
      operatorNumber(name),
      many ? this.#tape.blobs.push(immediates) - 1 : (immediates[0] ?? 0),
    );
  }

  select(): void {
    this.#tape.put(T.T_SELECT);
  }

  memory(name: string, offset: number, align = 0): void {
    const { number, store } = treeAccess(name);
    this.#tape.put(store ? T.T_STORE : T.T_LOAD, number, offset, align);
  }

  atomic(name: string, offset: number): void {
    const { number, operands } = treeAccess(name);
    this.#tape.put(T.T_ATOMIC, number, offset, operands);
  }

  fence(): void {
    this.#tape.put(T.T_FENCE);
  }

  memoryCopy(): void {
    this.#tape.put(T.T_COPY);
  }

  memoryFill(): void {
    this.#tape.put(T.T_FILL);
  }

  #enter(code: number, result?: WasmType): void {
    const at = this.#tape.put(code, 0, this.#tape.setOrder.length);
    this.#open.push({ at, result: result === undefined ? -1 : this.local(result) });
  }

  block(result?: WasmType): void {
    this.#enter(T.T_BLOCK, result);
  }

  loop(): void {
    this.#enter(T.T_LOOP);
  }

  if(result?: WasmType): void {
    this.#enter(T.T_IF, result);
  }

  else(): void {
    const { result } = this.#open.at(-1)!;
    if (result >= 0) this.set(result);
    this.#tape.put(T.T_ELSE);
  }

  end(): void {
    const { at, result } = this.#open.pop()!;
    if (result >= 0) this.set(result);
    if (this.#tape.words[at] === T.T_LOOP) this.#tape.words[at + 3] = this.#tape.setOrder.length;
    this.#tape.put(T.T_END);
    if (result >= 0) this.get(result);
  }

  br(depth: number): void {
    if (depth === this.#open.length) {
      this.return();
      return;
    }
    const { at, result } = this.#open.at(-1 - depth)!;
    if (result >= 0) this.set(result);
    this.#tape.words[at + 1] = 1;
    this.#tape.put(T.T_BR, depth);
  }

  brIf(depth: number): void {
    if (depth === this.#open.length) {
      this.#returnIf();
      return;
    }
    const { at, result } = this.#open.at(-1 - depth)!;
    if (result >= 0) {
      const condition = this.local('i32');
      this.set(condition);
      this.tee(result);
      this.get(condition);
    }
    this.#tape.words[at + 1] = 1;
    this.#tape.put(T.T_BR_IF, depth);
  }

  /** A branch to the function's own label. */
  #returnIf(): void {
    const type = this.#signature.results[0];
    const result = type === undefined ? -1 : this.local(type);
    if (result >= 0) {
      const condition = this.local('i32');
      this.set(condition);
      this.tee(result);
      this.get(condition);
    }
    this.if();
    if (result >= 0) this.get(result);
    this.return();
    this.end();
  }

  return(): void {
    this.#tape.put(T.T_RETURN, this.#signature.results.length);
  }

  unreachable(): void {
    this.#tape.put(T.T_UNREACHABLE);
  }

  call(functionIndex: number): void {
    this.#call(T.T_CALL, functionIndex, this.#lookup.ofFunction(functionIndex));
  }

  callIndirect(typeIndex: number): void {
    this.#call(T.T_CALL_INDIRECT, typeIndex, this.#lookup.ofType(typeIndex));
  }

  #call(code: number, index: number, { parameters, results }: Signature): void {
    if (results.length > 1) throw new Error('calls with more than one result are not supported');
    const type = results.length === 0 ? T.NO_TYPE : T.WASM_TYPES.indexOf(results[0]!);
    this.#tape.put(code, index, parameters.length, type);
  }

  returnCall(functionIndex: number): void {
    const { parameters } = this.#lookup.ofFunction(functionIndex);
    this.#tape.put(T.T_RETURN_CALL, functionIndex, parameters.length);
  }

  returnCallIndirect(typeIndex: number): void {
    this.#tape.put(T.T_RETURN_CALL_INDIRECT, typeIndex, this.#lookup.ofType(typeIndex).parameters.length);
  }

  finish(): Uint8Array<ArrayBuffer> {
    this.return();
    const builder = new TreeBuilder(this.#tape);
    builder.build();
    const { nodes, statements } = builder;
    const liveness = new TreeLiveness(nodes, statements, this.#tape.localTypes.length);
    liveness.analyze();
    const placement = new TreePlacement(nodes, statements, liveness);
    placement.place();
    return new TreeEmission(this.#tape, builder, liveness, placement).emit();
  }
}
