// The x87 routines against the exact helpers: on the same random state, what a routine says it has done must be what the helper does.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { X87_HELPERS } from '#actors/vcpu/engine-wasm/helpers/x87.js';
import { summarize } from '#actors/vcpu/engine-wasm/helpers/x87-unit.js';
import { createPrng, type Prng } from '#shared/base/prng.js';
import { routineBody, routineParameters } from '#shared/translate/routine.js';
import { ModuleWriter } from '#shared/wasm/module-writer.js';
import * as S from '#shared/x86/cpu-state.js';
import { COMPARED, OPERATIONS, X87_ROUTINES } from '#shared/x86/routines/x87-routines.js';

const IP = 0x1234_5678_9abcn;
const TYPES = { f32: 0, f64: 1, f80: 2, i16: 3, i32: 4, i64: 5 } as const;

/** How a routine's instruction is asked of the helpers. */
interface Pairing {
  readonly routine: string;
  /** The routine's arguments behind the IP. */
  arguments(random: Prng): (number | bigint)[];
  readonly helper: string;
  helperArguments(args: readonly (number | bigint)[]): number[];
  /** What of VECTOR_SCRATCH the instruction gives, bytes. */
  readonly datumBytes?: number;
}

const index = (random: Prng): number => random.below(8);
const bit = (random: Prng): number => random.below(2);
const numbers = (args: readonly (number | bigint)[]): number[] => args.map(Number);

/** Patterns with extreme exponents and significands as often as ordinary ones. */
function pattern(random: Prng, exponentBits: number, fractionBits: number): bigint {
  const all = (1 << exponentBits) - 1;
  const bias = all >> 1;
  const near = bias + random.below(140) - 70;
  const exponent = [0, 1, 2, all - 1, all, random.below(all), near, near, near, near][random.below(10)]!;
  const wide = (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));
  const few = 1n << BigInt(random.below(64));
  const fraction = [wide, wide, wide, 0n, few, few - 1n, ~0n, -few, wide & -few][random.below(9)]!;
  const sign = BigInt(random.below(2)) << BigInt(exponentBits + fractionBits);
  return sign | (BigInt(exponent) << BigInt(fractionBits)) | BigInt.asUintN(fractionBits, fraction);
}

const single = (random: Prng): number => Number(BigInt.asIntN(32, pattern(random, 8, 23)));
const double = (random: Prng): bigint => BigInt.asIntN(64, pattern(random, 11, 52));

function arithmeticPairs(): Pairing[] {
  return OPERATIONS.flatMap((name, operation) => [
    {
      routine: `x87_${name}_stack`,
      arguments: (random): number[] => [index(random), index(random), bit(random)],
      helper: 'x87_binary_stack',
      helperArguments: ([to, from, pop]) => [operation | (Number(pop) << 3), Number(to), Number(from)],
    },
    {
      routine: `x87_${name}_f32`,
      arguments: (random): number[] => [single(random)],
      helper: 'x87_binary_memory',
      helperArguments: () => [operation, TYPES.f32],
    },
    {
      routine: `x87_${name}_f64`,
      arguments: (random): bigint[] => [double(random)],
      helper: 'x87_binary_memory',
      helperArguments: () => [operation, TYPES.f64],
    },
  ]);
}

function storePairs(): Pairing[] {
  const bytes = { f32: 4, f64: 8, f80: 10, i16: 2, i32: 4, i64: 8 };
  return (['f32', 'f64', 'f80', 'i16', 'i32', 'i64'] as const).flatMap((type) => {
    const pairing = (routine: string, truncate: number): Pairing => ({
      routine,
      arguments: (random): number[] => [bit(random)],
      helper: 'x87_store_memory',
      helperArguments: ([pop]) => [TYPES[type], Number(pop) | truncate],
      datumBytes: bytes[type],
    });
    const plain = pairing(`x87_store_${type}`, 0);
    return type.startsWith('i') ? [plain, pairing(`x87_truncate_${type}`, 2)] : [plain];
  });
}

