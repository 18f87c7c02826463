// Multiboot 1 (specification 0.6.96): finds and checks the header, loads the ELF segments or, with flag bit 16, the
// addresses that the header itself names, and hands over in 32-bit protected mode with EBX at the boot information.
// Command line, module and their strings go right after the kernel, as QEMU places them: small kernels rely on it.
// Also takes an ELF64 file, entered in 32-bit mode all the same. Leaves out video modes, drives, APM and symbols.
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import type { E820Entry } from './e820.js';
import { isElf, loadElf, parseElf } from './elf.js';
import { badKernel, ImageReader, tooLittleMemory } from './image-reader.js';
import { enterProtected32, type InitialCpuState } from './initial-state.js';
import { writeRealModeVectors } from './real-mode-vectors.js';
import { BOOT_GDT, CONVENTIONAL_END, MULTIBOOT_INFO, MULTIBOOT_MEMORY_MAP, ONE_MIB } from './low-memory.js';

const MULTIBOOT_SEARCH = 8192;
const MULTIBOOT_HEADER_MAGIC = 0x1bad_b002;
const MULTIBOOT_BOOTLOADER_MAGIC = 0x2bad_b002;
/** Header flags that must be understood: page alignment, memory information, video mode (ignored). */
const MULTIBOOT_KNOWN_REQUIREMENTS = 0x7;
const MULTIBOOT_AOUT_KLUDGE = 0x1_0000;

const MULTIBOOT_INFO_MEMORY = 1 << 0;
const MULTIBOOT_INFO_CMDLINE = 1 << 2;
const MULTIBOOT_INFO_MODS = 1 << 3;
const MULTIBOOT_INFO_MEM_MAP = 1 << 6;
const MULTIBOOT_INFO_BOOT_LOADER_NAME = 1 << 9;
const MULTIBOOT_INFO_BYTES = 120;
/** Of the boot information and of the module list, from the memory map. */
const INFO_OFFSET = MULTIBOOT_INFO - MULTIBOOT_MEMORY_MAP;
const MODULE_LIST_OFFSET = INFO_OFFSET + 0x80;
const MEMORY_MAP_ENTRY_BYTES = 24;
const BOOT_GDT_BYTES = 0x100;
/** From the memory map to the end of the module list. */
const STRUCTURES_BYTES = 0x1000;
const PAGE = 0x1000;

/** A found header: its offset in the file and its flags. */
export interface MultibootHeader {
  readonly offset: number;
  readonly flags: number;
}

/** What goes with a multiboot kernel. */
export interface MultibootOptions {
  readonly kernelName: string;
  readonly append: string;
  readonly initrd?: Uint8Array | undefined;
  /** The module's string: the initrd's file name and what follows it. */
  readonly initrdString?: string | undefined;
  readonly e820: readonly E820Entry[];
}

/** The header in the first 8 KiB, 4-byte aligned, with a right checksum; undefined when there is none. */
export function findMultibootHeader(image: Uint8Array): MultibootHeader | undefined {
  const end = Math.min(image.length, MULTIBOOT_SEARCH);
  const reader = new ImageReader(image);
  for (let offset = 0; offset + 12 <= end; offset += 4) {
    if (reader.u32(offset, 'multiboot magic') !== MULTIBOOT_HEADER_MAGIC) continue;
    const flags = reader.u32(offset + 4, 'multiboot flags');
    const checksum = reader.u32(offset + 8, 'multiboot checksum');
    if (((MULTIBOOT_HEADER_MAGIC + flags + checksum) & 0xffff_ffff) === 0) return { offset, flags };
  }
  return undefined;
}

/** Loads the kernel and writes the boot information. Throws `bad-kernel`, `too-little-memory`. */
export function loadMultiboot(
  memory: GuestMemory,
  image: Uint8Array,
  options: MultibootOptions,
): InitialCpuState {
  const header = findMultibootHeader(image);
  if (header === undefined) throw badKernel('it has no multiboot header');
  if ((header.flags & 0xffff & ~MULTIBOOT_KNOWN_REQUIREMENTS) !== 0) {
    throw badKernel(
      `its multiboot header asks for features that do not exist (flags 0x${header.flags.toString(16)})`,
    );
  }
  writeRealModeVectors(memory);
  const kludge = (header.flags & MULTIBOOT_AOUT_KLUDGE) !== 0;
  const loaded = kludge ? loadByHeader(memory, image, header) : loadByElf(memory, image);
  if (loaded.entry < loaded.low || loaded.entry >= loaded.high)
    throw badKernel('its entry is outside what it loads');
  if (loaded.low < BOOT_GDT + BOOT_GDT_BYTES && loaded.high > BOOT_GDT) {
    throw badKernel(`it loads at 0x${loaded.low.toString(16)}, over the GDT it starts with`);
  }
  const rbx = writeBootInformation(memory, loaded, options);
  return enterProtected32(memory, {
    rip: loaded.entry,
    rax: MULTIBOOT_BOOTLOADER_MAGIC,
    rbx,
  });
}

