// A virtual machine of one vCPU on KVM with nothing of Troupe's machine around it: guest.S in flat 32-bit code, a split irqchip, and
// pages for what threads share.
import { readFileSync } from 'node:fs';
import { setCpuid } from '#actors/vcpu/engine-kvm/cpuid-table.js';
import { KvmSystem } from '#native/kvm-system.js';
import type { KvmVcpu } from '#native/kvm-vcpu.js';
import type { KvmVm } from '#native/kvm-vm.js';
import { IOAPIC_PINS } from '#shared/acpi/platform.js';
import { ENTRY_OFFSET, LOAD_ADDRESS } from './programs.js';

const PAGE = 4096;
const WASM_PAGE = 65_536;
const RAM_BYTES = 16 << 20;
const TSS_ADDRESS = 0xfffb_d000;
/** A page for the threads, kvm_run's pages, then RAM. */
const RUN = { offset: PAGE, bytes: 3 * PAGE };
const RAM = { offset: WASM_PAGE, bytes: RAM_BYTES };
const CODE_SEGMENT = 11;
const DATA_SEGMENT = 3;

export interface BareVm {
  readonly vm: KvmVm;
  readonly vcpu: KvmVcpu;
  readonly memory: WebAssembly.Memory;
  /** Offset of the kvm_run page. */
  readonly run: number;
  close(): void;
}

export function openBareVm(image: string): BareVm {
  const pages = (RAM.offset + RAM.bytes) / WASM_PAGE;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  new Uint8Array(memory.buffer, RAM.offset + LOAD_ADDRESS).set(readFileSync(image));
  const system = KvmSystem.open();
  const vm = system.createVm();
  const close = (): void => {
    vm.close();
    system.close();
  };
  try {
    vm.addon.setTssAddress(vm.fd, TSS_ADDRESS);
    vm.splitIrqchip(IOAPIC_PINS);
    vm.setMemory(memory, { slot: 0, guestAddress: 0, region: RAM });
    const vcpu = vm.createVcpu(0, memory, RUN);
    const cpu = { apicId: 0, vcpuCount: 1, apicEnabled: true };
    setCpuid(vm.addon, vcpu.fd, cpu, vm.addon.tscKhz(vcpu.fd));
    enterFlat32(vcpu, new DataView(memory.buffer).getUint32(RAM.offset + LOAD_ADDRESS + ENTRY_OFFSET, true));
    return { vm, vcpu, memory, run: RUN.offset, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** struct kvm_sregs: six segments of 24 bytes from CS on, CR0 at 224. struct kvm_regs: RIP at 128, RFLAGS at 136. */
function enterFlat32(vcpu: KvmVcpu, entry: number): void {
  const sregs = vcpu.get('sregs');
  for (let at = 0; at < 6 * 24; at += 24) {
    const type = at === 0 ? CODE_SEGMENT : DATA_SEGMENT;
    sregs.setBigUint64(at, 0n, true);
    sregs.setUint32(at + 8, 0xffff_ffff, true);
    sregs.setUint16(at + 12, at === 0 ? 8 : 16, true);
    // type, present, DPL, D/B, S, L, G, AVL, unusable
    [type, 1, 0, 1, 1, 0, 1, 0, 0].forEach((value, i) => sregs.setUint8(at + 14 + i, value));
  }
  sregs.setBigUint64(224, sregs.getBigUint64(224, true) | 1n, true);
  vcpu.set('sregs', sregs);
  const regs = vcpu.get('regs');
  regs.setBigUint64(128, BigInt(entry), true);
  regs.setBigUint64(136, 2n, true);
  vcpu.set('regs', regs);
}
