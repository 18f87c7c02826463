// An assembler for the part of AML (ACPI 6.5 §20) that the DSDT needs: each function returns the bytes of one term,
// and terms nest. Names are given as in ASL: `\_SB.PCI0` or one to four characters, padded with `_`.
// Leaves out: fields other than CreateDWordField, loops, references, synchronization.

/** The bytes of a term. */
export type Aml = Uint8Array;

/** Argument and local objects of a method. */
export const ARG = [0x68, 0x69, 0x6a, 0x6b].map((opcode) => Uint8Array.of(opcode));

export function concat(parts: readonly Uint8Array[]): Aml {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** PkgLength before `body`, §20.2.4: it counts itself. */
function packageLength(bodyBytes: number): Aml {
  if (bodyBytes + 1 < 0x40) return Uint8Array.of(bodyBytes + 1);
  for (let extra = 1; extra <= 3; extra++) {
    const total = bodyBytes + 1 + extra;
    if (total >= 2 ** (4 + 8 * extra)) continue;
    const bytes = [(extra << 6) | (total & 0xf)];
    for (let i = 0; i < extra; i++) bytes.push((total >> (4 + 8 * i)) & 0xff);
    return Uint8Array.from(bytes);
  }
  throw new RangeError(`an AML term of ${bodyBytes} bytes is too long`);
}

function withLength(opcode: readonly number[], ...body: Aml[]): Aml {
  const content = concat(body);
  return concat([Uint8Array.from(opcode), packageLength(content.length), content]);
}

/** NameString, §20.2.2. */
export function nameString(path: string): Aml {
  const rooted = path.startsWith('\\');
  const segments = (rooted ? path.slice(1) : path).split('.').map((segment) => {
    if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment)) throw new RangeError(`${path} is not an ACPI name`);
    return segment.padEnd(4, '_');
  });
  const prefix = rooted ? [0x5c] : [];
  if (segments.length === 2) prefix.push(0x2e); // DualNamePrefix
  if (segments.length > 2) prefix.push(0x2f, segments.length); // MultiNamePrefix
  return concat([Uint8Array.from(prefix), new TextEncoder().encode(segments.join(''))]);
}

/** An integer in its shortest encoding. */
export function integer(value: number): Aml {
  if (value === 0 || value === 1) return Uint8Array.of(value); // ZeroOp, OneOp
  const [prefix, bytes] =
    value < 0x100 ? [0x0a, 1] : value < 0x1_0000 ? [0x0b, 2] : value < 2 ** 32 ? [0x0c, 4] : [0x0e, 8];
  return concat([Uint8Array.of(prefix), littleEndian(value, bytes)]);
}

export function littleEndian(value: number, bytes: number): Aml {
  const result = new Uint8Array(bytes);
  let rest = BigInt(value);
  for (let i = 0; i < bytes; i++, rest >>= 8n) result[i] = Number(rest & 0xffn);
  return result;
}

export function string(text: string): Aml {
  return concat([Uint8Array.of(0x0d), new TextEncoder().encode(`${text}\0`)]);
}

export function buffer(bytes: Uint8Array): Aml {
  return withLength([0x11], integer(bytes.length), bytes);
}

/** Package, §20.2.5.4 (`package` is a reserved word). */
export function packageOf(...elements: Aml[]): Aml {
  return withLength([0x12], Uint8Array.of(elements.length), ...elements);
}

/** A compressed EISA id such as PNP0501, §19.6.38. */
export function eisaId(id: string): Aml {
  const match = /^([A-Z]{3})([0-9A-F]{4})$/.exec(id);
  if (match === null) throw new RangeError(`${id} is not an EISA id`);
  const letters = [...match[1]!].map((letter) => letter.charCodeAt(0) - 0x40);
  const vendor = (letters[0]! << 10) | (letters[1]! << 5) | letters[2]!;
  const product = Number.parseInt(match[2]!, 16);
  return Uint8Array.of(0x0c, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff);
}

/** A UUID as ToUUID lays it out: the first three groups little endian. */
export function uuid(text: string): Aml {
  const hex = text.replaceAll('-', '');
  const order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
  return buffer(Uint8Array.from(order, (index) => Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16)));
}

export function name(path: string, value: Aml): Aml {
  return concat([Uint8Array.of(0x08), nameString(path), value]);
}

export function scope(path: string, ...terms: Aml[]): Aml {
  return withLength([0x10], nameString(path), ...terms);
}

export function device(path: string, ...terms: Aml[]): Aml {
  return withLength([0x5b, 0x82], nameString(path), ...terms);
}

/** A method; serialized, so that it may create named objects. */
export function method(path: string, argumentCount: number, ...terms: Aml[]): Aml {
  return withLength([0x14], nameString(path), Uint8Array.of(argumentCount | 0x08), ...terms);
}

export function returnValue(value: Aml): Aml {
  return concat([Uint8Array.of(0xa4), value]);
}

export function ifThen(predicate: Aml, ...terms: Aml[]): Aml {
  return withLength([0xa0], predicate, ...terms);
}

export function otherwise(...terms: Aml[]): Aml {
  return withLength([0xa1], ...terms);
}

export function equal(left: Aml, right: Aml): Aml {
  return concat([Uint8Array.of(0x93), left, right]);
}

/** And (left, right, target). */
export function and(left: Aml, right: Aml, target: Aml): Aml {
  return concat([Uint8Array.of(0x7b), left, right, target]);
}

/** Or (left, right, target). */
export function or(left: Aml, right: Aml, target: Aml): Aml {
  return concat([Uint8Array.of(0x7d), left, right, target]);
}

export function createDWordField(source: Aml, byteIndex: number, field: string): Aml {
  return concat([Uint8Array.of(0x8a), source, integer(byteIndex), nameString(field)]);
}