const load = (
  routine: string,
  type: keyof typeof TYPES,
  make: (random: Prng) => (number | bigint)[],
): Pairing => ({
  routine,
  arguments: make,
  helper: 'x87_load_memory',
  helperArguments: () => [TYPES[type]],
});

const PAIRS: readonly Pairing[] = [
  ...arithmeticPairs(),
  ...storePairs(),
  load('x87_load_f32', 'f32', (random) => [single(random)]),
  load('x87_load_f64', 'f64', (random) => [double(random)]),
  load('x87_load_f80', 'f80', (random) => {
    const value = pattern(random, 15, 64);
    return [BigInt.asIntN(64, value), Number(value >> 64n)];
  }),
  load('x87_load_integer', 'i64', (random) => [double(random) >> BigInt(random.below(64))]),
  {
    routine: 'x87_root',
    arguments: () => [],
    helper: 'x87_unary',
    helperArguments: () => [2],
  },
  {
    routine: 'x87_load_stack',
    arguments: (random) => [index(random)],
    helper: 'x87_load_stack',
    helperArguments: numbers,
  },
  {
    routine: 'x87_store_stack',
    arguments: (random) => [index(random), bit(random)],
    helper: 'x87_store_stack',
    helperArguments: numbers,
  },
  {
    routine: 'x87_exchange',
    arguments: (random) => [index(random)],
    helper: 'x87_exchange',
    helperArguments: numbers,
  },
  {
    routine: 'x87_sign',
    arguments: (random) =>
      [
        [0xffff, 0x8000],
        [0x7fff, 0],
      ][random.below(2)]!,
    helper: 'x87_unary',
    helperArguments: ([keep]) => [keep === 0xffff ? 0 : 1],
  },
  {
    routine: 'x87_move_if',
    arguments: (random) => [bit(random), index(random)],
    helper: 'x87_move_if',
    helperArguments: numbers,
  },
  {
    routine: 'x87_compare_stack',
    arguments: (random) => [index(random), random.below(3)],
    helper: 'x87_compare_stack',
    helperArguments: ([other, pops]) => [Number(pops) << 1, Number(other)],
  },
  {
    routine: 'x87_compare_f32',
    arguments: (random) => [single(random), bit(random)],
    helper: 'x87_compare_memory',
    helperArguments: ([, pops]) => [Number(pops) << 1, TYPES.f32],
  },
  {
    routine: 'x87_compare_f64',
    arguments: (random) => [double(random), bit(random)],
    helper: 'x87_compare_memory',
    helperArguments: ([, pops]) => [Number(pops) << 1, TYPES.f64],
  },
  {
    routine: 'x87_compare_flags',
    arguments: (random) => [index(random), bit(random)],
    helper: 'x87_compare_flags',
    helperArguments: ([other, pop]) => [Number(pop) << 1, Number(other)],
  },
];

type RoutineFunction = (cpu: number, ip: bigint, ...args: (number | bigint)[]) => number;

/** The routines in a module of their own, over two state pages. */
class Bench {
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  readonly u8 = new Uint8Array(this.memory.buffer);
  readonly view = new DataView(this.memory.buffer);
  readonly routines: Readonly<Record<string, RoutineFunction>>;

  constructor() {
    const writer = new ModuleWriter({ initial: 1, maximum: 1 });
    for (const [name, routine] of Object.entries(X87_ROUTINES))
      writer.function(writer.type(routineParameters(routine), ['i32']), name, routineBody(routine), true);
    const module = new WebAssembly.Module(writer.finish());
    const instance = new WebAssembly.Instance(module, { env: { memory: this.memory } });
    this.routines = instance.exports as Record<string, RoutineFunction>;
  }

