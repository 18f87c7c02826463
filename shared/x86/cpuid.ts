// CPUID of the virtual CPU: x86-64-v2 without XSAVE. Intel SDM vol. 2A "CPUID", and the KVM leaves at 0x40000000
// (Linux Documentation/virt/kvm/x86/cpuid.rst). Family 6 model 1Ch is an in-order part that does not speculate: an operating
// system that goes by the model leaves out retpolines and flushes, which would protect nothing here and cost
// much; others find the same in IA32_ARCH_CAPABILITIES. What is not implemented is not announced.

/** What differs between vCPUs and over time. */
export interface CpuidContext {
  readonly apicId: number;
  readonly vcpuCount: number;
  /** IA32_APIC_BASE's global enable: leaf 1's APIC flag follows it. */
  readonly apicEnabled: boolean;
}

/** EAX, EBX, ECX, EDX; i32 or u32. */
export type CpuidResult = readonly [eax: number, ebx: number, ecx: number, edx: number];

export const TSC_HZ = 1_000_000_000;
/** The LAPIC timer's input clock. */
export const APIC_BUS_HZ = 1_000_000_000;
export const PHYSICAL_ADDRESS_BITS = 40;
const LINEAR_ADDRESS_BITS = 48;

const MAX_BASIC_LEAF = 0x16;
const MAX_HYPERVISOR_LEAF = 0x4000_0010;
const MAX_EXTENDED_LEAF = 0x8000_0008;
/** Family 6, model 1Ch, stepping 10 (earlier steppings have a PSE erratum that Linux looks for). */
const SIGNATURE = 0x0001_06ca;
const BRAND = 'Troupe Virtual CPU'.padEnd(48, '\0');
const CACHE_LINE_BYTES = 64;
const ZERO: CpuidResult = [0, 0, 0, 0];

const bits = (...positions: number[]): number => positions.reduce((all, bit) => all | (1 << bit), 0);

// SSE3 SSSE3 CX16 SSE4.1 SSE4.2 x2APIC POPCNT TSC-deadline HYPERVISOR
const LEAF1_ECX = bits(0, 9, 13, 19, 20, 21, 23, 24, 31);
// FPU DE PSE TSC MSR PAE MCE CX8 SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2
const LEAF1_EDX = bits(0, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26);
const LEAF1_EDX_APIC = bits(9);
const LEAF1_EDX_HTT = bits(28);
// TSC_ADJUST, FDP kept for exceptions only, SMEP ERMS, FCS and FDS deprecated, SMAP
const LEAF7_EBX = bits(1, 6, 7, 9, 13, 20);
// FSRM ARCH_CAPABILITIES
const LEAF7_EDX = bits(4, 29);
// LAHF
const EXT1_ECX = bits(0);
// SYSCALL NX PDPE1GB RDTSCP LM
const EXT1_EDX = bits(11, 20, 26, 27, 29);
// KVM_FEATURE_NOP_IO_DELAY KVM_FEATURE_CLOCKSOURCE2 KVM_FEATURE_CLOCKSOURCE_STABLE_BIT
const KVM_FEATURES = bits(1, 3, 24);

/** One leaf. A leaf beyond the last basic one reads as the last, as the SDM has it for Intel parts. */
export function cpuidLeaf(leaf: number, subleaf: number, context: CpuidContext): CpuidResult {
  const index = leaf >>> 0;
  if (index >= 0x4000_0000 && index <= 0x4fff_ffff) return hypervisorLeaf(index);
  if (index >= 0x8000_0000 && index <= MAX_EXTENDED_LEAF) return extendedLeaf(index);
  return basicLeaf(Math.min(index, MAX_BASIC_LEAF), subleaf >>> 0, context);
}

function basicLeaf(leaf: number, subleaf: number, context: CpuidContext): CpuidResult {
  switch (leaf) {
    case 0x0:
      return [MAX_BASIC_LEAF, text('Genu'), text('ntel'), text('ineI')];
    case 0x1:
      return versionLeaf(context);
    case 0x2:
      // TLB descriptors of a four-level part; FFh sends the reader to leaf 4 for caches.
      return [0x5503_5a01, 0x00f0_b2ff, 0, 0x00ca_0000];
    case 0x4:
      return cacheLeaf(subleaf, context);
    case 0x6:
      return [bits(2), 0, 0, 0]; // ARAT: the LAPIC timer never stops
    case 0x7:
      return subleaf === 0 ? [0, LEAF7_EBX, 0, LEAF7_EDX] : ZERO;
    case 0xb:
      return topologyLeaf(subleaf, context);
    case 0x15:
      return [1, TSC_HZ / APIC_BUS_HZ, APIC_BUS_HZ, 0];
    case 0x16:
      return [TSC_HZ / 1e6, TSC_HZ / 1e6, 100, 0];
    default:
      return ZERO;
  }
}

