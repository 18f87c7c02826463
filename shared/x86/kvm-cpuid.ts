// CPUID of a vCPU under KVM: the machine's model (cpuid.ts) as far as KVM supports it, with three differences. The vendor and
// the model number are the host's, with what it says about speculation: this processor speculates, and a guest that
// believes in the model's in-order part would leave out what protects it. Rates are those of the guest's TSC as KVM runs it.
// Linux Documentation/virt/kvm/x86/cpuid.rst, api.rst (KVM_GET_SUPPORTED_CPUID).

import { cpuidLeaf, type CpuidContext, type CpuidResult } from '#shared/x86/cpuid.js';

/** What KVM_GET_SUPPORTED_CPUID gives: registers by leaf and subleaf. */
export type SupportedCpuid = (leaf: number, subleaf: number) => CpuidResult | undefined;

/** A row of the table that KVM takes. `indexed`: the subleaf matters. */
export interface CpuidRow {
  readonly leaf: number;
  readonly subleaf: number;
  readonly indexed: boolean;
  readonly registers: CpuidResult;
}

const LEAVES: readonly (readonly [leaf: number, subleaves: number])[] = [
  ...[0x0, 0x1, 0x2].map((leaf) => [leaf, 1] as const),
  [0x4, 5],
  ...[0x5, 0x6].map((leaf) => [leaf, 1] as const),
  [0x7, 1],
  [0xb, 3],
  ...[0x15, 0x16].map((leaf) => [leaf, 1] as const),
  ...[0x4000_0000, 0x4000_0001, 0x4000_0010].map((leaf) => [leaf, 1] as const),
  ...Array.from({ length: 9 }, (_, i) => [0x8000_0000 + i, 1] as const),
];
const INDEXED = [0x4, 0x7, 0xb];

const bits = (...positions: number[]): number => positions.reduce((all, bit) => all | (1 << bit), 0);

// What KVM provides whatever KVM_GET_SUPPORTED_CPUID says: x2APIC, TSC-deadline (its own capability), HYPERVISOR.
const LEAF1_ECX_ALWAYS = bits(21, 24, 31);
// APIC follows IA32_APIC_BASE; HTT is topology.
const LEAF1_EDX_ALWAYS = bits(9, 28);
// MD_CLEAR, IBRS and IBPB, STIBP, L1D_FLUSH, ARCH_CAPABILITIES, SSBD.
const LEAF7_EDX_SPECULATION = bits(10, 26, 27, 28, 29, 31);
// AMD: IBPB, IBRS, STIBP, their always-on and preferred forms, SSBD, VIRT_SSBD, SSB_NO.
const EXT8_EBX_SPECULATION = bits(12, 14, 15, 16, 17, 18, 19, 24, 25, 26);
const INVARIANT_TSC = bits(8);
const KVM_FEATURE_CLOCKSOURCE_STABLE_BIT = bits(24);

/** The LAPIC timer's clock under KVM, Hz. */
const KVM_APIC_BUS_HZ = 1_000_000_000;

export function composeCpuid(supported: SupportedCpuid, context: CpuidContext, tscKhz: number): CpuidRow[] {
  return LEAVES.flatMap(([leaf, subleaves]) =>
    Array.from({ length: subleaves }, (_, subleaf): CpuidRow => ({
      leaf,
      subleaf,
      indexed: INDEXED.includes(leaf),
      registers: composeLeaf(leaf, subleaf, supported, context, tscKhz),
    })),
  );
}

function composeLeaf(
  leaf: number,
  subleaf: number,
  supported: SupportedCpuid,
  context: CpuidContext,
  tscKhz: number,
): CpuidResult {
  const [a, b, c, d] = cpuidLeaf(leaf, subleaf, context);
  const host = supported(leaf, subleaf) ?? [0, 0, 0, 0];
  switch (leaf) {
    case 0x0:
      return [a, host[1], host[2], host[3]];
    case 0x1:
      return [host[0], b, c & (host[2] | LEAF1_ECX_ALWAYS), d & (host[3] | LEAF1_EDX_ALWAYS)];
    case 0x7:
      return [0, b & host[1], c & host[2], (d & host[3]) | (host[3] & LEAF7_EDX_SPECULATION)];
    case 0x15:
      return [KVM_APIC_BUS_HZ / 1000, tscKhz, KVM_APIC_BUS_HZ, 0];
    case 0x16:
      return [Math.round(tscKhz / 1000), Math.round(tscKhz / 1000), 100, 0];
    case 0x4000_0001:
      return [a & (host[0] | KVM_FEATURE_CLOCKSOURCE_STABLE_BIT), 0, 0, 0];
    case 0x4000_0010:
      return [tscKhz, KVM_APIC_BUS_HZ / 1000, 0, 0];
    case 0x8000_0001:
      return [host[0], 0, c & host[2], d & host[3]];
    case 0x8000_0007:
      return [0, 0, 0, d & host[3] & INVARIANT_TSC];
    case 0x8000_0008:
      return [physicalBits(a, host[0]), host[1] & EXT8_EBX_SPECULATION, 0, 0];
    default:
      return [a, b, c, d];
  }
}

/** The lesser number of physical address bits: the model's, or the host's. */
function physicalBits(model: number, host: number): number {
  const hostBits = host & 0xff;
  return hostBits === 0 ? model : (model & ~0xff) | Math.min(model & 0xff, hostBits);
}
