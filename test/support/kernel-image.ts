// Small kernel images made up for loader tests: a bzImage around any payload, an ELF file of given segments and
// notes, a flat multiboot image. Every field is set as a real build sets it, so a test changes only what it is about.

/** A segment of {@link buildElf}. */
export interface SegmentSpec {
  readonly type?: number;
  readonly flags?: number;
  readonly vaddr?: bigint;
  readonly paddr: number;
  readonly data: Uint8Array;
  readonly memoryBytes?: number;
}

export interface ElfSpec {
  readonly bits?: 32 | 64;
  readonly machine?: number;
  readonly type?: number;
  readonly entry: bigint;
  readonly segments: readonly SegmentSpec[];
}

const DATA_START = 0x400;

export function buildElf(spec: ElfSpec): Uint8Array {
  const bits = spec.bits ?? 64;
  const wide = bits === 64;
  const total = DATA_START + spec.segments.reduce((sum, segment) => sum + segment.data.length, 0);
  const image = new Uint8Array(total);
  const view = new DataView(image.buffer);
  const word = (at: number, value: bigint): void =>
    wide ? view.setBigUint64(at, value, true) : view.setUint32(at, Number(value), true);
  image.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  view.setUint16(16, spec.type ?? 2, true);
  view.setUint16(18, spec.machine ?? (wide ? 62 : 3), true);
  word(24, spec.entry);
  const headerBytes = wide ? 64 : 52;
  const entryBytes = wide ? 56 : 32;
  word(wide ? 32 : 28, BigInt(headerBytes));
  view.setUint16(wide ? 54 : 42, entryBytes, true);
  view.setUint16(wide ? 56 : 44, spec.segments.length, true);
  let dataAt = DATA_START;
  spec.segments.forEach((segment, index) => {
    const at = headerBytes + index * entryBytes;
    const vaddr = segment.vaddr ?? BigInt(segment.paddr);
    const memoryBytes = BigInt(segment.memoryBytes ?? segment.data.length);
    view.setUint32(at, segment.type ?? 1, true);
    view.setUint32(at + (wide ? 4 : 24), segment.flags ?? 7, true);
    const fields = [BigInt(dataAt), vaddr, BigInt(segment.paddr), BigInt(segment.data.length), memoryBytes];
    fields.forEach((field, i) => word(at + (wide ? 8 + i * 8 : 4 + i * 4), field));
    word(at + (wide ? 48 : 28), 4n);
    image.set(segment.data, dataAt);
    dataAt += segment.data.length;
  });
  return image;
}

/** An ELF note. */
export function buildNote(owner: string, type: number, descriptor: Uint8Array): Uint8Array {
  const name = new TextEncoder().encode(`${owner}\0`);
  const nameBytes = Math.ceil(name.length / 4) * 4;
  const note = new Uint8Array(12 + nameBytes + Math.ceil(descriptor.length / 4) * 4);
  new DataView(note.buffer).setUint32(0, name.length, true);
  new DataView(note.buffer).setUint32(4, descriptor.length, true);
  new DataView(note.buffer).setUint32(8, type, true);
  note.set(name, 12);
  note.set(descriptor, 12 + nameBytes);
  return note;
}

/** A kernel with a PVH note: `code` at `paddr`, entered at its start. */
export function buildPvhKernel(paddr: number, code: Uint8Array): Uint8Array {
  const descriptor = new Uint8Array(8);
  new DataView(descriptor.buffer).setUint32(0, paddr, true);
  const note = { type: 4, flags: 0, paddr: 0, data: buildNote('Xen', 18, descriptor) };
  const segment = {
    paddr,
    vaddr: 0xffff_ffff_8000_0000n + BigInt(paddr),
    data: code,
    memoryBytes: code.length + 0x800,
  };
  return buildElf({ entry: BigInt(paddr), segments: [segment, note] });
}

/** The multiboot header, and the address fields when given. */
export function multibootHeader(flags: number, addresses: readonly number[] = []): Uint8Array {
  const words = [0x1bad_b002, flags, -(0x1bad_b002 + flags) >>> 0, ...addresses];
  return new Uint8Array(Uint32Array.from(words).buffer);
}

export interface BzImageSpec {
  readonly payload: Uint8Array;
  readonly version?: number;
  readonly xloadflags?: number;
  readonly prefAddress?: number;
  readonly initSize?: number;
  readonly cmdlineSize?: number;
  readonly relocatable?: boolean;
}

const PAYLOAD_OFFSET = 0x400;

/** A bzImage of one setup sector beyond the boot sector; its 64-bit entry holds HLT. */
export function buildBzImage(spec: BzImageSpec): Uint8Array {
  const setupBytes = 2 * 512;
  const protectedBytes = Math.ceil((PAYLOAD_OFFSET + spec.payload.length) / 16) * 16;
  const image = new Uint8Array(setupBytes + protectedBytes);
  const view = new DataView(image.buffer);
  view.setUint8(0x1f1, 1);
  view.setUint32(0x1f4, protectedBytes / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint8(0x201, 0x268 - 0x202);
  image.set(new TextEncoder().encode('HdrS'), 0x202);
  view.setUint16(0x206, spec.version ?? 0x020f, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x22c, 0x7fff_ffff, true);
  view.setUint32(0x230, 0x20_0000, true);
  view.setUint8(0x234, spec.relocatable === false ? 0 : 1);
  view.setUint16(0x236, spec.xloadflags ?? 3, true);
  view.setUint32(0x238, spec.cmdlineSize ?? 2047, true);
  view.setUint32(0x248, PAYLOAD_OFFSET, true);
  view.setUint32(0x24c, spec.payload.length, true);
  view.setBigUint64(0x258, BigInt(spec.prefAddress ?? 0x40_0000), true);
  view.setUint32(0x260, spec.initSize ?? 0x10_0000, true);
  image[setupBytes + 0x200] = 0xf4;
  image.set(spec.payload, setupBytes + PAYLOAD_OFFSET);
  return image;
}

/** Appends the little-endian length, as Linux's build does to all formats but gzip. */
export function withLength(packed: Uint8Array, unpackedBytes: number): Uint8Array {
  const result = new Uint8Array(packed.length + 4);
  result.set(packed);
  new DataView(result.buffer).setUint32(packed.length, unpackedBytes, true);
  return result;
}