function versionLeaf(context: CpuidContext): CpuidResult {
  const { apicId, vcpuCount, apicEnabled } = context;
  const logical = Math.min(1 << coreIdBits(vcpuCount), 255);
  const ebx = ((CACHE_LINE_BYTES / 8) << 8) | (logical << 16) | (apicId << 24);
  const apic = apicEnabled ? LEAF1_EDX_APIC : 0;
  const htt = vcpuCount > 1 ? LEAF1_EDX_HTT : 0;
  return [SIGNATURE, ebx, LEAF1_ECX, LEAF1_EDX | apic | htt];
}

const CACHE_DATA = 1;
const CACHE_INSTRUCTION = 2;
const CACHE_UNIFIED = 3;

/** L1 data and instruction, L2, and an L3 that all cores share. */
function cacheLeaf(subleaf: number, context: CpuidContext): CpuidResult {
  switch (subleaf) {
    case 0:
      return cache(CACHE_DATA, 1, 32 * 1024, 8, 0, context);
    case 1:
      return cache(CACHE_INSTRUCTION, 1, 32 * 1024, 8, 0, context);
    case 2:
      return cache(CACHE_UNIFIED, 2, 256 * 1024, 8, 0, context);
    case 3:
      return cache(CACHE_UNIFIED, 3, 8 * 1024 * 1024, 16, coreIdBits(context.vcpuCount), context);
    default:
      return ZERO;
  }
}

function cache(
  type: number,
  level: number,
  bytes: number,
  ways: number,
  sharingBits: number,
  context: CpuidContext,
): CpuidResult {
  const cores = Math.min(1 << coreIdBits(context.vcpuCount), 64);
  const selfInitializing = 1 << 8;
  const eax = type | (level << 5) | selfInitializing | (((1 << sharingBits) - 1) << 14) | ((cores - 1) << 26);
  const ebx = (CACHE_LINE_BYTES - 1) | ((ways - 1) << 22);
  return [eax, ebx, bytes / ways / CACHE_LINE_BYTES - 1, 0];
}

/** One thread a core, all cores in one package. */
function topologyLeaf(subleaf: number, context: CpuidContext): CpuidResult {
  if (subleaf === 0) return [0, 1, 1 << 8, context.apicId];
  if (subleaf === 1) return [coreIdBits(context.vcpuCount), context.vcpuCount, 1 | (2 << 8), context.apicId];
  return [0, 0, subleaf & 0xff, context.apicId];
}

function hypervisorLeaf(leaf: number): CpuidResult {
  switch (leaf) {
    case 0x4000_0000:
      return [MAX_HYPERVISOR_LEAF, text('KVMK'), text('VMKV'), text('M\0\0\0')];
    case 0x4000_0001:
      return [KVM_FEATURES, 0, 0, 0];
    case MAX_HYPERVISOR_LEAF:
      return [TSC_HZ / 1000, APIC_BUS_HZ / 1000, 0, 0];
    default:
      return ZERO;
  }
}

function extendedLeaf(leaf: number): CpuidResult {
  switch (leaf) {
    case 0x8000_0000:
      return [MAX_EXTENDED_LEAF, 0, 0, 0];
    case 0x8000_0001:
      return [0, 0, EXT1_ECX, EXT1_EDX];
    case 0x8000_0002:
    case 0x8000_0003:
    case 0x8000_0004: {
      const at = (leaf - 0x8000_0002) * 16;
      const word = (i: number): number => text(BRAND.slice(at + i * 4, at + i * 4 + 4));
      return [word(0), word(1), word(2), word(3)];
    }
    case 0x8000_0006:
      return [0, 0, (256 << 16) | (6 << 12) | CACHE_LINE_BYTES, 0]; // L2: 256 KiB, 8 ways
    case 0x8000_0007:
      return [0, 0, 0, bits(8)]; // invariant TSC
    case 0x8000_0008:
      return [PHYSICAL_ADDRESS_BITS | (LINEAR_ADDRESS_BITS << 8), 0, 0, 0];
    default:
      return ZERO;
  }
}

/** Bits of an APIC id that number the cores. */
function coreIdBits(vcpuCount: number): number {
  return vcpuCount <= 1 ? 0 : 32 - Math.clz32(vcpuCount - 1);
}

/** Four characters as a little-endian u32. */
function text(characters: string): number {
  let word = 0;
  for (let i = 0; i < 4; i++) word |= characters.charCodeAt(i) << (8 * i);
  return word;
}
