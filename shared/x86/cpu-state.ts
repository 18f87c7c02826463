// Layout of one vCPU's architectural state in the arena (its "state page"): byte offsets from the page's start.
// Shared by the generated code (which gets the page's arena offset as its `cpu` argument), the TypeScript side of
// the engine, and save/restore. Intel SDM vol. 1 ch. 3, vol. 3 ch. 2. Little endian; a slot is 8-byte aligned.
// Arithmetic flags are kept lazily (CC_*), see flags.ts; everything else is architectural at every instruction
// boundary outside generated code.

/** General registers in encoding order (RAX RCX RDX RBX RSP RBP RSI RDI R8..R15), 8 bytes each. AH is GPR+1. */
export const GPR = 0;
export const RAX = 0,
  RCX = 8,
  RDX = 16,
  RBX = 24,
  RSP = 32,
  RBP = 40,
  RSI = 48,
  RDI = 56;
/** Instruction pointer. Valid outside generated code; inside it, BLOCK_RIP plus the record's offset is. */
export const RIP = 128;
/** Always zero: stands for an absent base or index register or a zero segment base. */
export const ZERO_SLOT = 136;
/** Linear-address-size RIP of the start of the block that runs: records are position independent. */
export const BLOCK_RIP = 144;
/** i64: the last result, sign-extended from the operation's size. ZF = (res == 0), SF = res < 0, PF from byte 0. */
export const CC_RESULT = 152;
/** i32: carry-out vector, shifted so that bit 31 is the carry out of the operation's top bit. CF = bit 31, OF = bit 31 ^ bit 30. */
export const CC_CARRY = 160;
/** i32: bit 4 AF; bit 2 inverts PF and bit 7 inverts SF as found from CC_RESULT (for POPF, SAHF). */
export const CC_MISC = 168;
/** i32: the flags that are not lazy: TF IF DF IOPL NT RF VM AC VIF VIP ID. The CF PF AF ZF SF OF bits here are zero, bit 1 too. */
export const RFLAGS_SYSTEM = 172;
/** i32: pending work, see PENDING_*. Other threads set bits and notify; polled at block edges; HLT waits on it. */
export const PENDING = 176;
/** i32: SHADOW_* after STI or a load of SS: interrupts (and, for SS, debug traps) are held for one instruction. */
export const INTERRUPT_SHADOW = 180;
/** i32: current privilege level, 0–3. */
export const CPL = 184;
/** i32: arena offset of the TLB set in use (by privilege and SMAP), see tlb.ts. */
export const TLB_BASE = 188;
/** i32: arena offset of the jump cache in use. */
export const JUMP_CACHE_BASE = 192;
/** i32: MODE_* bits of the code that runs, part of every block's key. */
export const CODE_MODE = 196;

/** Exception raised by generated code or a helper, for the run loop to deliver. vector i32, −1 when none. */
export const EXCEPTION_VECTOR = 200;
/** i32: its error code, −1 when it has none. */
export const EXCEPTION_ERROR_CODE = 204;
/** i64: linear address of the faulting access or slow access, an argument of the slow helpers. */
export const SLOW_ADDRESS = 208;
/** 16 bytes: the datum of a slow access, low bytes first. */
export const SLOW_DATA = 216;
/** i32 ×2: scratch for helper arguments. */
export const HELPER_ARG0 = 232;
export const HELPER_ARG1 = 240;
export const HELPER_ARG2 = 248;

// Segment registers: 32 bytes each at SEGMENT + i*32, i = ES CS SS DS FS GS TR LDTR.
export const SEGMENT = 256;
export const SEGMENT_BYTES = 32;
export const ES = 0,
  CS = 1,
  SS = 2,
  DS = 3,
  FS = 4,
  GS = 5,
  TR = 6,
  LDTR = 7;
/** i64 base. */
export const SEGMENT_BASE = 0;
/** i64 lowest valid offset (0 unless expand-down). */
export const SEGMENT_LOW = 8;
/** i64 highest valid offset; −1 when the segment is unusable (null), so that every access fails a signed compare. */
export const SEGMENT_HIGH = 16;
/** u32 raw limit, expanded by granularity. */
export const SEGMENT_LIMIT = 24;
/** u16 selector. */
export const SEGMENT_SELECTOR = 28;
/** u16 attributes: bits 0–7 descriptor byte 5 (type, S, DPL, P), bits 8–11 descriptor byte 6's AVL L D/B G (bits 12–15 of the dword). */
export const SEGMENT_ATTRIBUTES = 30;

