// The binary floating-point formats of x86 (single, double, double extended) as bit patterns in BigInt: fields,
// classes and NaN rules. Intel SDM vol. 1 §4.2.2, §4.8, tables 4-3 and 4-7. Exact and simple; speed is elsewhere
// (extended.ts, and wasm's own arithmetic where no flag can change).

/** Exception flags, at the same bits in MXCSR and the x87 status word; masks are 7 bits above in MXCSR, at the same bits in FCW. */
export const IE = 1;
export const DE = 2;
export const ZE = 4;
export const OE = 8;
export const UE = 16;
export const PE = 32;

export interface Format {
  /** Total width. */
  readonly bits: number;
  /** Significand bits, the leading one included. */
  readonly precision: number;
  /** Largest and smallest exponent of normal numbers. */
  readonly emax: number;
  readonly emin: number;
  /** The leading significand bit is stored. */
  readonly explicit: boolean;
}

export const F32: Format = { bits: 32, precision: 24, emax: 127, emin: -126, explicit: false };
export const F64: Format = { bits: 64, precision: 53, emax: 1023, emin: -1022, explicit: false };
export const F80: Format = { bits: 80, precision: 64, emax: 16383, emin: -16382, explicit: true };

export type FloatKind = 'zero' | 'finite' | 'infinity' | 'qnan' | 'snan' | 'unsupported';

/** A taken-apart number: (−1)^sign × significand × 2^exponent. NaNs keep their stored significand field. */
export interface Unpacked {
  readonly kind: FloatKind;
  readonly sign: 0 | 1;
  readonly exponent: number;
  readonly significand: bigint;
  readonly denormal: boolean;
}

/** How many bits of the pattern hold the significand: one more than hidden-bit formats' fraction in the extended format. */
export function fieldBits(format: Format): number {
  return format.explicit ? format.precision : format.precision - 1;
}

function exponentMask(format: Format): number {
  return format.emax * 2 + 1;
}

/** The bit that tells a quiet NaN. */
export function quietBit(format: Format): bigint {
  return 1n << BigInt(format.precision - 2);
}

export function unpack(format: Format, pattern: bigint): Unpacked {
  const field = BigInt(fieldBits(format));
  const stored = pattern & ((1n << field) - 1n);
  const biased = Number((pattern >> field) & BigInt(exponentMask(format)));
  const sign = Number((pattern >> BigInt(format.bits - 1)) & 1n) as 0 | 1;
  const integer = 1n << BigInt(format.precision - 1);
  const hasInteger = format.explicit ? (stored & integer) !== 0n : biased !== 0;
  const fraction = stored & (integer - 1n);
  const base = { sign, exponent: 0, significand: stored, denormal: false };
  if (biased === exponentMask(format)) {
    if (!hasInteger) return { ...base, kind: 'unsupported' };
    if (fraction === 0n) return { ...base, kind: 'infinity' };
    return { ...base, kind: (fraction & quietBit(format)) === 0n ? 'snan' : 'qnan' };
  }
  if (biased === 0) {
    if (stored === 0n) return { ...base, kind: 'zero' };
    return {
      kind: 'finite',
      sign,
      exponent: format.emin - format.precision + 1,
      significand: stored,
      denormal: true,
    };
  }
  if (!hasInteger) return { ...base, kind: 'unsupported' };
  const significand = format.explicit ? stored : stored | integer;
  return {
    kind: 'finite',
    sign,
    exponent: biased - format.emax - format.precision + 1,
    significand,
    denormal: false,
  };
}

/** The pattern of a biased exponent and a significand field (with the leading bit where it is stored). */
export function pack(format: Format, sign: number, biased: number, field: bigint): bigint {
  const width = BigInt(fieldBits(format));
  return (
    (BigInt(sign) << BigInt(format.bits - 1)) | (BigInt(biased) << width) | (field & ((1n << width) - 1n))
  );
}

export function infinity(format: Format, sign: number): bigint {
  return pack(format, sign, exponentMask(format), 1n << BigInt(format.precision - 1));
}

export function zero(format: Format, sign: number): bigint {
  return pack(format, sign, 0, 0n);
}

/** The default NaN ("real indefinite"): negative, quiet, no payload. */
export function defaultNan(format: Format): bigint {
  return pack(format, 1, exponentMask(format), 3n << BigInt(format.precision - 2));
}

export function largestFinite(format: Format, sign: number): bigint {
  return pack(format, sign, exponentMask(format) - 1, (1n << BigInt(format.precision)) - 1n);
}

export function isNan(a: Unpacked): boolean {
  return a.kind === 'qnan' || a.kind === 'snan';
}

/** A NaN made quiet, moved from one format to another: the payload's upper bits stay. */
export function quietNan(from: Format, to: Format, nan: Unpacked): bigint {
  const fraction = (nan.significand & ((1n << BigInt(from.precision - 1)) - 1n)) | quietBit(from);
  const shift = to.precision - from.precision;
  const moved = shift >= 0 ? fraction << BigInt(shift) : fraction >> BigInt(-shift);
  return pack(to, nan.sign, exponentMask(to), moved | (1n << BigInt(to.precision - 1)));
}

const SCRATCH = new DataView(new ArrayBuffer(8));
/** Integers below 2^this have a finite double near them. */
const DOUBLE_BITS = 1023n;

/** Number of significant bits of a non-negative integer. */
export function bitLength(value: bigint): number {
  if (value === 0n) return 0;
  if (value >> DOUBLE_BITS === 0n) {
    // The double nearest to it may have been rounded up to the next power of two.
    SCRATCH.setFloat64(0, Number(value));
    const length = (SCRATCH.getUint16(0) >> 4) - 1022;
    return value >> BigInt(length - 1) === 0n ? length - 1 : length;
  }
  const digits = value.toString(16);
  return digits.length * 4 - Math.clz32(parseInt(digits[0]!, 16)) + 28;
}
