// The bounds of a machine, in one place: every queue, loop and buffer has one, and a message that refuses something
// names it from here.

export const MIN_VCPUS = 1;
export const MAX_VCPUS = 64;

/** wasm32 shared memory ends at 65,536 pages; the control area and guest RAM share it. */
export const MAX_ARENA_BYTES = 0x1_0000_0000;
export const WASM_PAGE_BYTES = 0x1_0000;
/** Below this a stock kernel and its initramfs cannot unpack. */
export const MIN_RAM_BYTES = 16 * 1024 * 1024;
/** RAM is given in whole pages of wasm memory. */
export const RAM_ALIGN_BYTES = WASM_PAGE_BYTES;

/** Disks of one machine: slots of PCI bus 0 that other devices leave. */
export const MAX_DISKS = 16;
/** Linux's COMMAND_LINE_SIZE on x86. */
export const MAX_COMMAND_LINE_BYTES = 2048;

/** Entries of a mailbox that carries register accesses; a power of two. */
export const MAILBOX_ENTRIES = 64;
/** Payload of one of its messages. */
export const MAILBOX_PAYLOAD_BYTES = 48;
/** Console input, kernel → console actor: fewer and larger messages. */
export const INPUT_MAILBOX_ENTRIES = 16;
export const INPUT_MAILBOX_PAYLOAD_BYTES = 4080;

/** What a device must not forget; one page is enough for all of today's. */
export const STATE_PAGE_BYTES = 64 * 1024;
/** Registers that vCPUs read by load. */
export const REGISTER_PAGE_BYTES = 4096;
/** Translated and interpreted code of one vCPU, in bytes of arena. */
export const CODE_CACHE_BYTES = 32 * 1024 * 1024;
