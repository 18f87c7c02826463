// The interrupt wire of a machine on KVM: KVM_SIGNAL_MSI and kicks from whatever thread has something to say. A device's
// message goes from its worker to the guest's LAPIC in one system call: no vCPU, no kernel thread, no routing table.

import type { InterruptWire, KvmLink } from '#shared/x86/host-interrupts.js';
import { requireAddon } from './addon.js';

export function connectKvm(link: KvmLink): InterruptWire {
  const addon = requireAddon();
  const { vmFd, vcpus } = link;
  return {
    sendMsi: (addressLow, addressHigh, data) => addon.signalMsi(vmFd, addressLow, addressHigh, data),
    kick: (vcpu) => void addon.kickVcpu(vcpus[vcpu]!.handle),
  };
}
