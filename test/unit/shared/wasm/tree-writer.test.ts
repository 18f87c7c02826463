import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CodeBody, CodeSink, SignatureLookup } from '#shared/wasm/code-sink.js';
import { CodeWriter } from '#shared/wasm/code-writer.js';
import { ModuleWriter } from '#shared/wasm/module-writer.js';
import type { WasmType } from '#shared/wasm/opcodes.js';
import { TreeWriter } from '#shared/wasm/tree-writer.js';
import { PROGRAM_SIGNATURE, WasmProgram } from '../../../support/wasm-program.js';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const bytes = new Uint8Array(memory.buffer);
const PAGES = { initial: 1, maximum: 1 };
const USED = 1024;
const COMBINE = { parameters: ['i32', 'i32'], results: ['i32'] } as const;
const NOTE = { parameters: ['i64'], results: [] } as const;
const TAIL = { parameters: ['i32', 'i64'], results: ['i64'] } as const;
const lookup: SignatureLookup = {
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
function instantiate(bodies: readonly CodeBody[], log: string[]): Program[] {
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

function bodyBy(sink: CodeSink, choices: readonly number[]): CodeBody {
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

function outcomes(program: Program, seed: number, log: string[]): Outcome[] {
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

  it('writes less, with fewer locals, than CodeWriter for what a region is like', () => {
    const plain = new CodeWriter(3);
    const tree = new TreeWriter(PROGRAM_SIGNATURE, lookup);
    emitRegionLike(plain);
    emitRegionLike(tree);
    const [before, after] = [plain.finish(), tree.finish()];
    expect(after.length).toBeLessThan(before.length / 2);
    expect(countLocals(before)).toBe(100);
    expect(countLocals(after)).toBeLessThan(8);
    const log: string[] = [];
    const [a, b] = instantiate([before, after], log);
    expect(outcomes(b!, 3, log)).toEqual(outcomes(a!, 3, log));
  });

  it('leaves out what only a variable needs that is set again before it is read', () => {
    const code = new TreeWriter(PROGRAM_SIGNATURE, lookup);
    const flags = code.local('i32');
    code.get(0);
    code.if();
    code.get(2);
    code.operator('i32.popcnt');
    code.set(flags);
    code.end();
    code.loop();
    code.get(0);
    code.operator('i32.clz');
    code.set(flags);
    code.get(flags);
    code.i32Const(1);
    code.operator('i32.sub');
    code.tee(0);
    code.brIf(0);
    code.end();
    code.get(1);
    const body = [...code.finish()];
    expect(body).toContain(OPCODE_CLZ);
    expect(body).not.toContain(OPCODE_POPCNT);
    expect(body).not.toContain(OPCODE_IF);
  });

  it('keeps loads and stores in their order, wherever their values are used', () => {
    const code = new TreeWriter(PROGRAM_SIGNATURE, lookup);
    const load = (offset: number): number => {
      const local = code.local('i32');
      code.get(0);
      code.memory('i32.load', offset);
      code.set(local);
      return local;
    };
    const store = (offset: number, value: number): void => {
      code.get(0);
      code.get(value);
      code.memory('i32.store', offset);
    };
    const late = load(101);
    const early = load(102);
    store(103, early);
    const inArm = load(104);
    code.get(0);
    code.if();
    store(105, early);
    store(106, inArm);
    code.end();
    const after = load(107);
    code.get(after);
    code.get(late);
    code.operator('i32.add');
    code.operator('i64.extend_i32_u');
    const body = [...code.finish()];
    // Opcode, alignment, offset.
    const accesses = body.flatMap((byte, i) =>
      (byte === 0x28 || byte === 0x36) && body[i + 1] === 0 && body[i + 2]! > 100 ? [body[i + 2]!] : [],
    );
    expect(accesses).toEqual([101, 102, 103, 104, 105, 106, 107]);
  });
});

const OPCODE_IF = 0x04;
const OPCODE_CLZ = 0x67;
const OPCODE_POPCNT = 0x69;

/** Additions of what is read from memory into registers, with flags that the next one overwrites; a slow path each. */
function emitRegionLike(code: CodeSink): void {
  const registers = [code.local('i64'), code.local('i64')] as const;
  const result = code.local('i64');
  const carry = code.local('i32');
  /** What the plain generators do: every value gets a local. */
  const take = (type: WasmType): number => {
    const local = code.local(type);
    code.set(local);
    return local;
  };
  const operate = (name: string, type: WasmType, ...operands: number[]): number => {
    for (const operand of operands) code.get(operand);
    code.operator(name);
    return take(type);
  };
  for (let i = 0; i < 12; i++) {
    const register = registers[i & 1]!;
    const loaded = code.local('i64');
    code.get(0);
    code.i32Const(0xf8);
    code.operator('i32.and');
    const address = take('i32');
    code.get(register);
    code.operator('i64.eqz');
    code.if();
    code.get(address);
    code.memory('i64.load', i * 8);
    code.set(loaded);
    code.else();
    code.get(register);
    code.call(ENVIRONMENT.note);
    code.get(address);
    code.memory('i64.load32_u', 16);
    code.set(loaded);
    code.end();
    code.get(register);
    const old = take('i64');
    const sum = operate('i64.add', 'i64', old, loaded);
    code.get(sum);
    code.set(register);
    code.get(sum);
    code.set(result);
    const both = operate('i64.and', 'i64', old, loaded);
    const either = operate('i64.or', 'i64', old, loaded);
    const mixed = operate('i64.xor', 'i64', either, sum);
    code.get(operate('i64.or', 'i64', both, mixed));
    code.operator('i32.wrap_i64');
    code.set(carry);
  }
  code.get(result);
  code.get(carry);
  code.operator('i64.extend_i32_u');
  code.operator('i64.add');
}

/** How many locals a body declares; counts below 128 each. */
function countLocals(body: CodeBody): number {
  let count = 0;
  for (let run = 0; run < body[0]!; run++) count += body[1 + run * 2]!;
  return count;
}
