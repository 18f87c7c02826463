// The exact way through SSE floating point: what generated code leaves to software because a flag may change, rounding is not to nearest,
// or an operand is special. Intel SDM vol. 1 §11.5 (SIMD exceptions), §4.9.1. Operands and results lie in VECTOR_SCRATCH.
import { CR4_OSXMMEXCPT } from '#shared/x86/control-bits.js';
import { CR4, HELPER_ARG0, MXCSR, VECTOR_SCRATCH } from '#shared/x86/cpu-state.js';
import {
  add,
  compare,
  divide,
  invalid,
  maximum,
  minimum,
  multiply,
  operand,
  squareRoot,
  subtract,
} from '#shared/x86/softfloat/arithmetic.js';
import type { Comparison } from '#shared/x86/softfloat/arithmetic.js';
import { convert, fromInteger, roundToIntegral, toInteger } from '#shared/x86/softfloat/conversion.js';
import { DE, F32, F64, IE, ZE, infinity, isNan, quietNan, zero } from '#shared/x86/softfloat/format.js';
import type { Format } from '#shared/x86/softfloat/format.js';
import { ROUND_ZERO, environmentOfMxcsr, newEnvironment } from '#shared/x86/softfloat/rounding.js';
import type { FloatEnvironment } from '#shared/x86/softfloat/rounding.js';
import { CONVERT, CONVERT_TRUNCATE } from '#shared/x86/semantics/sse-convert.js';
import { ARITHMETIC_NUMBER } from '#shared/x86/semantics/sse-float.js';

const VECTOR_UD = 6;
const VECTOR_XM = 19;
const BEFORE = IE | DE | ZE;

/** Leaves an exception for the run loop and gives the EXIT_ value. */
export type Raise = (page: DataView, vector: number, errorCode: number) => number;

interface Shape {
  readonly format: Format;
  readonly lanes: number;
}
const SHAPES: readonly Shape[] = [
  { format: F32, lanes: 4 },
  { format: F64, lanes: 2 },
  { format: F32, lanes: 1 },
  { format: F64, lanes: 1 },
];

function readLane(page: DataView, at: number, format: Format, lane: number): bigint {
  return format.bits === 32
    ? BigInt(page.getUint32(at + 4 * lane, true))
    : page.getBigUint64(at + 8 * lane, true);
}

function writeLane(page: DataView, at: number, format: Format, lane: number, value: bigint): void {
  if (format.bits === 32) page.setUint32(at + 4 * lane, Number(BigInt.asUintN(32, value)), true);
  else page.setBigUint64(at + 8 * lane, BigInt.asUintN(64, value), true);
}

function environment(page: DataView): FloatEnvironment {
  return environmentOfMxcsr(page.getInt32(MXCSR, true));
}

/** Notes the flags; an unmasked one is #XM, or #UD when the operating system does not expect it. */
function finish(page: DataView, env: FloatEnvironment, raise: Raise): number {
  const faults = env.flags & ~env.masks;
  // What faults before the computation keeps later flags from arising.
  const flags = (faults & BEFORE) !== 0 ? env.flags & BEFORE : env.flags;
  page.setInt32(MXCSR, page.getInt32(MXCSR, true) | flags, true);
  if (faults === 0) return 0;
  return raise(page, (page.getUint32(CR4, true) & CR4_OSXMMEXCPT) !== 0 ? VECTOR_XM : VECTOR_UD, -1);
}

type Operation = (format: Format, env: FloatEnvironment, a: bigint, b: bigint, lane: number) => bigint;

const OPERATIONS: Readonly<Record<keyof typeof ARITHMETIC_NUMBER, Operation>> = {
  add,
  sub: subtract,
  mul: multiply,
  div: divide,
  sqrt: (format, env, _a, b) => squareRoot(format, env, b),
  min: minimum,
  max: maximum,
  addsub: (format, env, a, b, lane) => ((lane & 1) === 0 ? subtract : add)(format, env, a, b),
  rcp: (format, _env, _a, b) => approximation(format, b, false),
  rsqrt: (format, _env, _a, b) => approximation(format, b, true),
};
const BY_NUMBER: readonly Operation[] = Object.entries(ARITHMETIC_NUMBER)
  .sort(([, x], [, y]) => x - y)
  .map(([name]) => OPERATIONS[name as keyof typeof OPERATIONS]);

