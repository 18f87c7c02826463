// One vCPU of KVM: its descriptor and its kvm_run page, which is mapped over pages of the arena. The owner (the kernel's
// thread) makes and closes it; any thread may run or kick it by its handle.

import type { Region } from '#shared/base/region.js';
import type { Addon, OwnedFd, StateName } from './addon.js';
import * as K from './kvm-constants.js';

export class KvmVcpu {
  /** For {@link Addon.runVcpu} and {@link Addon.kickVcpu}, on any thread. */
  readonly handle: number;
  readonly #addon: Addon;
  readonly #fd: OwnedFd;
  /** The kvm_run page; holds the arena while the kernel's mapping lies in it. */
  readonly #run: Uint8Array;
  #ring: Uint8Array | undefined;
  #ringNext = 0;

  constructor(addon: Addon, fd: OwnedFd, memory: WebAssembly.Memory, run: Region, runBytes: number) {
    if (run.bytes < runBytes) throw new Error(`kvm_run needs ${runBytes} bytes, the arena has ${run.bytes}`);
    this.#addon = addon;
    this.#fd = fd;
    this.#run = new Uint8Array(memory.buffer, run.offset, runBytes);
    addon.mapOver(this.#run, fd.fd, 0);
    try {
      this.handle = addon.openVcpu(fd.fd, this.#run);
    } catch (error) {
      addon.unmapOver(this.#run); // it would keep the whole machine alive
      throw error;
    }
  }

  get fd(): number {
    return this.#fd.fd;
  }

  /** Until an exit: KVM_EXIT_*, or −1 after a kick. Blocks the thread. */
  run(): number {
    return this.#addon.runVcpu(this.handle);
  }

  /** From any thread. */
  kick(): boolean {
    return this.#addon.kickVcpu(this.handle);
  }

  /** A new buffer with the structure; lists are {@link Addon.getState}'s business. */
  get(name: Exclude<StateName, 'msrs' | 'cpuid2'>): DataView<ArrayBuffer> {
    const buffer = new Uint8Array(this.#addon.stateBytes(name));
    this.#addon.getState(this.fd, name, buffer);
    return new DataView(buffer.buffer);
  }

  set(name: StateName, value: DataView): void {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    this.#addon.setState(this.fd, name, bytes);
  }

  /** Maps the dirty ring over `region` of the arena (KVM_CAP_DIRTY_LOG_RING is on, with that many bytes). */
  mapDirtyRing(memory: WebAssembly.Memory, region: Region): void {
    this.#ring = new Uint8Array(memory.buffer, region.offset, region.bytes);
    this.#addon.mapOver(this.#ring, this.fd, K.KVM_DIRTY_LOG_PAGE_OFFSET * 4096);
  }

  /** Takes what stands in the ring: calls back with slot and page. The kernel reuses it after KVM_RESET_DIRTY_RINGS. */
  harvestDirtyRing(onPage: (slot: number, page: number) => void): number {
    const ring = this.#ring;
    if (ring === undefined) throw new Error('the vCPU has no dirty ring');
    const view = new DataView(ring.buffer, ring.byteOffset, ring.byteLength);
    const entries = ring.byteLength / K.KVM_DIRTY_GFN_BYTES;
    let count = 0;
    for (; count < entries; count++) {
      const at = (this.#ringNext % entries) * K.KVM_DIRTY_GFN_BYTES;
      if (view.getUint32(at, true) !== K.KVM_DIRTY_GFN_F_DIRTY) break;
      onPage(view.getUint32(at + 4, true), Number(view.getBigUint64(at + 8, true)));
      view.setUint32(at, K.KVM_DIRTY_GFN_F_RESET, true);
      this.#ringNext++;
    }
    return count;
  }

  /** Nobody runs it any more. The arena's pages are plain memory again. */
  close(): void {
    if (this.#fd.fd < 0) return;
    this.#addon.closeVcpu(this.handle);
    if (this.#ring !== undefined) this.#addon.unmapOver(this.#ring);
    this.#addon.unmapOver(this.#run);
    this.#fd.close();
  }
}
