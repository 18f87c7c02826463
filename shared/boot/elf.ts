// ELF executables as kernels are (System V ABI gABI 4.1; ELF32 and ELF64, little endian): program headers, loading
// by physical address, notes. Leaves out sections, relocations, dynamic linking and big endian.
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { badKernel, ImageReader, tooLittleMemory } from './image-reader.js';

export const ELF_386 = 3; // EM_386
export const ELF_X86_64 = 62; // EM_X86_64
const ELF_MAGIC = 0x464c_457f;
const ELFCLASS32 = 1;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const ET_DYN = 3;
const PT_LOAD = 1;
const PT_NOTE = 4;
const PF_X = 1;
const MAX_PROGRAM_HEADERS = 256;

/** One program header with its bytes in the file. */
export interface ElfSegment {
  readonly type: number;
  readonly flags: number;
  readonly virtualAddress: bigint;
  readonly physicalAddress: number;
  readonly memoryBytes: number;
  readonly alignment: number;
  readonly data: Uint8Array;
}

/** An executable. `entry` is physical when a segment maps it, else what e_entry says (low 53 bits). */
export interface Elf {
  readonly bits: 32 | 64;
  readonly machine: number;
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
}

/** Where a loaded kernel stands: [low, high). */
export interface LoadedRange {
  readonly low: number;
  readonly high: number;
}

export function isElf(image: Uint8Array): boolean {
  return image.length >= 4 && new ImageReader(image).u32(0, 'magic') === ELF_MAGIC;
}

/** Throws `bad-kernel` when this is no loadable x86 executable. */
export function parseElf(image: Uint8Array): Elf {
  const reader = new ImageReader(image);
  if (reader.u32(0, 'ELF magic') !== ELF_MAGIC) throw badKernel('it is not an ELF file');
  const elfClass = reader.u8(4, 'ELF class');
  if (elfClass !== ELFCLASS32 && elfClass !== ELFCLASS64) throw badKernel(`its ELF class is ${elfClass}`);
  if (reader.u8(5, 'ELF byte order') !== ELFDATA2LSB) throw badKernel('it is a big-endian ELF file');
  const type = reader.u16(16, 'ELF type');
  if (type !== ET_EXEC && type !== ET_DYN) throw badKernel('it is an ELF file but not an executable');
  const machine = reader.u16(18, 'ELF machine');
  if (machine !== ELF_386 && machine !== ELF_X86_64)
    throw badKernel(`its ELF machine (${machine}) is not x86`);
  const bits = elfClass === ELFCLASS64 ? 64 : 32;
  const segments = readSegments(reader, bits);
  if (!segments.some((segment) => segment.type === PT_LOAD))
    throw badKernel('its ELF file has nothing to load');
  const rawEntry = bits === 64 ? reader.u64(24, 'ELF entry') : BigInt(reader.u32(24, 'ELF entry'));
  return { bits, machine, entry: physicalEntry(rawEntry, segments), segments };
}

function readSegments(reader: ImageReader, bits: 32 | 64): ElfSegment[] {
  const wide = bits === 64;
  const tableOffset = wide ? reader.size64(32, 'e_phoff') : reader.u32(28, 'e_phoff');
  const entryBytes = reader.u16(wide ? 54 : 42, 'e_phentsize');
  const count = reader.u16(wide ? 56 : 44, 'e_phnum');
  if (entryBytes < (wide ? 56 : 32) || count > MAX_PROGRAM_HEADERS) {
    throw badKernel('its ELF program headers are malformed');
  }
  const segments: ElfSegment[] = [];
  for (let index = 0; index < count; index++) {
    const at = tableOffset + index * entryBytes;
    segments.push(wide ? readSegment64(reader, at) : readSegment32(reader, at));
  }
  return segments;
}

function readSegment64(reader: ImageReader, at: number): ElfSegment {
  const type = reader.u32(at, 'program header');
  const used = type === PT_LOAD || type === PT_NOTE;
  const fileOffset = used ? reader.size64(at + 8, 'p_offset') : 0;
  const fileBytes = used ? reader.size64(at + 32, 'p_filesz') : 0;
  return checkSegment({
    type,
    flags: reader.u32(at + 4, 'p_flags'),
    virtualAddress: reader.u64(at + 16, 'p_vaddr'),
    physicalAddress: used ? reader.size64(at + 24, 'p_paddr') : 0,
    memoryBytes: used ? reader.size64(at + 40, 'p_memsz') : 0,
    alignment: used ? reader.size64(at + 48, 'p_align') : 0,
    data: reader.slice(fileOffset, fileBytes, 'segment'),
  });
}