  /** A random state at the page's start: mostly plain controls and few empty registers. */
  fill(random: Prng): void {
    const { view, u8 } = this;
    u8.fill(0, 0, S.CPU_STATE_BYTES);
    const plain = random.below(4) !== 0;
    const control = plain ? 0x37f : random.below(0x1000) | 0x40;
    view.setInt32(S.X87_CONTROL, control, true);
    view.setInt32(S.X87_STATUS, summarize(random.below(0x800), control), true);
    view.setInt32(S.X87_TOP, index(random), true);
    view.setInt32(
      S.X87_TAGS,
      random.below(3) === 0 ? random.below(256) : [0xff, 0x7f, 0xfe][random.below(3)]!,
      true,
    );
    view.setBigInt64(S.RIP, IP, true);
    for (let i = 0; i < 8; i++) {
      let value = pattern(random, 15, 64);
      // The leading bit is there but in few.
      if (((value >> 64n) & 0x7fffn) !== 0n && random.below(20) !== 0) value |= 1n << 63n;
      if (random.below(12) === 0) value &= 1n << 79n;
      view.setBigUint64(S.X87 + 16 * i, BigInt.asUintN(64, value), true);
      view.setUint16(S.X87 + 16 * i + 8, Number(value >> 64n), true);
    }
  }

  /** Where a helper finds the operand that the routine takes as arguments. */
  putOperand(at: number, args: readonly (number | bigint)[]): void {
    const [value, top] = args;
    this.view.setBigInt64(at + S.VECTOR_SCRATCH, BigInt(value ?? 0), true);
    this.view.setUint16(at + S.VECTOR_SCRATCH + 8, Number(top ?? 0), true);
  }
}

const HELPER_PAGE = S.CPU_STATE_BYTES;
/** What the instruction leaves: registers, status, pointers, and of a store its datum and what it commits. */
function outcome(bench: Bench, at: number, datumBytes: number | undefined): string {
  const part = (from: number, bytes: number): string =>
    Buffer.from(bench.u8.slice(at + from, at + from + bytes)).toString('hex');
  const state = part(S.X87, S.MXCSR - S.X87);
  return datumBytes === undefined
    ? state
    : `${state} ${part(S.VECTOR_SCRATCH, datumBytes)} ${part(S.VECTOR_SCRATCH + 16, 16)}`;
}

describe('x87 routines', () => {
  const bench = new Bench();
  const owner = { u8: bench.u8.subarray(HELPER_PAGE, 2 * HELPER_PAGE) };

  test('every routine is compared', () => {
    expect(PAIRS.map((pairing) => pairing.routine).sort()).toEqual(Object.keys(X87_ROUTINES).sort());
  });

  test.each(PAIRS)('$routine does what $helper does, or nothing', (pairing) => {
    let done = 0;
    const runs = 2000;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 }), (seed) => {
        const random = createPrng(seed);
        bench.fill(random);
        const args = pairing.arguments(random);
        bench.u8.copyWithin(HELPER_PAGE, 0, HELPER_PAGE);
        const before = outcome(bench, 0, undefined);
        const result = bench.routines[pairing.routine]!(0, IP, ...args);
        if (result === 0) {
          expect(outcome(bench, 0, undefined)).toBe(before);
          return;
        }
        done++;
        bench.putOperand(HELPER_PAGE, args);
        X87_HELPERS[pairing.helper]!(
          owner,
          ...(padded(pairing.helperArguments(args)) as [number, number, number]),
        );
        expect(outcome(bench, 0, pairing.datumBytes)).toBe(outcome(bench, HELPER_PAGE, pairing.datumBytes));
        if (result !== 1)
          expect(result & ~COMPARED).toBe(bench.view.getInt32(HELPER_PAGE + S.HELPER_ARG0, true));
      }),
      { numRuns: runs, seed: 42 },
    );
    expect(done).toBeGreaterThan(runs / 20);
  });
});

const padded = (args: number[]): number[] => [...args, 0, 0, 0].slice(0, 3);
