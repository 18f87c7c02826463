// Writes the body of one WebAssembly function: instructions as bytes, locals numbered as they are asked for.
// WebAssembly core specification 2.0 §5.4; atomics per the threads proposal; tail calls per the tail-call proposal.

import { type WasmType, wasmOperator, WASM_TYPE_CODE } from './opcodes.js';

const LOADS: Readonly<Record<string, readonly [number, number]>> = {
  'i32.load': [0x28, 2], 'i64.load': [0x29, 3], 'f32.load': [0x2a, 2], 'f64.load': [0x2b, 3],
  'i32.load8_s': [0x2c, 0], 'i32.load8_u': [0x2d, 0], 'i32.load16_s': [0x2e, 1], 'i32.load16_u': [0x2f, 1],
  'i64.load8_u': [0x31, 0], 'i64.load16_u': [0x33, 1], 'i64.load32_s': [0x34, 2], 'i64.load32_u': [0x35, 2],
  'i32.store': [0x36, 2], 'i64.store': [0x37, 3], 'f32.store': [0x38, 2], 'f64.store': [0x39, 3],
  'i32.store8': [0x3a, 0], 'i32.store16': [0x3b, 1], 'i64.store32': [0x3e, 2],
}; // prettier-ignore

const ATOMICS: Readonly<Record<string, readonly [number, number]>> = {
  'i32.atomic.load': [0x10, 2], 'i64.atomic.load': [0x11, 3],
  'i32.atomic.rmw.add': [0x1e, 2], 'i32.atomic.rmw.or': [0x33, 2], 'i32.atomic.rmw.and': [0x2c, 2],
  'i32.atomic.rmw.cmpxchg': [0x48, 2], 'i64.atomic.rmw.cmpxchg': [0x49, 3],
  'i32.atomic.rmw8.cmpxchg_u': [0x4a, 0], 'i32.atomic.rmw16.cmpxchg_u': [0x4b, 1],
}; // prettier-ignore

/** Accumulates a function body. */
export class CodeWriter {
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
    if (name === 'v128.load') this.bytes.push(0xfd, 0);
    else if (name === 'v128.store') this.bytes.push(0xfd, 11);
    else {
      const entry = LOADS[name];
      if (entry === undefined) throw new Error(`no WebAssembly memory instruction called ${name}`);
      this.bytes.push(entry[0]);
    }
    this.u32(align);
    this.u32(offset);
  }

  /** An atomic access; its address must be naturally aligned. */
  atomic(name: string, offset: number): void {
    const entry = ATOMICS[name];
    if (entry === undefined) throw new Error(`no WebAssembly atomic called ${name}`);
    this.bytes.push(0xfe, entry[0]);
    this.u32(entry[1]);
    this.u32(offset);
  }

  fence(): void {
    this.bytes.push(0xfe, 0x03, 0x00);
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
