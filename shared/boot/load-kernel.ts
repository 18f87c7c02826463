// Puts any kernel that Troupe boots into guest RAM: tells bzImage, multiboot1 and PVH ELF apart and hands over by the
// protocol of each. Everything wrong with the image or the amount of memory is a TroupeError with the fix.
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { isBzImage, type LinuxBootOptions, loadBzImage, loadUnpackedLinux, parseBzImage } from './bzimage.js';
import { buildE820, type E820Entry } from './e820.js';
import { isElf, parseElf } from './elf.js';
import { badKernel, tooLittleMemory } from './image-reader.js';
import type { InitialCpuState } from './initial-state.js';
import { ONE_MIB } from './low-memory.js';
import { findMultibootHeader, loadMultiboot } from './multiboot.js';
import { loadPvh, pvhEntry } from './pvh.js';
import { extractVmlinux } from './vmlinux.js';

export type KernelKind = 'linux' | 'pvh' | 'multiboot';

/** What goes with the kernel. */
export interface KernelOptions {
  /** As the user gave it to --kernel: a multiboot command line begins with it. */
  readonly kernelName: string;
  readonly append?: string | undefined;
  readonly initrd?: Uint8Array | undefined;
  /** The string of a multiboot module: the initrd as the user named it. */
  readonly initrdString?: string | undefined;
  /** Guest-physical address of the ACPI RSDP. */
  readonly rsdp: number;
  /** The memory map; by default that of the memory's layout. */
  readonly e820?: readonly E820Entry[] | undefined;
  /**
   * For a bzImage: the vmlinux that {@link extractVmlinux} gave earlier, or 'guest' to let the guest unpack. By
   * default it is extracted now.
   */
  readonly vmlinux?: Uint8Array | 'guest' | undefined;
}

/** A loaded kernel: how the boot vCPU starts. */
export interface LoadedKernel extends InitialCpuState {
  readonly kind: KernelKind;
}

const MIN_MEMORY = 2 * ONE_MIB;

/**
 * Loads `image` and all that goes with it into guest RAM. Throws TroupeError: `bad-kernel`, `too-little-memory`,
 * `bad-config` (command line too long for this kernel).
 */
export function loadKernel(memory: GuestMemory, image: Uint8Array, options: KernelOptions): LoadedKernel {
  if (memory.layout.lowBytes < MIN_MEMORY) throw tooLittleMemory(MIN_MEMORY, 'a kernel');
  const e820 = options.e820 ?? buildE820(memory.layout);
  const { initrd, rsdp } = options;
  const append = options.append ?? '';
  if (isBzImage(image)) {
    return { kind: 'linux', ...loadLinux(memory, image, options.vmlinux, { append, initrd, rsdp, e820 }) };
  }
  if (findMultibootHeader(image) !== undefined) {
    return { kind: 'multiboot', ...loadMultiboot(memory, image, { ...options, append, e820 }) };
  }
  if (isElf(image)) {
    const elf = parseElf(image);
    if (pvhEntry(elf) === undefined) {
      throw badKernel('it is an ELF file with neither a multiboot header nor a PVH note');
    }
    return { kind: 'pvh', ...loadPvh(memory, elf, { append, initrd, rsdp, e820 }) };
  }
  throw badKernel('it is neither a bzImage nor an ELF file');
}

function loadLinux(
  memory: GuestMemory,
  image: Uint8Array,
  unpacked: KernelOptions['vmlinux'],
  options: LinuxBootOptions,
): InitialCpuState {
  const kernel = parseBzImage(image);
  const vmlinux = unpacked === 'guest' ? undefined : (unpacked ?? extractVmlinux(kernel));
  if (vmlinux === undefined) return loadBzImage(memory, kernel, options);
  return loadUnpackedLinux(memory, kernel, vmlinux, options);
}