/** 1/b or 1/√b to nearest; denormals count as zeros, tiny results become zeros, no flag is raised. */
function approximation(format: Format, b: bigint, root: boolean): bigint {
  const quiet = newEnvironment({ denormalsAreZero: true, flushToZero: true });
  const one = format === F32 ? 0x3f800000n : 0x3ff0000000000000n;
  const a = operand(format, quiet, b);
  if (isNan(a)) return quietNan(format, format, a);
  if (a.kind === 'zero') return infinity(format, a.sign);
  if (root && a.sign === 1) return invalid(format, quiet);
  if (a.kind === 'infinity') return zero(format, a.sign);
  const result = divide(format, quiet, one, root ? squareRoot(format, quiet, b) : b);
  // The processors' approximation of the smallest normal number is already tiny.
  return (result & 0x7fffffffn) === 0x00800000n ? zero(format, a.sign) : result;
}

export function arithmetic(page: DataView, operation: number, shapeNumber: number, raise: Raise): number {
  const { format, lanes } = SHAPES[shapeNumber]!;
  const env = environment(page);
  const operate = BY_NUMBER[operation]!;
  for (let lane = 0; lane < lanes; lane++) {
    const result = operate(
      format,
      env,
      readLane(page, VECTOR_SCRATCH, format, lane),
      readLane(page, VECTOR_SCRATCH + 16, format, lane),
      lane,
    );
    writeLane(page, VECTOR_SCRATCH, format, lane, result);
  }
  return finish(page, env, raise);
}

/** DPPS, DPPD: products, then sums of pairs. Each step is an operation of its own for exceptions: an unmasked one ends it there. */
export function dotProduct(page: DataView, control: number, shapeNumber: number, raise: Raise): number {
  const { format, lanes } = SHAPES[shapeNumber]!;
  const env = environment(page);
  let terms = products(page, env, control, format, lanes);
  for (let distance = 1; distance < lanes; distance *= 2) {
    const exit = finish(page, env, raise);
    if (exit !== 0) return exit;
    env.flags = 0;
    // Which term comes first decides between two NaNs: the lane's own, but in the first of two steps the neighbour.
    terms = terms.map((term, i) => {
      const other = terms[i ^ distance]!;
      const otherFirst = lanes === 4 && distance === 1;
      return otherFirst ? add(format, env, other, term) : add(format, env, term, other);
    });
  }
  for (let lane = 0; lane < lanes; lane++)
    writeLane(page, VECTOR_SCRATCH, format, lane, ((control >> lane) & 1) !== 0 ? terms[lane]! : 0n);
  return finish(page, env, raise);
}

function products(
  page: DataView,
  env: FloatEnvironment,
  control: number,
  format: Format,
  lanes: number,
): bigint[] {
  const terms: bigint[] = [];
  for (let lane = 0; lane < lanes; lane++) {
    const taken = ((control >> (4 + lane)) & 1) !== 0;
    const a = readLane(page, VECTOR_SCRATCH, format, lane);
    const b = readLane(page, VECTOR_SCRATCH + 16, format, lane);
    terms.push(taken ? multiply(format, env, a, b) : 0n);
  }
  return terms;
}

function holds(predicate: number, result: Comparison): boolean {
  const plain = [result === 0, result === -1, result === -1 || result === 0, result === 'unordered'][
    predicate & 3
  ]!;
  return (predicate & 4) === 0 ? plain : !plain;
}

/** CMPccPS…: EQ, UNORD, NEQ and ORD take quiet NaNs without an exception. */
export function comparePredicate(
  page: DataView,
  predicate: number,
  shapeNumber: number,
  raise: Raise,
): number {
  const { format, lanes } = SHAPES[shapeNumber]!;
  const env = environment(page);
  const quiet = (predicate & 3) === 0 || (predicate & 3) === 3;
  for (let lane = 0; lane < lanes; lane++) {
    const result = compare(
      format,
      env,
      readLane(page, VECTOR_SCRATCH, format, lane),
      readLane(page, VECTOR_SCRATCH + 16, format, lane),
      quiet,
    );
    writeLane(page, VECTOR_SCRATCH, format, lane, holds(predicate, result) ? -1n : 0n);
  }
  return finish(page, env, raise);
}

/** COMISS, UCOMISS: an RFLAGS image to HELPER_ARG0. */
export function compareFlags(page: DataView, quiet: number, shapeNumber: number, raise: Raise): number {
  const { format } = SHAPES[shapeNumber]!;
  const env = environment(page);
  const result = compare(
    format,
    env,
    readLane(page, VECTOR_SCRATCH, format, 0),
    readLane(page, VECTOR_SCRATCH + 16, format, 0),
    quiet !== 0,
  );
  page.setInt32(
    HELPER_ARG0,
    result === 'unordered' ? 0x45 : result === 0 ? 0x40 : result === -1 ? 1 : 0,
    true,
  );
  return finish(page, env, raise);
}

