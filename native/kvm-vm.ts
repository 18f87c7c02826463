// One virtual machine of KVM and all that hangs on it: the arena whose pages are its memory, its vCPUs, its event
// descriptors. close() ends them in the right order; nothing of the VM is left then, although the arena lives on.

import type { Region } from '#shared/base/region.js';
import type { Addon, OwnedFd } from './addon.js';
import * as K from './kvm-constants.js';
import { KvmVcpu } from './kvm-vcpu.js';

export interface MemorySlot {
  readonly slot: number;
  readonly guestAddress: number;
  readonly region: Region;
}

export class KvmVm {
  readonly addon: Addon;
  readonly vcpus: KvmVcpu[] = [];
  readonly #fd: OwnedFd;
  readonly #runBytes: number;
  /** Slots in use, and the arenas whose addresses the kernel holds: they must outlive the VM. */
  readonly #slots = new Map<number, { readonly memory: WebAssembly.Memory; readonly slot: MemorySlot }>();
  readonly #eventfds: OwnedFd[] = [];

  /** `runBytes`: of a vCPU's mapping. */
  constructor(addon: Addon, fd: OwnedFd, runBytes: number) {
    this.addon = addon;
    this.#fd = fd;
    this.#runBytes = runBytes;
  }

  /** The descriptor's number, for other threads of this process; −1 after close(). */
  get fd(): number {
    return this.#fd.fd;
  }

  capability(number: number): number {
    return this.addon.checkExtension(this.fd, number);
  }

  enable(capability: number, ...values: number[]): void {
    this.addon.enableCapability(this.fd, capability, ...values);
  }

  /** `flags`: KVM_MEM_*. A slot may be set again with other flags. */
  setMemory(memory: WebAssembly.Memory, slot: MemorySlot, flags = 0): void {
    const { offset, bytes } = slot.region;
    const region = new Uint8Array(memory.buffer, offset, bytes);
    this.addon.setMemory(this.fd, slot.slot, flags, slot.guestAddress, region);
    this.#slots.set(slot.slot, { memory, slot });
  }

  deleteMemory(slot: number): void {
    this.addon.setMemory(this.fd, slot, 0, 0, new Uint8Array(0));
    this.#slots.delete(slot);
  }

  /** LAPICs in the kernel, IOAPIC (of `pins`) and 8259 in user space. */
  splitIrqchip(pins: number): void {
    this.enable(K.KVM_CAP_SPLIT_IRQCHIP, pins);
  }

  /** A bit a page of the slot that was written since the last call; the length is a multiple of 8 bytes. */
  readDirtyLog(slot: number): Uint8Array {
    const pages = this.#slotPages(slot);
    const bitmap = new Uint8Array(Math.ceil(pages / 64) * 8);
    this.addon.dirtyLog(this.fd, slot, bitmap);
    return bitmap;
  }

  /** With KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: the pages of `bitmap` are watched again. */
  clearDirtyLog(slot: number, bitmap: Uint8Array): void {
    this.addon.clearDirtyLog(this.fd, slot, 0, this.#slotPages(slot), bitmap);
  }

  createEventfd(): OwnedFd {
    const fd = this.addon.createEventfd();
    this.#eventfds.push(fd);
    return fd;
  }

  /** `run`: whole pages of the arena for the vCPU's kvm_run. */
  createVcpu(id: number, memory: WebAssembly.Memory, run: Region): KvmVcpu {
    const fd = this.addon.createVcpu(this.fd, id);
    try {
      const vcpu = new KvmVcpu(this.addon, fd, memory, run, this.#runBytes);
      this.vcpus.push(vcpu);
      return vcpu;
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** No thread runs a vCPU of it any more. May be called more than once. */
  close(): void {
    for (const vcpu of this.vcpus) vcpu.close();
    for (const fd of this.#eventfds) fd.close();
    this.#fd.close();
    this.#slots.clear();
  }

  #slotPages(slot: number): number {
    const known = this.#slots.get(slot);
    if (known === undefined) throw new Error(`there is no memory slot ${slot}`);
    return known.slot.region.bytes / 4096;
  }
}