function readSegment32(reader: ImageReader, at: number): ElfSegment {
  const type = reader.u32(at, 'program header');
  const used = type === PT_LOAD || type === PT_NOTE;
  const fileOffset = used ? reader.u32(at + 4, 'p_offset') : 0;
  const fileBytes = used ? reader.u32(at + 16, 'p_filesz') : 0;
  return checkSegment({
    type,
    flags: reader.u32(at + 24, 'p_flags'),
    virtualAddress: BigInt(reader.u32(at + 8, 'p_vaddr')),
    physicalAddress: reader.u32(at + 12, 'p_paddr'),
    memoryBytes: reader.u32(at + 20, 'p_memsz'),
    alignment: reader.u32(at + 28, 'p_align'),
    data: reader.slice(fileOffset, fileBytes, 'segment'),
  });
}

function checkSegment(segment: ElfSegment): ElfSegment {
  if (segment.type !== PT_LOAD) return segment;
  if (segment.data.length > segment.memoryBytes)
    throw badKernel('an ELF segment is larger in the file than in memory');
  if (segment.physicalAddress + segment.memoryBytes > Number.MAX_SAFE_INTEGER) {
    throw badKernel('an ELF segment ends beyond any memory');
  }
  return segment;
}

/** e_entry is virtual in some kernels: translated by the executable segment that holds it. */
function physicalEntry(rawEntry: bigint, segments: readonly ElfSegment[]): number {
  for (const segment of segments) {
    if (segment.type !== PT_LOAD || (segment.flags & PF_X) === 0) continue;
    const offset = rawEntry - segment.virtualAddress;
    if (offset >= 0n && offset < BigInt(segment.data.length)) return segment.physicalAddress + Number(offset);
  }
  return Number(BigInt.asUintN(53, rawEntry));
}

/** Copies the loadable segments to their physical addresses and clears their tails. Throws `too-little-memory`. */
export function loadElf(memory: GuestMemory, elf: Elf): LoadedRange {
  const loadable = elf.segments.filter((segment) => segment.type === PT_LOAD && segment.memoryBytes > 0);
  let low = Number.POSITIVE_INFINITY;
  let high = 0;
  for (const segment of loadable) {
    low = Math.min(low, segment.physicalAddress);
    high = Math.max(high, segment.physicalAddress + segment.memoryBytes);
  }
  if (loadable.length === 0) throw badKernel('its ELF file has nothing to load');
  if (high > memory.layout.lowBytes) {
    if (high > 0xc000_0000) throw badKernel('it is linked to run above 3 GiB of physical memory');
    throw tooLittleMemory(high, 'this kernel');
  }
  for (const { physicalAddress, memoryBytes, data } of loadable) {
    memory.copyIn(physicalAddress, data);
    memory.fill(physicalAddress + data.length, memoryBytes - data.length, 0);
  }
  return { low, high };
}

/** The descriptor of the first note of this owner and type, or undefined. Malformed notes end the search. */
export function findElfNote(elf: Elf, owner: string, noteType: number): Uint8Array | undefined {
  for (const segment of elf.segments) {
    if (segment.type !== PT_NOTE) continue;
    const found = searchNotes(segment, owner, noteType);
    if (found !== undefined) return found;
  }
  return undefined;
}

function searchNotes(segment: ElfSegment, owner: string, noteType: number): Uint8Array | undefined {
  const { data } = segment;
  const reader = new ImageReader(data);
  const pad = segment.alignment === 8 ? 8 : 4;
  let at = 0;
  while (at + 12 <= data.length) {
    const nameBytes = reader.u32(at, 'note');
    const descBytes = reader.u32(at + 4, 'note');
    const type = reader.u32(at + 8, 'note');
    const descAt = at + Math.ceil((12 + nameBytes) / pad) * pad;
    if (descAt + descBytes > data.length) return undefined;
    const name = String.fromCharCode(...data.subarray(at + 12, at + 12 + Math.min(nameBytes, 64)));
    if (type === noteType && name === `${owner}\0`) return data.subarray(descAt, descAt + descBytes);
    at = descAt + Math.ceil(descBytes / pad) * pad;
  }
  return undefined;
}
