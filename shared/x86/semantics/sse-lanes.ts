// Floating-point arithmetic written once for scalars and vectors, single and double: the tests that tell when WebAssembly's own
// arithmetic gives what x86 gives and no MXCSR flag can change. Anything else goes to a helper with exact software
// arithmetic. Intel SDM vol. 1 §10.2.3, §11.5; WebAssembly rounds to nearest even and never flushes denormals.
import { MXCSR, VECTOR_SCRATCH } from '#shared/x86/cpu-state.js';
import type { Computation, Emitter, Operands, Value, ValueType } from '#shared/translate/emitter.js';
import { constSplat, readAligned, simdHelper } from './sse-operand.js';

/** Numbers that the helpers share: single or double, packed or scalar. */
export type Shape = 'ps' | 'pd' | 'ss' | 'sd';
export const SHAPE_NUMBER: Readonly<Record<Shape, number>> = { ps: 0, pd: 1, ss: 2, sd: 3 };

const MXCSR_PE = 0x20;
const MXCSR_PM = 0x1000;
const MXCSR_RC = 0x6000;
/** All exceptions masked, to nearest. */
const MXCSR_PLAIN_MASK = 0x7f80;
const MXCSR_PLAIN = 0x1f80;

const SMALLEST_NORMAL = { 32: 0x00800000n, 64: 0x0010000000000000n };
const INFINITY = { 32: 0x7f800000n, 64: 0x7ff0000000000000n };

/** Arithmetic on one shape. Values are f32, f64 or v128; masks are i32 (0 or 1) or v128. */
export class Lanes<E extends Computation = Emitter> {
  readonly e: E;
  readonly shape: Shape;
  readonly bits: 32 | 64;
  readonly packed: boolean;
  readonly #prefix: string;

  constructor(e: E, shape: Shape) {
    this.e = e;
    this.shape = shape;
    this.bits = shape === 'ps' || shape === 'ss' ? 32 : 64;
    this.packed = shape === 'ps' || shape === 'pd';
    this.#prefix = this.packed ? (this.bits === 32 ? 'f32x4' : 'f64x2') : `f${this.bits}`;
  }

  f(name: string, ...operands: Value[]): Value {
    return this.e.op(`${this.#prefix}.${name}`, operands);
  }

  /** Every lane holds the pattern. */
  constant(pattern: bigint): Value {
    if (this.packed) return constSplat(this.e, this.bits, pattern);
    return this.fromBits(
      this.bits === 64 ? this.e.i64(pattern) : this.e.i32(Number(BigInt.asIntN(32, pattern))),
    );
  }

  /** A scalar's bits (i32, i64) as a number, and back; vectors are both. */
  fromBits(raw: Value): Value {
    if (this.packed) return raw;
    return this.e.op(this.bits === 32 ? 'f32.reinterpret_i32' : 'f64.reinterpret_i64', [raw]);
  }

  toBits(value: Value): Value {
    if (this.packed) return value;
    return this.e.op(this.bits === 32 ? 'i32.reinterpret_f32' : 'i64.reinterpret_f64', [value]);
  }

  and(a: Value, b: Value): Value {
    return this.packed ? this.e.op('v128.and', [a, b]) : this.e.and(a, b);
  }

  or(a: Value, b: Value): Value {
    return this.packed ? this.e.op('v128.or', [a, b]) : this.e.or(a, b);
  }

  /** i32: the mask holds in every lane. */
  all(mask: Value): Value {
    return this.packed ? this.e.op(this.bits === 32 ? 'i32x4.all_true' : 'i64x2.all_true', [mask]) : mask;
  }

  isZero(a: Value): Value {
    return this.f('eq', a, this.constant(0n));
  }

  /** Zero, normal or infinite: neither NaN nor denormal. */
  isPlain(a: Value): Value {
    return this.or(this.f('ge', this.f('abs', a), this.constant(SMALLEST_NORMAL[this.bits])), this.isZero(a));
  }

  /** Surely neither overflowed nor tiny: finite and above the smallest normal number. */
  isSafeResult(r: Value): Value {
    const size = this.f('abs', r);
    return this.and(
      this.f('gt', size, this.constant(SMALLEST_NORMAL[this.bits])),
      this.f('lt', size, this.constant(INFINITY[this.bits])),
    );
  }

  /**
   * i32, not 0: every operand is a normal number, and so is the result, well away from underflow and overflow. Integer tests of the exponents:
   * cheaper than comparisons of floating-point numbers, but zeros fail them.
   */
  areNormal(operands: readonly Value[], result: Value): Value {
    return this.packed ? this.#areNormalLanes(operands, result) : this.#isNormalScalar(operands, result);
  }

