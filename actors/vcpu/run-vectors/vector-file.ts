// The format of CPU test vectors: one JSON object a line. Liberal in how numbers are written (JSON numbers, "0x…" or
// decimal strings); strict in names, so that a misspelt expectation fails instead of passing.

import { isRegisterName } from './register-file.js';
import { parseHex, parseInteger, VectorError } from './vector-number.js';

export type VectorMode = 64 | 32 | 16;

export interface Vector {
  readonly name: string;
  readonly mode: VectorMode;
  readonly load: bigint;
  readonly entry: bigint;
  readonly code: Uint8Array;
  /** Address and length of memory that exists, zeroed. */
  readonly regions: readonly (readonly [bigint, number])[];
  readonly memory: readonly (readonly [bigint, Uint8Array])[];
  readonly registers: ReadonlyMap<string, unknown>;
  readonly expectedRegisters: ReadonlyMap<string, unknown>;
  readonly expectedMemory: readonly (readonly [bigint, Uint8Array])[];
  /** The exception that is to end it; absent: HLT is. */
  readonly expectedException: number | undefined;
}

const MAX_REGION_BYTES = 256 * 2 ** 20;

function parseAddress(value: unknown, what: string): bigint {
  return BigInt.asUintN(64, parseInteger(value, what));
}

function parsePairs(value: unknown, what: string): [unknown, unknown][] {
  if (value === undefined) return [];
  if (Array.isArray(value)) {
    return value.map((pair: unknown) => {
      if (Array.isArray(pair) && pair.length === 2) return [pair[0], pair[1]];
      throw new VectorError(`${what} holds something that is not a pair: ${JSON.stringify(pair)}`);
    });
  }
  if (typeof value === 'object' && value !== null) return Object.entries(value);
  throw new VectorError(`${what} is not a list of pairs: ${JSON.stringify(value)}`);
}

function parseRegion([address, bytes]: [unknown, unknown]): [bigint, number] {
  const length = Number(parseInteger(bytes, 'a length in regions'));
  if (length <= 0 || length > MAX_REGION_BYTES) throw new VectorError(`a region of ${length} bytes`);
  return [parseAddress(address, 'an address in regions'), length];
}

function parseMemory(value: unknown, what: string): [bigint, Uint8Array][] {
  return parsePairs(value, what).map(([address, bytes]) => [
    parseAddress(address, `an address in ${what}`),
    parseHex(bytes, `${what} at ${String(address)}`),
  ]);
}

function parseRegisters(value: unknown, what: string, skip: readonly string[]): Map<string, unknown> {
  const registers = new Map<string, unknown>();
  if (value === undefined) return registers;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new VectorError(`${what} is not an object`);
  for (const [name, content] of Object.entries(value)) {
    if (skip.includes(name)) continue;
    if (!isRegisterName(name)) throw new VectorError(`${what} names '${name}', which is no register`);
    registers.set(name.toUpperCase(), content);
  }
  return registers;
}

function parseMode(value: unknown): VectorMode {
  const mode = Number(parseInteger(value, 'mode'));
  if (mode === 64 || mode === 32 || mode === 16) return mode;
  throw new VectorError(`mode is ${mode}, not 64, 32 or 16`);
}

/** One line of the file; throws VectorError. */
export function parseVector(line: string): Vector {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    throw new VectorError(`not JSON: ${(error as Error).message}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new VectorError('not a JSON object');
  const v = parsed as Record<string, unknown>;
  for (const key of ['name', 'code', 'expect'])
    if (v[key] === undefined) throw new VectorError(`'${key}' is missing`);
  const expect = v['expect'] as Record<string, unknown>;
  const load = parseAddress(v['load'] ?? v['entry'] ?? 0x1000, 'load');
  const exception = (expect as Record<string, unknown> | null)?.['exception'];
  return {
    name: String(v['name']),
    mode: parseMode(v['mode'] ?? 64),
    load,
    entry: parseAddress(v['entry'] ?? load.toString(), 'entry'),
    code: parseHex(v['code'], 'code'),
    regions: parsePairs(v['regions'], 'regions').map(parseRegion),
    memory: parseMemory(v['mem'], 'mem'),
    registers: parseRegisters(v['regs'], 'regs', []),
    expectedRegisters: parseRegisters(expect, 'expect', ['mem', 'exception']),
    expectedMemory: parseMemory(expect['mem'], 'expect.mem'),
    expectedException:
      exception === undefined ? undefined : Number(parseInteger(exception, 'expect.exception')),
  };
}
