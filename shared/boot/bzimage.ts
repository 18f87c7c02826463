// The Linux/x86 boot protocol, 64-bit entry (Documentation/arch/x86/boot.rst, protocol 2.12 and later): reads the
// setup header of a bzImage, loads the protected-mode part and hands over at load address + 0x200 with RSI at
// boot_params. Also enters an already unpacked vmlinux at its startup_64, which saves the guest its own
// decompressor. Leaves out the 16- and 32-bit entries, EFI handover and loading above 4 GiB.
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { writeBootParams } from './boot-params.js';
import type { E820Entry } from './e820.js';
import { ELF_X86_64, loadElf, parseElf } from './elf.js';
import { badKernel, ImageReader, tooLittleMemory } from './image-reader.js';
import { enterLong64, type InitialCpuState } from './initial-state.js';
import { ONE_MIB } from './low-memory.js';
import { placeInitrd } from './initrd.js';

const SETUP_HEADER = 0x1f1;
const HEADER_MAGIC = 0x5372_6448; // "HdrS"
const XLF_KERNEL_64 = 1 << 0; // xloadflags
const LOADED_HIGH = 1 << 0; // loadflags
const ENTRY_64 = 0x200;
const SECTOR = 512;
const PROTOCOL_2_12 = 0x020c;

/** What the loader needs of a setup header; names as in boot.rst. */
export interface BzImage {
  /** Bytes 0x1f1 up to the header's end, to be copied into boot_params. */
  readonly setupHeader: Uint8Array;
  readonly version: number;
  readonly protectedMode: Uint8Array;
  /** The compressed kernel: payload_offset and payload_length. */
  readonly payload: Uint8Array;
  readonly relocatable: boolean;
  readonly kernelAlignment: number;
  readonly prefAddress: number;
  readonly initSize: number;
  readonly initrdAddrMax: number;
  readonly cmdlineSize: number;
}

/** What goes with a Linux kernel. */
export interface LinuxBootOptions {
  readonly append: string;
  readonly initrd?: Uint8Array | undefined;
  readonly rsdp: number;
  readonly e820: readonly E820Entry[];
}

/** Whether the image claims to be a bzImage; {@link parseBzImage} says whether it is a usable one. */
export function isBzImage(image: Uint8Array): boolean {
  const reader = new ImageReader(image);
  return image.length >= 0x206 && reader.u32(0x202, 'magic') === HEADER_MAGIC;
}

/** Throws `bad-kernel` when truncated, not a bzImage, too old or without a 64-bit entry. */
export function parseBzImage(image: Uint8Array): BzImage {
  const reader = new ImageReader(image);
  if (reader.u32(0x202, 'setup header magic') !== HEADER_MAGIC)
    throw badKernel('it has no Linux setup header');
  if (reader.u16(0x1fe, 'boot flag') !== 0xaa55) throw badKernel('its boot sector signature is wrong');
  const version = reader.u16(0x206, 'protocol version');
  if (version < PROTOCOL_2_12) {
    throw badKernel(`its boot protocol is ${version >> 8}.${version & 0xff}, older than 2.12`);
  }
  if ((reader.u8(0x211, 'loadflags') & LOADED_HIGH) === 0) throw badKernel('it is a zImage, not a bzImage');
  if ((reader.u16(0x236, 'xloadflags') & XLF_KERNEL_64) === 0)
    throw badKernel('it has no 64-bit entry point');
  const headerEnd = 0x202 + reader.u8(0x201, 'setup header length');
  if (headerEnd < 0x264 || headerEnd > 0x290) throw badKernel('its setup header has an impossible length');
  const setupBytes = ((reader.u8(0x1f1, 'setup_sects') || 4) + 1) * SECTOR;
  const protectedModeBytes = reader.u32(0x1f4, 'syssize') * 16;
  // syssize counts paragraphs: the file may end up to 15 bytes before the last one does.
  const available = Math.min(image.length - setupBytes, protectedModeBytes);
  if (available < protectedModeBytes - 15 || available <= ENTRY_64) throw badKernel('it is truncated');
  const protectedMode = reader.slice(setupBytes, available, 'protected-mode code');
  const payloadOffset = reader.u32(0x248, 'payload_offset');
  const payloadBytes = reader.u32(0x24c, 'payload_length');
  const payload = new ImageReader(protectedMode).slice(payloadOffset, payloadBytes, 'payload');
  const kernelAlignment = reader.u32(0x230, 'kernel_alignment');
  if (kernelAlignment === 0) throw badKernel('its kernel_alignment is 0');
  return {
    setupHeader: reader.slice(SETUP_HEADER, headerEnd - SETUP_HEADER, 'setup header'),
    version,
    protectedMode,
    payload,
    relocatable: reader.u8(0x234, 'relocatable_kernel') !== 0,
    kernelAlignment,
    prefAddress: reader.size64(0x258, 'pref_address'),
    initSize: Math.max(reader.u32(0x260, 'init_size'), available),
    initrdAddrMax: reader.u32(0x22c, 'initrd_addr_max'),
    cmdlineSize: reader.u32(0x238, 'cmdline_size'),
  };
}

/** Loads the bzImage itself: the guest decompresses it. Throws `too-little-memory`. */
export function loadBzImage(
  memory: GuestMemory,
  kernel: BzImage,
  options: LinuxBootOptions,
): InitialCpuState {
  const base = chooseLoadAddress(memory, kernel);
  const needed = base + kernel.initSize;
  if (needed > memory.layout.lowBytes) throw tooLittleMemory(needed, 'this kernel');
  const initrd = placeInitrd(memory, options.initrd, needed, kernel.initrdAddrMax);
  memory.copyIn(base, kernel.protectedMode);
  const rsi = writeBootParams(memory, kernel, { ...options, loadAddress: base, initrd });
  return enterLong64(memory, { rip: base + ENTRY_64, rsi });
}

/**
 * Enters the vmlinux that {@link extractVmlinux} took out of `kernel` at its link address, where it needs no
 * relocation. Throws `bad-kernel` when the ELF is not one, `too-little-memory`.
 */
export function loadUnpackedLinux(
  memory: GuestMemory,
  kernel: BzImage,
  vmlinux: Uint8Array,
  options: LinuxBootOptions,
): InitialCpuState {
  const elf = parseElf(vmlinux);
  if (elf.bits !== 64 || elf.machine !== ELF_X86_64) throw badKernel('its payload is not a 64-bit x86 ELF');
  const { low, high } = loadElf(memory, elf);
  if (low < ONE_MIB || elf.entry < low || elf.entry >= high)
    throw badKernel('its payload has no physical entry');
  const needed = Math.max(low + kernel.initSize, high);
  if (needed > memory.layout.lowBytes) throw tooLittleMemory(needed, 'this kernel');
  const initrd = placeInitrd(memory, options.initrd, needed, kernel.initrdAddrMax);
  const rsi = writeBootParams(memory, kernel, { ...options, loadAddress: low, initrd });
  return enterLong64(memory, { rip: elf.entry, rsi });
}

/** pref_address where there is room; else a relocatable kernel goes to the lowest aligned address from 1 MiB. */
function chooseLoadAddress(memory: GuestMemory, kernel: BzImage): number {
  const fits = kernel.prefAddress + kernel.initSize <= memory.layout.lowBytes;
  if (kernel.prefAddress >= ONE_MIB && (fits || !kernel.relocatable)) return kernel.prefAddress;
  return Math.ceil(ONE_MIB / kernel.kernelAlignment) * kernel.kernelAlignment;
}