export const GDTR_BASE = 512,
  GDTR_LIMIT = 520,
  IDTR_BASE = 528,
  IDTR_LIMIT = 536;
export const CR0 = 544,
  CR2 = 552,
  CR3 = 560,
  CR4 = 568,
  CR8 = 576,
  EFER = 584;
/** DR0–DR7, 8 bytes each. */
export const DR = 592;
export const STAR = 656,
  LSTAR = 664,
  CSTAR = 672,
  FMASK = 680,
  KERNEL_GS_BASE = 688;
export const SYSENTER_CS = 696,
  SYSENTER_ESP = 704,
  SYSENTER_EIP = 712;
export const TSC_AUX = 720,
  PAT = 728,
  APIC_BASE = 736,
  MISC_ENABLE = 744,
  TSC_ADJUST = 752;
export const SPEC_CTRL = 760,
  MTRR_DEF_TYPE = 768,
  KVM_SYSTEM_TIME = 776,
  KVM_WALL_CLOCK = 784;
export const KVM_PV_EOI = 792,
  KVM_ASYNC_PF = 800,
  KVM_STEAL_TIME = 808;
/** i64: guest TSC = host nanoseconds + TSC_OFFSET (the TSC runs at 1 GHz). */
export const TSC_OFFSET = 816;
/** i32: HALTED and friends: ACTIVITY_* */
export const ACTIVITY = 824;
/** i32: SIPI vector that PENDING_SIPI carries. */
export const SIPI_VECTOR = 828;
/** i32: this vCPU's index, and its APIC id. */
export const VCPU_INDEX = 832;
/** i64: instructions that retired in the interpreter and in regions, when the engine was asked to count them. */
export const COUNT_INTERPRETED = 840,
  COUNT_COMPILED = 848;
/** i32: arena offset of the counting record of the block that the interpreter is in; 0 in a region, which corrects its count itself. */
export const COUNTED_RECORD = 856;
/** MTRRs: fixed (11 × 8) then variable base/mask (8 × 16). Values are stored, not obeyed. */
export const MTRR_FIXED = 864;
export const MTRR_VARIABLE = 960;
/** Machine-check banks: CTL STATUS ADDR MISC of each, 8 bytes a register. */
export const MCE_BANKS = 1088;

/** x87: ST registers by physical number R0–R7, 16 bytes each: 64-bit mantissa then u16 sign and exponent. MMi is Ri's mantissa. */
export const X87 = 1152;
export const X87_CONTROL = 1280;
/** i32 status word without TOP; X87_TOP holds TOP (0–7). */
export const X87_STATUS = 1284;
export const X87_TOP = 1288;
/** i32 bit i set: physical register i is not empty (the abridged tag word of FXSAVE). */
export const X87_TAGS = 1292;
export const X87_OPCODE = 1296;
export const X87_IP = 1304,
  X87_DP = 1312;
/** u16 selectors of the last x87 instruction and operand (legacy modes). */
export const X87_CS = 1320,
  X87_DS = 1322;
/** i32. */
export const MXCSR = 1328;
/** XMM0–15, 16 bytes each, 16-byte aligned. */
export const XMM = 1344;
/** Two spare 16-byte slots for vector temporaries that helpers use. */
export const VECTOR_SCRATCH = 1600;
/** 512 bytes, 16-byte aligned: the memory image of FXSAVE, FNSAVE and FNSTENV on its way between state and memory. */
export const FX_IMAGE = 2048;

/** i32: not zero while an interrupt waits for RFLAGS.IF: whoever sets IF then sets PENDING_INTERRUPT again. */
export const IRQ_PARKED = 1632;
/** i32: vector that SSE instructions raise (6 #UD, 7 #NM) by CR0 and CR4, 0 for none; X87_TRAP likewise for x87 and MMX. Kept at writes of CR0 and CR4. */
export const SIMD_TRAP = 1636;
export const X87_TRAP = 1640;
/** i32: arena offset of the link slot that the last EXIT_LOOKUP could have followed, 0 for none. */
export const LINK_SITE = 1644;
/** i32: arena offset of the record that leaves or calls a helper; tells RIP and the instruction. */
export const CURRENT_RECORD = 1648;