interface LoadedKernel {
  readonly low: number;
  readonly high: number;
  readonly entry: number;
}

function loadByElf(memory: GuestMemory, image: Uint8Array): LoadedKernel {
  if (!isElf(image))
    throw badKernel('its multiboot header names no load addresses and it is not an ELF file');
  const elf = parseElf(image);
  return { ...loadElf(memory, elf), entry: elf.entry };
}

/** Specification §3.1.3: the header's address fields say what to load where. */
function loadByHeader(memory: GuestMemory, image: Uint8Array, header: MultibootHeader): LoadedKernel {
  const reader = new ImageReader(image);
  const field = (index: number): number =>
    reader.u32(header.offset + 12 + index * 4, 'multiboot address fields');
  const [headerAddress, low, loadEnd, bssEnd, entry] = [field(0), field(1), field(2), field(3), field(4)];
  const fileOffset = header.offset - (headerAddress - low);
  if (headerAddress < low || fileOffset < 0) throw badKernel('its multiboot addresses contradict each other');
  const dataBytes = loadEnd === 0 ? image.length - fileOffset : loadEnd - low;
  const data = reader.slice(fileOffset, dataBytes, 'multiboot load area');
  const dataEnd = low + dataBytes;
  if (bssEnd !== 0 && bssEnd < dataEnd) throw badKernel('its multiboot addresses contradict each other');
  const high = Math.max(bssEnd, dataEnd);
  if (high > memory.layout.lowBytes) throw tooLittleMemory(high, 'this kernel');
  memory.copyIn(low, data);
  memory.fill(dataEnd, high - dataEnd, 0);
  return { low, high, entry };
}

/** Returns the address of the boot information: low, or behind a kernel that lies there itself. */
function writeBootInformation(memory: GuestMemory, kernel: LoadedKernel, options: MultibootOptions): number {
  const { initrd } = options;
  const commandLine = options.append === '' ? options.kernelName : `${options.kernelName} ${options.append}`;
  let free = Math.max(ONE_MIB, alignUp(kernel.high));
  const covered = kernel.low < MULTIBOOT_MEMORY_MAP + STRUCTURES_BYTES && kernel.high > MULTIBOOT_MEMORY_MAP;
  const structures = covered ? free : MULTIBOOT_MEMORY_MAP;
  if (covered) free += STRUCTURES_BYTES;
  const infoAddress = structures + INFO_OFFSET;
  const moduleList = structures + MODULE_LIST_OFFSET;
  const putString = (text: string): number => {
    const bytes = new TextEncoder().encode(`${text}\0`);
    const at = free;
    if (!memory.copyIn(at, bytes)) throw tooLittleMemory(at + bytes.length, 'this kernel');
    free += bytes.length;
    return at;
  };
  const info = (offset: number, value: number): boolean => memory.writeU32(infoAddress + offset, value);
  memory.fill(infoAddress, MULTIBOOT_INFO_BYTES, 0);
  info(4, CONVENTIONAL_END / 1024); // mem_lower
  info(8, Math.floor((memory.layout.lowBytes - ONE_MIB) / 1024)); // mem_upper
  info(16, putString(commandLine));
  info(64, putString('Troupe'));
  const moduleString = initrd === undefined ? 0 : putString(options.initrdString ?? 'initrd');
  info(20, initrd === undefined ? 0 : 1); // mods_count
  info(24, moduleList);
  if (initrd !== undefined) {
    const start = alignUp(free);
    if (!memory.copyIn(start, initrd))
      throw tooLittleMemory(start + initrd.length, 'this kernel with its module');
    [start, start + initrd.length, moduleString, 0].forEach((value, i) =>
      memory.writeU32(moduleList + i * 4, value),
    );
  }
  info(44, writeMemoryMap(memory, structures, options.e820));
  info(48, structures);
  const flags = MULTIBOOT_INFO_MEMORY | MULTIBOOT_INFO_CMDLINE | MULTIBOOT_INFO_MODS | MULTIBOOT_INFO_MEM_MAP;
  info(0, flags | MULTIBOOT_INFO_BOOT_LOADER_NAME);
  return infoAddress;
}

/** Returns its length in bytes. */
function writeMemoryMap(memory: GuestMemory, at: number, e820: readonly E820Entry[]): number {
  e820.forEach((entry, index) => {
    const gpa = at + index * MEMORY_MAP_ENTRY_BYTES;
    memory.writeU32(gpa, MEMORY_MAP_ENTRY_BYTES - 4); // size: without itself
    memory.writeU64(gpa + 4, BigInt(entry.base));
    memory.writeU64(gpa + 12, BigInt(entry.bytes));
    memory.writeU32(gpa + 20, entry.type);
  });
  return e820.length * MEMORY_MAP_ENTRY_BYTES;
}

function alignUp(gpa: number): number {
  return Math.ceil(gpa / PAGE) * PAGE;
}
