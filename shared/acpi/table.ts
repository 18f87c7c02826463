// A table under construction: bytes written at the offsets that the specification gives, then header and checksum.
// ACPI 6.5 §5.2.6 (system description table header).

const HEADER_BYTES = 36;
const OEM_ID = 'TROUPE';
const OEM_TABLE_ID = 'TROUPEVM';
const CREATOR_ID = 'TRPE';

export class TableWriter {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(lengthBytes: number) {
    this.bytes = new Uint8Array(lengthBytes);
    this.#view = new DataView(this.bytes.buffer);
  }

  u8(offset: number, value: number): this {
    this.#view.setUint8(offset, value);
    return this;
  }

  u16(offset: number, value: number): this {
    this.#view.setUint16(offset, value, true);
    return this;
  }

  u32(offset: number, value: number): this {
    this.#view.setUint32(offset, value, true);
    return this;
  }

  u64(offset: number, value: number): this {
    this.#view.setBigUint64(offset, BigInt(value), true);
    return this;
  }

  text(offset: number, value: string): this {
    this.bytes.set(new TextEncoder().encode(value), offset);
    return this;
  }

  /** A Generic Address Structure, §5.2.3.2. `accessSize`: 1 byte … 4 qword. */
  address(
    offset: number,
    space: 'memory' | 'io',
    bitWidth: number,
    accessSize: number,
    address: number,
  ): this {
    this.u8(offset, space === 'io' ? 1 : 0);
    this.u8(offset + 1, bitWidth)
      .u8(offset + 2, 0)
      .u8(offset + 3, accessSize);
    return this.u64(offset + 4, address);
  }

  /** Makes the byte at `offset` such that `length` bytes from `start` sum to 0. */
  checksum(offset: number, start: number, length: number): this {
    this.bytes[offset] = 0;
    let sum = 0;
    for (let i = start; i < start + length; i++) sum += this.bytes[i]!;
    this.bytes[offset] = -sum & 0xff;
    return this;
  }
}

/** Puts the standard header before `body` and closes it with the checksum. */
export function buildTable(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const table = new TableWriter(HEADER_BYTES + body.length);
  table.text(0, signature).u32(4, table.bytes.length).u8(8, revision);
  table.text(10, OEM_ID).text(16, OEM_TABLE_ID).u32(24, 1).text(28, CREATOR_ID).u32(32, 1);
  table.bytes.set(body, HEADER_BYTES);
  return table.checksum(9, 0, table.bytes.length).bytes;
}

/** A body that is written at offsets from the table's start, as the specification counts them. */
export function bodyWriter(tableBytes: number): TableWriter {
  return new TableWriter(tableBytes);
}

/** Closes a table written by {@link bodyWriter}. */
export function finishTable(signature: string, revision: number, writer: TableWriter): Uint8Array {
  return buildTable(signature, revision, writer.bytes.subarray(HEADER_BYTES));
}

export { HEADER_BYTES, OEM_ID };
