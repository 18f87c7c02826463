// /dev/kvm: what the host can do, and the source of virtual machines.

import { type Addon, type OwnedFd, requireAddon } from './addon.js';
import { KvmVm } from './kvm-vm.js';

export const KVM_DEVICE = '/dev/kvm';

/** One leaf of KVM_GET_SUPPORTED_CPUID. */
export interface CpuidEntry {
  readonly leaf: number;
  readonly subleaf: number;
  /** KVM_CPUID_FLAG_*. */
  readonly flags: number;
  /** EAX, EBX, ECX, EDX; u32. */
  readonly registers: readonly [number, number, number, number];
}

export class KvmSystem {
  readonly #addon: Addon;
  readonly #fd: OwnedFd;

  private constructor(addon: Addon, fd: OwnedFd) {
    this.#addon = addon;
    this.#fd = fd;
  }

  /** Throws KvmError (ENOENT, EACCES …), or an Error where there is no addon. */
  static open(path = KVM_DEVICE, addon: Addon = requireAddon()): KvmSystem {
    return new KvmSystem(addon, addon.openDevice(path));
  }

  get apiVersion(): number {
    return this.#addon.apiVersion(this.#fd.fd);
  }

  /** Bytes of a vCPU's kvm_run mapping. */
  get runBytes(): number {
    return this.#addon.vcpuMmapSize(this.#fd.fd);
  }

  /** 0 when there is no such capability. */
  capability(number: number): number {
    return this.#addon.checkExtension(this.#fd.fd, number);
  }

  supportedCpuid(): CpuidEntry[] {
    const words = this.#addon.supportedCpuid(this.#fd.fd);
    return Array.from({ length: words.length / 7 }, (_, i): CpuidEntry => {
      const [leaf, subleaf, flags, eax, ebx, ecx, edx] = words.subarray(i * 7, i * 7 + 7);
      return { leaf: leaf!, subleaf: subleaf!, flags: flags!, registers: [eax!, ebx!, ecx!, edx!] };
    });
  }

  /** The MSRs that are state of a vCPU; with `features`, those that tell of the host. */
  msrIndices(features = false): Uint32Array {
    return this.#addon.msrIndexList(this.#fd.fd, features);
  }

  createVm(): KvmVm {
    return new KvmVm(this.#addon, this.#addon.createVm(this.#fd.fd), this.runBytes);
  }

  close(): void {
    this.#fd.close();
  }
}
