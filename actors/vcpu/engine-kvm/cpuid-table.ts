// Hands a vCPU its CPUID: struct kvm_cpuid2 of the rows that shared/x86/kvm-cpuid.ts composes.

import type { Addon } from '#native/addon.js';
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '#native/kvm-constants.js';
import { KvmSystem, type CpuidEntry } from '#native/kvm-system.js';
import type { CpuidContext, CpuidResult } from '#shared/x86/cpuid.js';
import { composeCpuid } from '#shared/x86/kvm-cpuid.js';

const HEADER_BYTES = 8;
const ENTRY_BYTES = 40;

function readSupported(): CpuidEntry[] {
  const system = KvmSystem.open();
  try {
    return system.supportedCpuid();
  } finally {
    system.close();
  }
}

export function setCpuid(addon: Addon, vcpuFd: number, context: CpuidContext, tscKhz: number): void {
  const entries = readSupported();
  const supported = (leaf: number, subleaf: number): CpuidResult | undefined =>
    entries.find(
      (e) => e.leaf === leaf && (e.subleaf === subleaf || (e.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) === 0),
    )?.registers;
  const rows = composeCpuid(supported, context, tscKhz);
  const list = new DataView(new ArrayBuffer(HEADER_BYTES + rows.length * ENTRY_BYTES));
  list.setUint32(0, rows.length, true);
  rows.forEach(({ leaf, subleaf, indexed, registers }, i) => {
    const at = HEADER_BYTES + i * ENTRY_BYTES;
    list.setUint32(at, leaf, true);
    list.setUint32(at + 4, subleaf, true);
    list.setUint32(at + 8, indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0, true);
    registers.forEach((value, register) => list.setUint32(at + 12 + register * 4, value >>> 0, true));
  });
  addon.setState(vcpuFd, 'cpuid2', new Uint8Array(list.buffer));
}
