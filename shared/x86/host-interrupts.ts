// How a machine whose LAPICs are the host kernel's (the KVM engine) is reached by its threads: the numbers that name the
// virtual machine in this process, and the wire that interrupts take instead of the LAPIC pages of the arena.

/** Plain JSON; goes to every actor in its seed. The kernel's thread owns what the numbers name. */
export interface KvmLink {
  /** The VM's file descriptor. */
  readonly vmFd: number;
  /** By vCPU index: its file descriptor, and the addon's handle to run and kick it. */
  readonly vcpus: readonly { readonly fd: number; readonly handle: number }[];
}

export interface InterruptWire {
  /** Sends an interrupt message as a PCI device would; whether some LAPIC took it. Callable from any thread. */
  sendMsi(addressLow: number, addressHigh: number, data: number): boolean;
  /** Ends a vCPU's KVM_RUN, so that it looks at its PENDING word. */
  kick(vcpu: number): void;
}
