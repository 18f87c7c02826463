// The virtual machine of KVM behind a Machine: made by the kernel's thread before any actor lives, closed when the last one
// has gone. Its workers know it by numbers (KvmLink).

import { KvmSystem } from '#native/kvm-system.js';
import type { KvmVm } from '#native/kvm-vm.js';
import * as K from '#native/kvm-constants.js';
import { IOAPIC_PINS } from '#shared/acpi/platform.js';
import { TroupeError } from '#shared/base/error.js';
import { HIGH_RAM_START } from '#shared/memory/guest-memory.js';
import type { MachineLayout } from '#shared/memory/machine-layout.js';
import { TSC_HZ } from '#shared/x86/cpuid.js';
import type { KvmLink } from '#shared/x86/host-interrupts.js';
import { isKvmError } from '#native/addon.js';

export interface KvmMachine {
  readonly link: KvmLink;
  /** Takes a vCPU out of KVM_RUN. */
  kick(vcpu: number): void;
  /** No thread runs a vCPU or sends a message any more. */
  close(): void;
}

/** kvm_run's pages in the arena; see arena-plan.ts. */
const RUN_PAGES_BYTES = 3 * 4096;
/** Where an Intel processor without unrestricted guests keeps what it needs for real mode: in the hole below 4 GiB. */
const IDENTITY_MAP_ADDRESS = 0xfffb_c000;
const TSS_ADDRESS = 0xfffb_d000;

/** Throws TroupeError `kvm-unavailable`; nothing is left open then. */
export function openKvmMachine(memory: WebAssembly.Memory, layout: MachineLayout): KvmMachine {
  let vm: KvmVm | undefined;
  try {
    const system = KvmSystem.open();
    try {
      vm = system.createVm();
      setUp(system, vm, memory, layout);
    } finally {
      system.close();
    }
    return describe(vm);
  } catch (cause) {
    vm?.close();
    if (!isKvmError(cause)) throw cause;
    throw new TroupeError('kvm-unavailable', `KVM refused the machine: ${cause.message}`, cause.hint, {
      cause,
    });
  }
}

function setUp(system: KvmSystem, vm: KvmVm, memory: WebAssembly.Memory, layout: MachineLayout): void {
  const { addon } = vm;
  addon.setTssAddress(vm.fd, TSS_ADDRESS);
  addon.setIdentityMapAddress(vm.fd, IDENTITY_MAP_ADDRESS);
  vm.splitIrqchip(IOAPIC_PINS);
  const { ramOffset, lowBytes, highBytes } = layout.ram;
  vm.setMemory(memory, { slot: 0, guestAddress: 0, region: { offset: ramOffset, bytes: lowBytes } });
  if (highBytes > 0) {
    const region = { offset: ramOffset + lowBytes, bytes: highBytes };
    vm.setMemory(memory, { slot: 1, guestAddress: HIGH_RAM_START, region });
  }
  // Where the processor can scale it, the guest's TSC runs at the rate that it has under the wasm engine.
  const scales = system.capability(K.KVM_CAP_TSC_CONTROL) > 0;
  layout.vcpus.forEach(({ kvmRun }, index) => {
    if (kvmRun === undefined) throw new Error('the arena was not planned for KVM');
    const vcpu = vm.createVcpu(index, memory, { offset: kvmRun.offset, bytes: RUN_PAGES_BYTES });
    if (scales) addon.setTscKhz(vcpu.fd, TSC_HZ / 1000);
  });
}

function describe(vm: KvmVm): KvmMachine {
  const link = { vmFd: vm.fd, vcpus: vm.vcpus.map(({ fd, handle }) => ({ fd, handle })) };
  return {
    link,
    kick: (vcpu) => void vm.vcpus[vcpu]!.kick(),
    close: () => vm.close(),
  };
}
