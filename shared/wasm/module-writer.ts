// Assembles a WebAssembly module from imports, functions and exports. WebAssembly core specification 2.0 §5.5.
// Only what the engine needs: one imported shared memory, one imported or own function table, no data, no globals.

import type { CodeBody, Signature, SignatureLookup } from './code-sink.js';
import { CodeWriter } from './code-writer.js';
import { type WasmType, WASM_TYPE_CODE } from './opcodes.js';

/** Builds one module; imports must be declared before functions. */
export class ModuleWriter implements SignatureLookup {
  readonly #types: Signature[] = [];
  readonly #imports: { module: string; name: string; type: number }[] = [];
  readonly #functions: { type: number; name: string; body: CodeBody; exported: boolean; label: string }[] =
    [];
  readonly #memoryPages: { initial: number; maximum: number };
  readonly #importsTable: boolean;

  /** The memory is imported as `env.memory`, shared; sizes in 64 KiB pages are the bounds that the import must fit. With `importsTable` the function table is `env.table`. */
  constructor(memoryPages: { initial: number; maximum: number }, options: { importsTable?: boolean } = {}) {
    this.#memoryPages = memoryPages;
    this.#importsTable = options.importsTable ?? false;
  }

  type(parameters: readonly WasmType[], results: readonly WasmType[]): number {
    const same = this.#types.findIndex(
      (t) => t.parameters.join() === parameters.join() && t.results.join() === results.join(),
    );
    if (same >= 0) return same;
    return this.#types.push({ parameters, results }) - 1;
  }

  /** The type of index `index`. */
  ofType(index: number): Signature {
    return this.#types[index]!;
  }

  /** The type of a function that is declared already. */
  ofFunction(index: number): Signature {
    const imported = this.#imports.length;
    return this.ofType(
      index < imported ? this.#imports[index]!.type : this.#functions[index - imported]!.type,
    );
  }

  importFunction(module: string, name: string, type: number): number {
    if (this.#functions.length > 0) throw new Error('imports come before functions');
    const same = this.#imports.findIndex((i) => i.module === module && i.name === name);
    if (same >= 0) return same;
    return this.#imports.push({ module, name, type }) - 1;
  }

  /** Adds a function; gives its index. `label` goes into the name section: what profilers call it. */
  function(type: number, name: string, body: CodeBody, exported = false, label = name): number {
    return this.#imports.length + this.#functions.push({ type, name, body, exported, label }) - 1;
  }

  /** The module's bytes. With `table`, a table `table` is exported whose slot i holds function `table[i]`. */
  finish(table?: readonly number[]): Uint8Array<ArrayBuffer> {
    const parts: Uint8Array[] = [Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)];
    const section = (id: number, write: (w: CodeWriter) => void): void => {
      const body = new CodeWriter(0);
      write(body);
      pushSection(parts, id, [Uint8Array.from(body.bytes)]);
    };
    section(1, (w) => this.#writeTypes(w));
    section(2, (w) => this.#writeImports(w));
    section(3, (w) => {
      w.u32(this.#functions.length);
      for (const f of this.#functions) w.u32(f.type);
    });
    if (table !== undefined) section(4, (w) => (w.bytes.push(1, 0x70, 0), w.u32(table.length)));
    section(7, (w) => this.#writeExports(w, table !== undefined));
    if (table !== undefined) section(9, (w) => writeElements(w, table));
    pushSection(parts, 10, [
      sizeOf(this.#functions.length),
      ...this.#functions.flatMap(({ body }) => [sizeOf(body.length), Uint8Array.from(body)]),
    ]);
    section(0, (w) => this.#writeNames(w));
    return concatenate(parts);
  }

  #writeTypes(w: CodeWriter): void {
    w.u32(this.#types.length);
    for (const { parameters, results } of this.#types) {
      w.bytes.push(0x60);
      for (const list of [parameters, results]) {
        w.u32(list.length);
        for (const type of list) w.bytes.push(WASM_TYPE_CODE[type]);
      }
    }
  }

  #writeImports(w: CodeWriter): void {
    w.u32(this.#imports.length + 1 + (this.#importsTable ? 1 : 0));
    if (this.#importsTable) {
      writeName(w, 'env');
      writeName(w, 'table');
      w.bytes.push(0x01, 0x70, 0x00, 0x00);
    }
    writeName(w, 'env');
    writeName(w, 'memory');
    w.bytes.push(0x02, 0x03);
    w.u32(this.#memoryPages.initial);
    w.u32(this.#memoryPages.maximum);
    for (const { module, name, type } of this.#imports) {
      writeName(w, module);
      writeName(w, name);
      w.bytes.push(0x00);
      w.u32(type);
    }
  }

  #writeExports(w: CodeWriter, table: boolean): void {
    const exported = this.#functions.map((f, i) => ({ ...f, i })).filter((f) => f.exported);
    w.u32(exported.length + (table ? 1 : 0));
    for (const { name, i } of exported) {
      writeName(w, name);
      w.bytes.push(0x00);
      w.u32(this.#imports.length + i);
    }
    if (table) {
      writeName(w, 'table');
      w.bytes.push(0x01, 0x00);
    }
  }

  #writeNames(w: CodeWriter): void {
    writeName(w, 'name');
    const names = new CodeWriter(0);
    names.u32(this.#functions.length);
    this.#functions.forEach(({ label }, i) => {
      names.u32(this.#imports.length + i);
      writeName(names, label);
    });
    w.bytes.push(1);
    w.u32(names.bytes.length);
    for (const byte of names.bytes) w.bytes.push(byte);
  }
}

/** A section of `contents`. */
function pushSection(parts: Uint8Array[], id: number, contents: readonly Uint8Array[]): void {
  const bytes = contents.reduce((sum, part) => sum + part.length, 0);
  parts.push(Uint8Array.of(id), sizeOf(bytes), ...contents);
}

/** A number as WebAssembly writes it. */
function sizeOf(value: number): Uint8Array {
  const w = new CodeWriter(0);
  w.u32(value);
  return Uint8Array.from(w.bytes);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function writeName(w: CodeWriter, name: string): void {
  const bytes = new TextEncoder().encode(name);
  w.u32(bytes.length);
  for (const byte of bytes) w.bytes.push(byte);
}

function writeElements(w: CodeWriter, table: readonly number[]): void {
  w.u32(1);
  w.bytes.push(0x00, 0x41, 0x00, 0x0b);
  w.u32(table.length);
  for (const index of table) w.u32(index);
}
