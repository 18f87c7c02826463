// Where the loaders put what a kernel finds at its start: all in the first 640 KiB, which every boot protocol
// lets the loader use and the kernel reuse. One list, so that two structures can never overlap.

/** The GDT, above the real-mode vectors. */
export const BOOT_GDT = 0x500;
/** Linux boot_params ("zero page"), one page. */
export const BOOT_PARAMS = 0x2000;
/** PVH hvm_start_info, then its module list and memory map. */
export const PVH_START_INFO = 0x3000;
/** A stack for kernels that push before they set their own; grows down from here. */
export const BOOT_STACK_TOP = 0x9000;
/** Multiboot memory map, then the boot information block. */
export const MULTIBOOT_MEMORY_MAP = 0x9000;
export const MULTIBOOT_INFO = 0x9800;
/** PML4, PDPT and four page directories. */
export const BOOT_PAGE_TABLES = 0xa000;
/** The command line of Linux and PVH kernels, with its final NUL. */
export const BOOT_COMMAND_LINE = 0x2_0000;
export const BOOT_COMMAND_LINE_BYTES = 0x1_0000;
/** Where conventional memory ends and what a PC calls the EBDA starts. */
export const CONVENTIONAL_END = 0x9_fc00;
/** The first MiB ends here; kernels go above. */
export const ONE_MIB = 0x10_0000;
