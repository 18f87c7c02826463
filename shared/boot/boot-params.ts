// struct boot_params, the "zero page" (Documentation/arch/x86/zero-page.rst; asm/bootparam.h): the setup header as
// the kernel image has it, with the loader's fields filled in, and the memory map. Left zero: screen_info (there
// is no VGA text screen), EDID, EFI and EDD.
import { TroupeError } from '#shared/base/error.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import type { E820Entry } from './e820.js';
import type { PlacedInitrd } from './initrd.js';
import { BOOT_COMMAND_LINE, BOOT_COMMAND_LINE_BYTES, BOOT_PARAMS } from './low-memory.js';

const BOOT_PARAMS_BYTES = 0x1000;
const ACPI_RSDP_ADDR = 0x070;
const E820_ENTRIES = 0x1e8;
const SETUP_HEADER = 0x1f1;
const TYPE_OF_LOADER = 0x210;
const LOADFLAGS = 0x211;
const CODE32_START = 0x214;
const RAMDISK_IMAGE = 0x218;
const RAMDISK_SIZE = 0x21c;
const CMD_LINE_PTR = 0x228;
const SETUP_DATA = 0x250;
const E820_TABLE = 0x2d0;
const E820_ENTRY_BYTES = 20;
const E820_MAX_ENTRIES_ZEROPAGE = 128;

const UNDEFINED_LOADER = 0xff;
const KEEP_SEGMENTS = 1 << 6;
const CAN_USE_HEAP = 1 << 7;

/** What boot_params says beside the kernel's own header. */
export interface BootParamsContent {
  readonly append: string;
  readonly rsdp: number;
  readonly e820: readonly E820Entry[];
  readonly loadAddress: number;
  readonly initrd: PlacedInitrd | undefined;
}

/** Writes boot_params and the command line; returns the address of boot_params. */
export function writeBootParams(
  memory: GuestMemory,
  kernel: { readonly setupHeader: Uint8Array; readonly cmdlineSize: number },
  content: BootParamsContent,
): number {
  const at = (offset: number): number => BOOT_PARAMS + offset;
  memory.fill(BOOT_PARAMS, BOOT_PARAMS_BYTES, 0);
  memory.copyIn(at(SETUP_HEADER), kernel.setupHeader);
  memory.writeU8(at(TYPE_OF_LOADER), UNDEFINED_LOADER);
  memory.writeU8(at(LOADFLAGS), memory.readU8(at(LOADFLAGS)) & ~(KEEP_SEGMENTS | CAN_USE_HEAP));
  memory.writeU32(at(CODE32_START), content.loadAddress);
  memory.writeU32(at(RAMDISK_IMAGE), content.initrd?.gpa ?? 0);
  memory.writeU32(at(RAMDISK_SIZE), content.initrd?.bytes ?? 0);
  memory.writeU32(at(CMD_LINE_PTR), writeCommandLine(memory, content.append, kernel.cmdlineSize));
  memory.writeU64LoHi(at(SETUP_DATA), 0, 0);
  memory.writeU64LoHi(at(ACPI_RSDP_ADDR), content.rsdp, 0);
  const entries = content.e820.slice(0, E820_MAX_ENTRIES_ZEROPAGE);
  memory.writeU8(at(E820_ENTRIES), entries.length);
  entries.forEach((entry, index) => {
    const gpa = at(E820_TABLE + index * E820_ENTRY_BYTES);
    memory.writeU64(gpa, BigInt(entry.base));
    memory.writeU64(gpa + 8, BigInt(entry.bytes));
    memory.writeU32(gpa + 16, entry.type);
  });
  return BOOT_PARAMS;
}

/** Writes a NUL-terminated command line to its place. Throws `bad-config` when longer than the kernel reads. */
export function writeCommandLine(memory: GuestMemory, text: string, maxBytes: number): number {
  const bytes = new TextEncoder().encode(text);
  const limit = Math.min(maxBytes, BOOT_COMMAND_LINE_BYTES - 1);
  if (bytes.length > limit || bytes.includes(0)) {
    throw new TroupeError(
      'bad-config',
      bytes.length > limit
        ? `the kernel command line is ${bytes.length} bytes long; this kernel reads ${limit}`
        : 'the kernel command line contains a NUL byte',
      'correct --append',
    );
  }
  memory.copyIn(BOOT_COMMAND_LINE, bytes);
  memory.writeU8(BOOT_COMMAND_LINE + bytes.length, 0);
  return BOOT_COMMAND_LINE;
}
