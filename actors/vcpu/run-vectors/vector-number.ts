// Numbers and bytes as vectors write them.

/** What is wrong with an input line. */
export class VectorError extends Error {}

/** An integer in any spelling. */
export function parseInteger(value: unknown, what: string): bigint {
  if (typeof value === 'number' && Number.isInteger(value)) return BigInt(value);
  if (typeof value === 'string' && /^-?(0x[0-9a-f]+|\d+)$/i.test(value.trim())) {
    const text = value.trim();
    return text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
  }
  throw new VectorError(`${what} is not a number: ${JSON.stringify(value)}`);
}

export function parseHex(value: unknown, what: string): Uint8Array {
  if (typeof value === 'string') {
    const digits = value.replace(/^0x/i, '').replace(/[\s_]/g, '');
    if (/^([0-9a-f]{2})*$/i.test(digits)) return Uint8Array.from(Buffer.from(digits, 'hex'));
  }
  throw new VectorError(`${what} is not a string of hex bytes: ${JSON.stringify(value)}`);
}
