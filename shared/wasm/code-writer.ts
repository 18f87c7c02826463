// Writes the body of one WebAssembly function: instructions as bytes, locals numbered as they are asked for.
// WebAssembly core specification 2.0 §5.4; atomics per the threads proposal; tail calls per the tail-call proposal.

import type { CodeSink } from './code-sink.js';
import { atomicOpcode, memoryOpcode } from './memory-opcodes.js';
import { type WasmType, wasmOperator, WASM_TYPE_CODE } from './opcodes.js';

/** Accumulates a function body. */
export class CodeWriter implements CodeSink {
  readonly bytes: number[] = [];
  readonly #locals: WasmType[] = [];
  readonly #parameters: number;

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  /** A new local of `type`; gives its index. */
  local(type: WasmType): number {
    this.#locals.push(type);
    return this.#parameters + this.#locals.length - 1;
  }

  u32(value: number): void {
    value >>>= 0;
    while (value > 0x7f) {
      this.bytes.push((value & 0x7f) | 0x80);
      value >>>= 7;
    }
    this.bytes.push(value);
  }

  i32Const(value: number): void {
    this.bytes.push(0x41);
    value |= 0;
    for (;;) {
      const byte = value & 0x7f;
      value >>= 7;
      if ((value === 0 && (byte & 0x40) === 0) || (value === -1 && (byte & 0x40) !== 0)) {
        this.bytes.push(byte);
        return;
      }
      this.bytes.push(byte | 0x80);
    }
  }

  i64Const(value: bigint): void {
    this.bytes.push(0x42);
    value = BigInt.asIntN(64, value);
    for (;;) {
      const byte = Number(value & 0x7fn);
      value >>= 7n;
      if ((value === 0n && (byte & 0x40) === 0) || (value === -1n && (byte & 0x40) !== 0)) {
        this.bytes.push(byte);
        return;
      }
      this.bytes.push(byte | 0x80);
    }
  }

  v128Const(bytes: readonly number[]): void {
    this.bytes.push(0xfd, 12, ...bytes);
  }

  get(local: number): void {
    this.bytes.push(0x20);
    this.u32(local);
  }

  set(local: number): void {
    this.bytes.push(0x21);
    this.u32(local);
  }

  tee(local: number): void {
    this.bytes.push(0x22);
    this.u32(local);
  }

  /** A numeric or vector operator; its operands are on the stack. */
  operator(name: string, immediates: readonly number[] = []): void {
    const { code } = wasmOperator(name);
    this.bytes.push(...code, ...immediates);
  }

  select(): void {
    this.bytes.push(0x1b);
  }

  /** A load or store by name, at a constant offset; declared unaligned where the name is plain. */
  memory(name: string, offset: number, align = 0): void {
    const { prefix, code } = memoryOpcode(name);
    if (prefix !== 0) this.bytes.push(prefix);
    this.bytes.push(code);
    this.u32(align);
    this.u32(offset);
  }

  /** An atomic access; its address must be naturally aligned. */
  atomic(name: string, offset: number): void {
    const { prefix, code, align } = atomicOpcode(name);
    this.bytes.push(prefix, code);
    this.u32(align);
    this.u32(offset);
  }

  fence(): void {
    this.bytes.push(0xfe, 0x03, 0x00);
  }

  memoryCopy(): void {
    this.bytes.push(0xfc, 10, 0, 0);
  }

  memoryFill(): void {
    this.bytes.push(0xfc, 11, 0);
  }

  block(result?: WasmType): void {
    this.bytes.push(0x02, result === undefined ? 0x40 : WASM_TYPE_CODE[result]);
  }

  loop(): void {
    this.bytes.push(0x03, 0x40);
  }

  if(result?: WasmType): void {
    this.bytes.push(0x04, result === undefined ? 0x40 : WASM_TYPE_CODE[result]);
  }

  else(): void {
    this.bytes.push(0x05);
  }

  end(): void {
    this.bytes.push(0x0b);
  }

  br(depth: number): void {
    this.bytes.push(0x0c);
    this.u32(depth);
  }

  brIf(depth: number): void {
    this.bytes.push(0x0d);
    this.u32(depth);
  }

  return(): void {
    this.bytes.push(0x0f);
  }

  unreachable(): void {
    this.bytes.push(0x00);
  }

  call(functionIndex: number): void {
    this.bytes.push(0x10);
    this.u32(functionIndex);
  }

  callIndirect(typeIndex: number): void {
    this.bytes.push(0x11);
    this.u32(typeIndex);
    this.bytes.push(0x00);
  }

  returnCall(functionIndex: number): void {
    this.bytes.push(0x12);
    this.u32(functionIndex);
  }

  returnCallIndirect(typeIndex: number): void {
    this.bytes.push(0x13);
    this.u32(typeIndex);
    this.bytes.push(0x00);
  }

  /** The body with its local declarations, without the size prefix. */
  finish(): number[] {
    const head = new CodeWriter(0);
    const runs: [number, WasmType][] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last !== undefined && last[1] === type) last[0]++;
      else runs.push([1, type]);
    }
    head.u32(runs.length);
    for (const [count, type] of runs) {
      head.u32(count);
      head.bytes.push(WASM_TYPE_CODE[type]);
    }
    for (const byte of this.bytes) head.bytes.push(byte);
    head.end();
    return head.bytes;
  }
}
