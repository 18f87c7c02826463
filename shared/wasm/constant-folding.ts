// Integer operators on constants. A 64-bit constant is two words, low first.

const word64 = (low: number, high: number): bigint => (BigInt(high) << 32n) | BigInt(low >>> 0);

/** What the 32-bit operator of opcode `op` gives; undefined where it traps or is not folded. */
export function fold32(op: number, a: number, b: number): number | undefined {
  switch (op) {
    case 0x46: return +(a === b);
    case 0x47: return +(a !== b);
    case 0x48: return +(a < b);
    case 0x49: return +(a >>> 0 < b >>> 0);
    case 0x4a: return +(a > b);
    case 0x4b: return +(a >>> 0 > b >>> 0);
    case 0x4c: return +(a <= b);
    case 0x4d: return +(a >>> 0 <= b >>> 0);
    case 0x4e: return +(a >= b);
    case 0x4f: return +(a >>> 0 >= b >>> 0);
    case 0x6a: return (a + b) | 0;
    case 0x6b: return (a - b) | 0;
    case 0x6c: return Math.imul(a, b);
    case 0x71: return a & b;
    case 0x72: return a | b;
    case 0x73: return a ^ b;
    case 0x74: return a << b;
    case 0x75: return a >> b;
    case 0x76: return (a >>> b) | 0;
    case 0x77: return (a << b) | (a >>> -b & -((b & 31) !== 0));
    case 0x78: return (a >>> b) | (a << -b & -((b & 31) !== 0));
    default: return undefined;
  }
} // prettier-ignore

/** The same for 64 bits, by the 32-bit operator's opcode. A comparison gives 0n or 1n. */
export function fold64(op: number, aLow: number, aHigh: number, bLow: number, bHigh: number): bigint | undefined {
  const a = word64(aLow, aHigh);
  const b = word64(bLow, bHigh);
  const ua = BigInt.asUintN(64, a);
  const ub = BigInt.asUintN(64, b);
  const count = ub & 63n;
  switch (op) {
    case 0x46: return BigInt(a === b);
    case 0x47: return BigInt(a !== b);
    case 0x48: return BigInt(a < b);
    case 0x49: return BigInt(ua < ub);
    case 0x4a: return BigInt(a > b);
    case 0x4b: return BigInt(ua > ub);
    case 0x4c: return BigInt(a <= b);
    case 0x4d: return BigInt(ua <= ub);
    case 0x4e: return BigInt(a >= b);
    case 0x4f: return BigInt(ua >= ub);
    case 0x6a: return a + b;
    case 0x6b: return a - b;
    case 0x6c: return a * b;
    case 0x71: return a & b;
    case 0x72: return a | b;
    case 0x73: return a ^ b;
    case 0x74: return a << count;
    case 0x75: return a >> count;
    case 0x76: return ua >> count;
    case 0x77: return (ua << count) | (ua >> (64n - count));
    case 0x78: return (ua >> count) | (ua << (64n - count));
    default: return undefined;
  }
} // prettier-ignore

export const lowWord = (value: bigint): number => Number(BigInt.asIntN(32, value));
export const highWord = (value: bigint): number => Number(BigInt.asIntN(32, value >> 32n));
