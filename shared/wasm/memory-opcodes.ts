// WebAssembly's loads, stores and atomic accesses by name. Core specification 2.0 §5.4.6–5.4.7; threads proposal.

import type { WasmType } from './opcodes.js';

/** `code` follows `prefix` (0 for none); `align` is the exponent of the natural alignment. */
export interface MemoryOpcode {
  readonly prefix: number;
  readonly code: number;
  readonly align: number;
  /** Of the value that is loaded or stored. */
  readonly type: WasmType;
  readonly store: boolean;
  /** Operands on the stack: the address, then values. */
  readonly operands: number;
}

const ACCESSES: readonly (readonly [name: string, code: number, align: number])[] = [
  ['i32.load', 0x28, 2], ['i64.load', 0x29, 3], ['f32.load', 0x2a, 2], ['f64.load', 0x2b, 3],
  ['i32.load8_s', 0x2c, 0], ['i32.load8_u', 0x2d, 0], ['i32.load16_s', 0x2e, 1], ['i32.load16_u', 0x2f, 1],
  ['i64.load8_s', 0x30, 0], ['i64.load8_u', 0x31, 0], ['i64.load16_s', 0x32, 1], ['i64.load16_u', 0x33, 1],
  ['i64.load32_s', 0x34, 2], ['i64.load32_u', 0x35, 2],
  ['i32.store', 0x36, 2], ['i64.store', 0x37, 3], ['f32.store', 0x38, 2], ['f64.store', 0x39, 3],
  ['i32.store8', 0x3a, 0], ['i32.store16', 0x3b, 1],
  ['i64.store8', 0x3c, 0], ['i64.store16', 0x3d, 1], ['i64.store32', 0x3e, 2],
]; // prettier-ignore

const ATOMICS: readonly (readonly [name: string, code: number, align: number, operands: number])[] = [
  ['memory.atomic.notify', 0x00, 2, 2], ['memory.atomic.wait32', 0x01, 2, 3],
  ['i32.atomic.load', 0x10, 2, 1], ['i64.atomic.load', 0x11, 3, 1], ['i32.atomic.load16_u', 0x13, 1, 1],
  ['i32.atomic.store', 0x17, 2, 2], ['i32.atomic.store16', 0x1a, 1, 2],
  ['i32.atomic.rmw.xchg', 0x41, 2, 2],
  ['i32.atomic.rmw.add', 0x1e, 2, 2], ['i32.atomic.rmw.or', 0x33, 2, 2], ['i32.atomic.rmw.and', 0x2c, 2, 2],
  ['i32.atomic.rmw.cmpxchg', 0x48, 2, 3], ['i64.atomic.rmw.cmpxchg', 0x49, 3, 3],
  ['i32.atomic.rmw8.cmpxchg_u', 0x4a, 0, 3], ['i32.atomic.rmw16.cmpxchg_u', 0x4b, 1, 3],
]; // prettier-ignore

const accesses = new Map<string, MemoryOpcode>();
const atomics = new Map<string, MemoryOpcode>();

function entry(name: string, prefix: number, code: number, align: number, operands: number): MemoryOpcode {
  const type = name.startsWith('memory') ? 'i32' : (name.slice(0, name.indexOf('.')) as WasmType);
  return { prefix, code, align, type, store: name.includes('.store'), operands };
}

for (const [name, code, align] of ACCESSES)
  accesses.set(name, entry(name, 0, code, align, name.includes('.store') ? 2 : 1));
accesses.set('v128.load', entry('v128.load', 0xfd, 0, 4, 1));
accesses.set('v128.store', entry('v128.store', 0xfd, 11, 4, 2));
for (const [name, code, align, operands] of ATOMICS)
  atomics.set(name, entry(name, 0xfe, code, align, operands));

/** The load or store called `name`; throws on a name that is unknown. */
export function memoryOpcode(name: string): MemoryOpcode {
  const found = accesses.get(name);
  if (found === undefined) throw new Error(`no WebAssembly memory instruction called ${name}`);
  return found;
}

/** The atomic access called `name`; throws on a name that is unknown. */
export function atomicOpcode(name: string): MemoryOpcode {
  const found = atomics.get(name);
  if (found === undefined) throw new Error(`no WebAssembly atomic called ${name}`);
  return found;
}