/** i32: counts the TLB flushes that others asked for and this vCPU has done; they wait for it to change. */
export const TLB_FLUSH_ACK = 1652;

/** i32: NMI_* bits. An NMI is blocked from the delivery of one to the next IRET; the first that comes meanwhile is kept. */
export const NMI_STATE = 1656;

/** i32: 1 while the vCPU's thread is inside the engine, where this page is not exact; 0 at a safe point. */
export const INSIDE_ENGINE = 1660;
/** i64: the instruction that SHADOW_STI is for. With RIP anywhere else that shadow has passed. */
export const SHADOW_IP = 1664;
/** i32 each: the code mode (plus one, 0 for none) whose blocks the supervisor's and the user's jump cache hold. */
export const SUPERVISOR_JUMP_CACHE_MODE = 1672;
export const USER_JUMP_CACHE_MODE = 1676;

/** i32: arena offset of the TLB while generated code may walk the page tables: 64-bit code, no breakpoint armed; else 0. */
export const WALKED_TLB = 1680;
/** i32: the slow read-modify-write at hand works on memory itself, which nobody decoded code from. */
export const MODIFIES_DIRECTLY = 1684;

export const CPU_STATE_BYTES = 4096;

// INTERRUPT_SHADOW values
export const SHADOW_NONE = 0;
export const SHADOW_STI = 1;
export const SHADOW_SS = 2;

// NMI_STATE bits
export const NMI_BLOCKED = 1;
export const NMI_KEPT = 2;

// PENDING bits
export const PENDING_INTERRUPT = 1; // some IRR bit may be deliverable
export const PENDING_KICK = 2; // pause, stop or another word from the kernel
export const PENDING_TLB_FLUSH = 4; // another vCPU asks to drop all TLB entries and jump caches (and acknowledge)
export const PENDING_CODE_WRITE = 8; // entries wait in the invalidation log
export const PENDING_NMI = 16;
export const PENDING_NMI_AGAIN = 512; // one more NMI came before the first was taken
export const PENDING_INIT = 32;
export const PENDING_SIPI = 64;
export const PENDING_TIMER = 128; // the timer actor says that the TSC deadline or LAPIC timer expired
export const PENDING_REGION = 1024; // the compiler has answered
export const PENDING_STEP = 256; // the run loop wants control after one instruction

// ACTIVITY values
export const ACTIVITY_RUNNING = 0;
export const ACTIVITY_HALTED = 1;
export const ACTIVITY_WAIT_FOR_SIPI = 2;
export const ACTIVITY_SHUTDOWN = 3;

// CODE_MODE bits
export const MODE_16 = 0;
export const MODE_32 = 1;
export const MODE_64 = 2;
export const MODE_CODE_MASK = 3;
/** SS.B: the stack address size is 32 bits (ignored in 64-bit mode). */
export const MODE_STACK32 = 4;
/** One instruction a block: single step, interrupt shadow. */
export const MODE_SINGLE = 8;
/** Some data segment has a base or a limit: legacy operands are checked. Clear means flat. */
export const MODE_SEGMENTED = 16;

// Values that handlers and helpers return to the run loop.
export const EXIT_NONE = 0; // go on with the next record
export const EXIT_LOOKUP = 1; // RIP is set: find the block there
export const EXIT_PENDING = 2; // RIP is set; PENDING is not zero
export const EXIT_EXCEPTION = 3; // EXCEPTION_* is set, RIP is the faulting instruction's
export const EXIT_HALT = 4; // HLT retired
export const EXIT_BRANCH = 5; // a helper changed RIP or the mode: recompute everything
export const EXIT_SHUTDOWN = 6; // triple fault
export const EXIT_HOT = 7; // a block's heat counter ran out; RIP is the block's
export const EXIT_DROPPED = 8; // the block was dropped while it ran, or before; RIP is set: find the block there
export const EXIT_REPEAT = 9; // RIP is that of a repeated string instruction that is not done
export const EXIT_KINDS = 10;
