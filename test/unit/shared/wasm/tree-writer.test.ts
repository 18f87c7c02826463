import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CodeBody, CodeSink, SignatureLookup } from '#shared/wasm/code-sink.js';
import { CodeWriter } from '#shared/wasm/code-writer.js';
import { ModuleWriter } from '#shared/wasm/module-writer.js';
import { TreeWriter } from '#shared/wasm/tree-writer.js';
import { PROGRAM_SIGNATURE, WasmProgram } from '../../../support/wasm-program.js';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const bytes = new Uint8Array(memory.buffer);
const PAGES = { initial: 1, maximum: 1 };
const USED = 1024;
const COMBINE = { parameters: ['i32', 'i32'], results: ['i32'] } as const;
const NOTE = { parameters: ['i64'], results: [] } as const;
const TAIL = { parameters: ['i32', 'i64'], results: ['i64'] } as const;
export const lookup: SignatureLookup = {
  ofFunction: (index) => (index === 0 ? COMBINE : NOTE),
  ofType: (index) => [PROGRAM_SIGNATURE, COMBINE, NOTE, TAIL][index]!,
};
const ENVIRONMENT = { combine: 0, note: 1, tailType: 3 };

/** A table whose two functions tell which of them ran. */
function makeTable(): WebAssembly.Table {
  const writer = new ModuleWriter(PAGES);
  const type = writer.type(TAIL.parameters, TAIL.results);
  const slots = [7n, 11n].map((factor) => {
    const code = new CodeWriter(2);
    code.get(0);
    code.operator('i64.extend_i32_s');
    code.get(1);
    code.i64Const(factor);
    code.operator('i64.mul');
    code.operator('i64.add');
    return writer.function(type, `slot${factor}`, code.finish());
  });
  const module = new WebAssembly.Module(writer.finish(slots));
  return new WebAssembly.Instance(module, { env: { memory } }).exports['table'] as WebAssembly.Table;
}

const table = makeTable();

interface Outcome {
  readonly result: bigint;
  readonly memory: string;
  readonly log: readonly string[];
}

type Program = (a: number, b: bigint, c: number) => bigint;

/** Instantiates functions; what they call is told to `log`. */
export function instantiate(bodies: readonly CodeBody[], log: string[]): Program[] {
  const writer = new ModuleWriter(PAGES, { importsTable: true });
  const type = writer.type(PROGRAM_SIGNATURE.parameters, PROGRAM_SIGNATURE.results);
  writer.importFunction('env', 'combine', writer.type(COMBINE.parameters, COMBINE.results));
  writer.importFunction('env', 'note', writer.type(NOTE.parameters, NOTE.results));
  writer.type(TAIL.parameters, TAIL.results);
  bodies.forEach((body, i) => writer.function(type, `program${i}`, body, true));
  const combine = (a: number, b: number): number => {
    log.push(`combine ${a} ${b} ${bytes[8]} ${bytes[0x40]}`);
    bytes[a & 0x7f]! ^= b;
    return (Math.imul(a, 31) ^ b) & (a & 1 ? -1 : 0xff);
  };
  const note = (value: bigint): void => {
    log.push(`note ${value} ${bytes[16]}`);
    bytes[16]!++;
  };
  const module = new WebAssembly.Module(writer.finish());
  const { exports } = new WebAssembly.Instance(module, { env: { memory, table, combine, note } });
  return bodies.map((_, i) => exports[`program${i}`] as Program);
}

export function bodyBy(sink: CodeSink, choices: readonly number[]): CodeBody {
  new WasmProgram(sink, choices, ENVIRONMENT).emit();
  return sink.finish();
}

function fillMemory(seed: number): void {
  let word = seed;
  for (let i = 0; i < USED; i++) {
    word = (Math.imul(word, 1103515245) + 12345) | 0;
    bytes[i] = word >> 16;
  }
}

export function outcomes(program: Program, seed: number, log: string[]): Outcome[] {
  const inputs = [
    [0, 0n, 0],
    [seed, BigInt(seed) * 0x1_2345_6789n, -1],
    [-1, -1n, seed >> 3],
  ] as const;
  return inputs.map(([a, b, c]) => {
    fillMemory(seed);
    log.length = 0;
    const result = program(a, BigInt.asIntN(64, b), c);
    return { result, memory: createHash('sha1').update(bytes.slice(0, USED)).digest('hex'), log: [...log] };
  });
}

describe('TreeWriter', () => {
  it('makes programs that do what CodeWriter makes them do', { timeout: 120_000 }, () => {
    const choices = fc.array(fc.nat(0xffff), { minLength: 5, maxLength: 400, size: 'max' });
    const programs = fc.array(choices, { minLength: 1, maxLength: 40, size: 'max' });
    fc.assert(
      fc.property(programs, fc.integer(), (lists, seed) => {
        const log: string[] = [];
        const plain = lists.map((list) => bodyBy(new CodeWriter(3), list));
        const tree = lists.map((list) => bodyBy(new TreeWriter(PROGRAM_SIGNATURE, lookup), list));
        const functions = instantiate([...plain, ...tree], log);
        for (let i = 0; i < lists.length; i++) {
          const expected = outcomes(functions[i]!, seed, log);
          expect(outcomes(functions[lists.length + i]!, seed, log)).toEqual(expected);
        }
      }),
      { numRuns: Number(process.env['TREE_RUNS'] ?? 100) },
    );
  });
});
