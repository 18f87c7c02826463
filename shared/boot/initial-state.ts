// The register state in which a boot protocol hands the machine to a kernel: a plain value that the vCPU actor
// applies before its first run. Registers not named here are as after reset (general registers zero).
// Two shapes: 32-bit protected mode, flat, paging off (PVH, multiboot) and 64-bit long mode over identity page
// tables (Linux boot protocol). The GDT lies in guest RAM, so that a kernel that reloads a selector finds it.
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { BOOT_GDT, BOOT_PAGE_TABLES, BOOT_STACK_TOP } from './low-memory.js';

/** A segment register with its hidden part. */
export interface InitialSegment {
  readonly selector: number;
  readonly base: number;
  /** In bytes, granularity already applied: 0xffff_ffff for 4 GiB. */
  readonly limit: number;
  /** Descriptor bits 40–55: type 0–3, S 4, DPL 5–6, P 7, AVL 12, L 13, D/B 14, G 15. SDM vol. 3 §3.4.5. */
  readonly attributes: number;
}

/** GDTR or IDTR. */
export interface InitialTableRegister {
  readonly base: number;
  readonly limit: number;
}

/** What the boot vCPU starts with. All numbers are exact; 64-bit registers are below 2^53. */
export interface InitialCpuState {
  readonly mode: 'protected32' | 'long64';
  readonly rip: number;
  readonly rsp: number;
  readonly rax: number;
  readonly rbx: number;
  readonly rsi: number;
  readonly rflags: number;
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
  readonly cs: InitialSegment;
  readonly ds: InitialSegment;
  readonly es: InitialSegment;
  readonly fs: InitialSegment;
  readonly gs: InitialSegment;
  readonly ss: InitialSegment;
  readonly ldtr: InitialSegment;
  readonly tr: InitialSegment;
  readonly gdtr: InitialTableRegister;
  readonly idtr: InitialTableRegister;
}

/** Selectors of the Linux boot protocol (boot.rst, "64-bit boot protocol"); used for the 32-bit entries too. */
export const BOOT_CS = 0x10;
export const BOOT_DS = 0x18;
const BOOT_TSS = 0x20;

const CODE_64 = 0xa09b; // G L P S execute/read accessed
const CODE_32 = 0xc09b; // G D P S execute/read accessed
const DATA_32 = 0xc093; // G B P S read/write accessed
const TSS_BUSY = 0x008b; // P, 32-bit (or 64-bit) TSS, busy
const LDT = 0x0082;
const TSS_LIMIT = 0x67;
const FLAT_LIMIT = 0xffff_ffff;

const CR0_PE = 1;
const CR0_ET = 1 << 4;
const CR0_PG = 0x8000_0000;
const CR4_PAE = 1 << 5;
const EFER_LME = 1 << 8;
const EFER_LMA = 1 << 10;
const RFLAGS_FIXED = 2; // interrupts off

const PTE_P_RW = 0x3;
const PDE_P_RW_PS = 0x83;
const IDENTITY_GIB = 4;

/** Registers a protocol passes; the rest follows from the mode. */
export interface HandoverRegisters {
  readonly rip: number;
  readonly rax?: number;
  readonly rbx?: number;
  readonly rsi?: number;
}

/** 32-bit protected mode, flat segments, paging and interrupts off. Writes the GDT. */
export function enterProtected32(memory: GuestMemory, registers: HandoverRegisters): InitialCpuState {
  const limit = writeGdt(memory, CODE_32);
  const control = { cr0: CR0_PE + CR0_ET, cr3: 0, cr4: 0, efer: 0 };
  return { mode: 'protected32', ...common(registers, CODE_32, limit), ...control };
}

/** 64-bit mode with the first 4 GiB identity-mapped in 2 MiB pages. Writes the GDT and the page tables. */
export function enterLong64(memory: GuestMemory, registers: HandoverRegisters): InitialCpuState {
  const limit = writeGdt(memory, CODE_64);
  const cr3 = writeIdentityPageTables(memory);
  const control = { cr0: CR0_PG + CR0_PE + CR0_ET, cr3, cr4: CR4_PAE, efer: EFER_LME + EFER_LMA };
  return { mode: 'long64', ...common(registers, CODE_64, limit), ...control };
}

function common(registers: HandoverRegisters, codeAttributes: number, gdtLimit: number) {
  const data: InitialSegment = { selector: BOOT_DS, base: 0, limit: FLAT_LIMIT, attributes: DATA_32 };
  return {
    rip: registers.rip,
    rsp: BOOT_STACK_TOP,
    rax: registers.rax ?? 0,
    rbx: registers.rbx ?? 0,
    rsi: registers.rsi ?? 0,
    rflags: RFLAGS_FIXED,
    cs: { selector: BOOT_CS, base: 0, limit: FLAT_LIMIT, attributes: codeAttributes },
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    ldtr: { selector: 0, base: 0, limit: 0xffff, attributes: LDT },
    tr: { selector: BOOT_TSS, base: 0, limit: TSS_LIMIT, attributes: TSS_BUSY },
    gdtr: { base: BOOT_GDT, limit: gdtLimit },
    idtr: { base: 0, limit: 0 },
  };
}

/** Null, unused, code (0x10), data (0x18), TSS (0x20, 16 bytes in long mode). Returns the limit. */
function writeGdt(memory: GuestMemory, codeAttributes: number): number {
  const entries: readonly (readonly [number, number])[] = [
    [0, 0],
    [0, 0],
    descriptor(FLAT_LIMIT, codeAttributes),
    descriptor(FLAT_LIMIT, DATA_32),
    descriptor(TSS_LIMIT, TSS_BUSY),
    [0, 0],
  ];
  entries.forEach(([lo, hi], index) => memory.writeU64LoHi(BOOT_GDT + index * 8, lo, hi));
  return entries.length * 8 - 1;
}

/** A descriptor of base 0, in two halves. */
function descriptor(limitBytes: number, attributes: number): readonly [number, number] {
  const limit = (attributes & 0x8000) !== 0 ? limitBytes >>> 12 : limitBytes;
  return [limit & 0xffff, ((attributes << 8) | (limit & 0xf_0000)) >>> 0];
}

function writeIdentityPageTables(memory: GuestMemory): number {
  const pdpt = BOOT_PAGE_TABLES + 0x1000;
  memory.fill(BOOT_PAGE_TABLES, (2 + IDENTITY_GIB) * 0x1000, 0);
  memory.writeU64LoHi(BOOT_PAGE_TABLES, pdpt + PTE_P_RW, 0);
  for (let gib = 0; gib < IDENTITY_GIB; gib++) {
    const pageDirectory = pdpt + 0x1000 * (1 + gib);
    memory.writeU64LoHi(pdpt + gib * 8, pageDirectory + PTE_P_RW, 0);
    for (let entry = 0; entry < 512; entry++) {
      memory.writeU64LoHi(pageDirectory + entry * 8, (gib * 512 + entry) * 0x20_0000 + PDE_P_RW_PS, 0);
    }
  }
  return BOOT_PAGE_TABLES;
}