export function round(page: DataView, control: number, shapeNumber: number, raise: Raise): number {
  const { format, lanes } = SHAPES[shapeNumber]!;
  const env = environment(page);
  const rounding = (control & 4) !== 0 ? env.rounding : control & 3;
  for (let lane = 0; lane < lanes; lane++) {
    const options = { rounding, suppressInexact: (control & 8) !== 0 };
    writeLane(
      page,
      VECTOR_SCRATCH,
      format,
      lane,
      roundToIntegral(format, env, readLane(page, VECTOR_SCRATCH, format, lane), options),
    );
  }
  return finish(page, env, raise);
}

/** CVTSS2SI and friends: the integer to HELPER_ARG0. */
export function scalarToInteger(
  page: DataView,
  floatBits: number,
  bits: number,
  truncate: number,
  raise: Raise,
): number {
  const format = floatBits === 32 ? F32 : F64;
  const env = environment(page);
  const value = toInteger(
    format,
    env,
    readLane(page, VECTOR_SCRATCH, format, 0),
    bits,
    truncate !== 0 ? ROUND_ZERO : env.rounding,
  );
  page.setBigInt64(HELPER_ARG0, value, true);
  return finish(page, env, raise);
}

function integers(page: DataView, env: FloatEnvironment, format: Format, flags: number): void {
  const rounding = (flags & CONVERT_TRUNCATE) !== 0 ? ROUND_ZERO : env.rounding;
  const lanes = 128 / format.bits;
  const values: bigint[] = [];
  for (let lane = 0; lane < lanes; lane++)
    values.push(toInteger(format, env, readLane(page, VECTOR_SCRATCH, format, lane), 32, rounding));
  for (let lane = 0; lane < 4; lane++)
    page.setInt32(VECTOR_SCRATCH + 4 * lane, Number(values[lane] ?? 0n), true);
}

function changeFormat(page: DataView, env: FloatEnvironment, from: Format, to: Format, lanes: number): void {
  const values: bigint[] = [];
  for (let lane = 0; lane < lanes; lane++)
    values.push(convert(from, to, env, readLane(page, VECTOR_SCRATCH, from, lane)));
  page.setBigUint64(VECTOR_SCRATCH + 8, 0n, true);
  values.forEach((value, lane) => writeLane(page, VECTOR_SCRATCH, to, lane, value));
}

function integersToSingles(page: DataView, env: FloatEnvironment, lanes: number): void {
  for (let lane = 0; lane < lanes; lane++) {
    writeLane(
      page,
      VECTOR_SCRATCH,
      F32,
      lane,
      fromInteger(F32, env, BigInt(page.getInt32(VECTOR_SCRATCH + 4 * lane, true))),
    );
  }
}

export function conversion(page: DataView, number: number, flags: number, raise: Raise): number {
  const env = environment(page);
  switch (number) {
    case CONVERT.ss2sd:
      changeFormat(page, env, F32, F64, 1);
      break;
    case CONVERT.sd2ss:
      changeFormat(page, env, F64, F32, 1);
      break;
    case CONVERT.ps2pd:
      changeFormat(page, env, F32, F64, 2);
      break;
    case CONVERT.pd2ps:
      changeFormat(page, env, F64, F32, 2);
      break;
    case CONVERT.i64ToSs:
      writeLane(page, VECTOR_SCRATCH, F32, 0, fromInteger(F32, env, page.getBigInt64(VECTOR_SCRATCH, true)));
      break;
    case CONVERT.i64ToSd:
      writeLane(page, VECTOR_SCRATCH, F64, 0, fromInteger(F64, env, page.getBigInt64(VECTOR_SCRATCH, true)));
      break;
    case CONVERT.dq2ps:
      integersToSingles(page, env, 4);
      break;
    case CONVERT.pi2ps:
      integersToSingles(page, env, 2);
      break;
    case CONVERT.ps2dq:
      integers(page, env, F32, flags);
      break;
    case CONVERT.ps2pi:
      // The upper half is not converted, so it must raise nothing.
      page.setBigUint64(VECTOR_SCRATCH + 8, 0n, true);
      integers(page, env, F32, flags);
      break;
    default:
      integers(page, env, F64, flags);
      break;
  }
  return finish(page, env, raise);
}
