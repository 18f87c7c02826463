// The interpreter's operation record: one decoded instruction (or a fused pair) as 32 bytes in a vCPU's code cache.
// Handlers read their operands from it, so that one handler serves every register and constant. Records are
// position independent: they hold offsets from the start of their block (see BLOCK_RIP).
// A record that branches is followed by a second slot with its links, or, when it is a near indirect JMP or CALL of 64-bit
// code, with targets that it went to.

export const RECORD_BYTES = 32;
/** u32: index of the handler in the function table. */
export const RECORD_HANDLER = 0;
/** The handler of a record whose block was dropped. */
export const HANDLER_INVALID = 0;
/** u16 each: state-page offsets (or plain numbers for ST(i), segment, control and debug registers) of up to two register operands. */
export const RECORD_REGISTER0 = 4;
export const RECORD_REGISTER1 = 6;
/** i32, of a heat counter's record: its region ran. */
export const RECORD_USED = 8;
/** u16 each: state-page offsets of base and index registers; ZERO_SLOT when absent. BLOCK_RIP stands for RIP. */
export const RECORD_BASE = 8;
export const RECORD_INDEX = 10;
/** u16: state-page offset of the segment's base (ZERO_SLOT in 64-bit mode but for FS and GS). */
export const RECORD_SEGMENT_BASE = 12;
/** u8: log2 of the scale. */
export const RECORD_SCALE = 14;
/** u8: segment register number, for legacy checks. */
export const RECORD_SEGMENT = 15;
/** i32. */
export const RECORD_DISPLACEMENT = 16;
/** u16: offset of the instruction from its block's start. */
export const RECORD_IP_OFFSET = 20;
/** u8: instruction length (for a fused pair, the first one's). */
export const RECORD_LENGTH = 22;
/** u8: how many instructions the record stands for. */
export const RECORD_INSTRUCTIONS = 23;
/** i64: the immediate, sign-extended. */
export const RECORD_IMMEDIATE = 24;

/** Second slot: i32 record of the taken target (0 = not linked), its offset from the block's start; then the same for the next instruction. */
export const LINK_TAKEN = 32;
export const LINK_TAKEN_DELTA = 36;
export const LINK_NEXT = 40;
export const LINK_NEXT_DELTA = 44;

/** Second slot of an indirect branch: i32 distances of targets from the block's start, each in the place that its address hashes to; 0: none. */
export const INDIRECT_TARGETS = 32;
export const INDIRECT_TARGET_COUNT = 8;
/** place = (target ^ target >>> shift) mod count. */
export const INDIRECT_TARGET_SHIFT = 4;

/** Argument bit of the slow reads and writes of a region: the address is in the stack segment (#SS instead of #GP). */
export const SLOW_STACK_SEGMENT = 0x200;

// The TLB: per vCPU three sets (user, supervisor under SMAP, supervisor with access) of direct-mapped entries.
export const TLB_ENTRIES = 4096;
export const TLB_ENTRY_BYTES = 32;
export const TLB_SET_BYTES = TLB_ENTRIES * TLB_ENTRY_BYTES;
export const TLB_SETS = 3;
/** i64 each: the linear page address that may be read or written directly; TLB_NEVER otherwise. */
export const TLB_READ_TAG = 0;
export const TLB_WRITE_TAG = 8;
/** i32: arena offset = low 32 bits of the linear address + addend. */
export const TLB_ADDEND = 16;
/** u32: arena address of the page, for write tracking. */
export const TLB_PAGE = 20;
/** u8: the lists that the entry is in, TLB_LISTED_*. */
export const TLB_MARKS = 24;
/** u8: log2 of the size of the page that the entry is part of. */
export const TLB_PAGE_SHIFT = 25;
/** A tag that no canonical page has. */
export const TLB_NEVER = 0xa5;
/** What a load of CR3 drops: everything of the user's, and the supervisor's pages that are not global. The others. */
export const TLB_LISTED_LOCAL = 1;
export const TLB_LISTED_GLOBAL = 2;
// Behind the sets: what generated code needs to fill an entry, and what a flush needs to find the filled ones.
export const TLB_INDEX = TLB_SETS * TLB_SET_BYTES;
/** i32 each: how many entries each list holds, and how many were ever filled. */
export const TLB_LOCAL_COUNT = TLB_INDEX;
export const TLB_GLOBAL_COUNT = TLB_INDEX + 4;
export const TLB_FILLS = TLB_INDEX + 8;
/** u32 each: where RAM and the code map start in the arena, and the bytes of RAM below and above the MMIO hole. */
export const TLB_RAM = TLB_INDEX + 12;
export const TLB_LOW_RAM = TLB_INDEX + 16;
export const TLB_HIGH_RAM = TLB_INDEX + 20;
export const TLB_CODE_MAP = TLB_INDEX + 24;
/** i32: the vCPU's bit in the code map. */
export const TLB_OWNER_BIT = TLB_INDEX + 28;
/** u16 each: numbers of entries, at most once in a list. */
export const TLB_LOCAL_LIST = TLB_INDEX + 64;
export const TLB_GLOBAL_LIST = TLB_LOCAL_LIST + TLB_SETS * TLB_ENTRIES * 2;
/** u8 each: not zero where an entry may be part of a large page, by the hash of tlb.ts. */
export const TLB_LARGE_REGIONS = TLB_GLOBAL_LIST + TLB_SETS * TLB_ENTRIES * 2;
export const TLB_REGION_BITS = 16;
export const TLB_BYTES = TLB_LARGE_REGIONS + (1 << TLB_REGION_BITS);
/** The hash: factors of the address's high word, its low word and their mix. */
export const TLB_REGION_HASH = [0x9e37_79b1 | 0, 0x85eb_ca6b | 0, 0xc2b2_ae35 | 0] as const;

// The jump cache, one for user and one for supervisor code: where the blocks of IPs are. A kernel at work jumps to some thousands of
// places, so what another IP displaces goes to a second way, where a miss looks before it leaves generated code. Behind both
// stands a code TLB: where the linear pages lie that were fetched from.
export const JUMP_CACHE_ENTRIES = 16384;
export const JUMP_CACHE_ENTRY_BYTES = 16;
export const JUMP_CACHE_SECOND_WAY = JUMP_CACHE_ENTRIES * JUMP_CACHE_ENTRY_BYTES;
export const CODE_TLB = 2 * JUMP_CACHE_SECOND_WAY;
export const CODE_TLB_ENTRIES = 256;
/** i64 linear page address, i32 arena address of the page. */
export const CODE_TLB_ENTRY_BYTES = 16;
export const CODE_TLB_PAGE = 8;
export const JUMP_CACHE_BYTES = CODE_TLB + CODE_TLB_ENTRIES * CODE_TLB_ENTRY_BYTES;
/** index = low 32 bits of ip × multiplier, then shifted right: the top bits of the product depend on all of the ip's. */
export const JUMP_CACHE_MULTIPLIER = 0x9e3779b1 | 0;
export const JUMP_CACHE_HASH_SHIFT = 32 - Math.log2(JUMP_CACHE_ENTRIES);
export const JUMP_CACHE_RIP = 0;
export const JUMP_CACHE_RECORD = 8;
/** i32: links may go to the record too; not to a block that crosses into another page, which may be mapped anew. */
export const JUMP_CACHE_LINKABLE = 12;
