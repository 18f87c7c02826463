// The PVH boot protocol (Xen docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h): an ELF kernel with the note
// XEN_ELFNOTE_PHYS32_ENTRY is entered there in 32-bit protected mode with EBX at hvm_start_info, version 1.
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { writeCommandLine } from './boot-params.js';
import type { LinuxBootOptions } from './bzimage.js';
import { type Elf, findElfNote, loadElf } from './elf.js';
import { badKernel, ImageReader } from './image-reader.js';
import { enterProtected32, type InitialCpuState } from './initial-state.js';
import { placeInitrd } from './initrd.js';
import { BOOT_COMMAND_LINE_BYTES, ONE_MIB, PVH_START_INFO } from './low-memory.js';

const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const XEN_HVM_START_MAGIC_VALUE = 0x336e_c578;
const MODULE_LIST = PVH_START_INFO + 0x40;
const MEMORY_MAP = PVH_START_INFO + 0x80;
const MEMORY_MAP_ENTRY_BYTES = 24;
const INITRD_ADDR_MAX = 0x7fff_ffff;

/** The 32-bit entry address that the kernel's note names, or undefined when it has none. */
export function pvhEntry(elf: Elf): number | undefined {
  const note = findElfNote(elf, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY);
  if (note === undefined) return undefined;
  const reader = new ImageReader(note);
  if (note.length === 8) return reader.size64(0, 'PVH entry note');
  if (note.length === 4) return reader.u32(0, 'PVH entry note');
  throw badKernel('its PVH entry note has a wrong size');
}

/** Loads the kernel and writes hvm_start_info. Throws `bad-kernel`, `too-little-memory`. */
export function loadPvh(memory: GuestMemory, elf: Elf, options: LinuxBootOptions): InitialCpuState {
  const rip = pvhEntry(elf);
  if (rip === undefined) throw badKernel('its ELF file has no PVH note');
  const { low, high } = loadElf(memory, elf);
  if (low < ONE_MIB) throw badKernel('it is linked below 1 MiB, where the boot information is');
  if (rip < low || rip >= high) throw badKernel('its PVH entry is outside what it loads');
  const initrd = placeInitrd(memory, options.initrd, high, INITRD_ADDR_MAX);
  const commandLine = writeCommandLine(memory, options.append, BOOT_COMMAND_LINE_BYTES - 1);
  const at = PVH_START_INFO;
  memory.fill(at, MEMORY_MAP - at, 0);
  memory.writeU32(at, XEN_HVM_START_MAGIC_VALUE);
  memory.writeU32(at + 4, 1); // version
  memory.writeU32(at + 12, initrd === undefined ? 0 : 1); // nr_modules
  if (initrd !== undefined) {
    memory.writeU64LoHi(at + 16, MODULE_LIST, 0);
    memory.writeU64LoHi(MODULE_LIST, initrd.gpa, 0);
    memory.writeU64LoHi(MODULE_LIST + 8, initrd.bytes, 0);
  }
  memory.writeU64LoHi(at + 24, commandLine, 0);
  memory.writeU64LoHi(at + 32, options.rsdp, 0);
  memory.writeU64LoHi(at + 40, MEMORY_MAP, 0);
  memory.writeU32(at + 48, options.e820.length);
  options.e820.forEach((entry, index) => {
    const gpa = MEMORY_MAP + index * MEMORY_MAP_ENTRY_BYTES;
    memory.writeU64(gpa, BigInt(entry.base));
    memory.writeU64(gpa + 8, BigInt(entry.bytes));
    memory.writeU64LoHi(gpa + 16, entry.type, 0);
  });
  return enterProtected32(memory, { rip, rbx: at });
}