  #isNormalScalar(operands: readonly Value[], result: Value): Value {
    const { e } = this;
    const lowest = this.bits === 64 ? 0x0010_0000 : 0x0080_0000;
    const infinite = this.bits === 64 ? 0x7ff0_0000 : 0x7f80_0000;
    const size = (number: Value): Value => {
      const raw = this.toBits(number);
      return e.and(raw.type === 'i64' ? e.wrap(e.shrU(raw, e.i64(32))) : raw, e.i32(0x7fff_ffff));
    };
    const resultSize = size(result);
    // The sign tells: negative where some difference is.
    let outside = e.or(e.sub(resultSize, e.i32(2 * lowest)), e.sub(e.i32(infinite - 1), resultSize));
    for (const operand of operands) outside = e.or(outside, e.sub(size(operand), e.i32(lowest)));
    return e.geS(outside, e.i32(0));
  }

  #areNormalLanes(operands: readonly Value[], result: Value): Value {
    const { e } = this;
    const shape = this.bits === 64 ? 'i64x2' : 'i32x4';
    const exponentBits = this.bits === 64 ? 11 : 8;
    /** The exponent field without its `dropped` lowest bits. */
    const exponent = (raw: Value, dropped: number): Value => {
      const unsigned = e.op(`${shape}.shl`, [raw, e.i32(1)]);
      return e.op(`${shape}.shr_u`, [unsigned, e.i32(this.bits - exponentBits + dropped)]);
    };
    let least = exponent(result, 1);
    for (const operand of operands) least = e.op('i32x4.min_u', [least, exponent(operand, 0)]);
    const difference = this.f('sub', result, result);
    const finite = this.f('eq', difference, difference);
    return this.all(e.op('v128.and', [least, finite]));
  }

  /** i32, of scalars: neither NaN nor denormal, and not infinities whose sum is a NaN. */
  areOrdered(a: Value, b: Value): Value {
    const { e } = this;
    const one = this.bits === 64 ? e.i64(1) : e.i32(1);
    const denormals = 2n * SMALLEST_NORMAL[this.bits] - 1n;
    const limit = this.bits === 64 ? e.i64(denormals) : e.i32(Number(denormals));
    // Without the sign, and zero moved above everything.
    const normal = (number: Value): Value => e.geU(e.sub(e.shl(this.toBits(number), one), one), limit);
    const sum = this.f('add', a, b);
    return e.and(e.and(normal(a), normal(b)), this.f('eq', sum, sum));
  }

  /** Source operand 1, alignment checked for vectors. */
  readSource(this: Lanes, op: Operands): Value {
    return this.packed ? readAligned(this.e, op, 1) : op.readScalar(1, this.bits);
  }

  readDestination(op: Operands): Value {
    return this.packed ? op.read(0) : op.readScalar(0, this.bits);
  }

  writeDestination(op: Operands, value: Value): void {
    if (this.packed) op.write(0, value);
    else op.writeScalar(0, this.bits, value);
  }

  /** The result of a helper that works on VECTOR_SCRATCH. */
  viaHelper(this: Lanes, name: string, a: Value, b: Value, args: readonly number[]): Value {
    const { e } = this;
    this.putScratch(0, a);
    this.putScratch(16, b);
    simdHelper(
      e,
      name,
      args.map((argument) => e.i32(argument)),
    );
    return this.getScratch();
  }

  getScratch(offset = 0): Value {
    return this.e.getState(this.type, VECTOR_SCRATCH + offset);
  }

  putScratch(offset: number, value: Value): void {
    this.e.setState(value.type, VECTOR_SCRATCH + offset, value);
  }

  /** The type of its values. */
  get type(): 'f32' | 'f64' | 'v128' {
    return this.packed ? 'v128' : this.bits === 32 ? 'f32' : 'f64';
  }
}

/** What a test of exactness may answer besides 0 (inexact) and 1 (exact): anything above. */
export const UNKNOWN = 2;

/**
 * `quick` where the result is `sure`, MXCSR rounds to nearest and masks everything; else `slow`. Sets PE if `exactness` says 0; it is asked
 * only while PE is clear.
 */
export function quickOr(
  e: Computation,
  sure: Value,
  exactness: () => Value,
  type: ValueType,
  quick: () => Value,
  slow: () => Value,
): Value {
  const mxcsr = e.getState('i32', MXCSR);
  const plain = e.eq(e.and(mxcsr, e.i32(MXCSR_PLAIN_MASK)), e.i32(MXCSR_PLAIN));
  const exact = e.unlessRare(e.and(mxcsr, e.i32(MXCSR_PE)), 'i32', () => e.i32(1), exactness);
  return e.unlessRare(
    e.and(e.and(sure, plain), e.ltU(exact, e.i32(UNKNOWN))),
    type,
    () => {
      noteInexact(e, exact);
      return quick();
    },
    slow,
  );
}

/** i32 0 or 1: MXCSR rounds to nearest, masks everything, and has PE set already: an inexact result changes nothing. */
export function inexactIsSilent(e: Computation): Value {
  const mxcsr = e.getState('i32', MXCSR);
  return e.eq(e.and(mxcsr, e.i32(MXCSR_PLAIN_MASK | MXCSR_PE)), e.i32(MXCSR_PLAIN | MXCSR_PE));
}

/** i32, not 0: an inexact result only sets PE. */
export function inexactIsMasked(e: Computation): Value {
  return e.and(e.getState('i32', MXCSR), e.i32(MXCSR_PM));
}

/** i32 0 or 1: PE is masked and set already. `nearest`: and the rounding is to nearest. */
export function truncationIsSilent(e: Computation, nearest: boolean): Value {
  const mask = MXCSR_PM | MXCSR_PE | (nearest ? MXCSR_RC : 0);
  return e.eq(e.and(e.getState('i32', MXCSR), e.i32(mask)), e.i32(MXCSR_PM | MXCSR_PE));
}

/** Sets PE unless `exact`. */
export function noteInexact(e: Computation, exact: Value): void {
  e.ifRare(e.eqz(exact), () => e.setState('i32', MXCSR, e.or(e.getState('i32', MXCSR), e.i32(MXCSR_PE))));
}

/** i32: RC, 0–3. */
export function roundingControl(e: Computation): Value {
  return e.and(e.shrU(e.getState('i32', MXCSR), e.i32(13)), e.i32(3));
}
