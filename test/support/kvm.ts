// Whether this host has a KVM that tests can use, and small virtual machines over a memory of their own.
import { readdirSync, readlinkSync } from 'node:fs';
import { isKvmError, loadAddon } from '#native/addon.js';
import * as K from '#native/kvm-constants.js';
import { KvmSystem } from '#native/kvm-system.js';
import type { KvmVcpu } from '#native/kvm-vcpu.js';
import type { KvmVm } from '#native/kvm-vm.js';

/** Why KVM tests cannot run here, or undefined. */
export function missingKvm(): string | undefined {
  const result = loadAddon();
  if ('missing' in result) return result.missing;
  try {
    KvmSystem.open().close();
    return undefined;
  } catch (error) {
    return isKvmError(error) ? `/dev/kvm: ${error.code}` : String(error);
  }
}

/** Descriptors of this process that lead to KVM: the device, machines and vCPUs. */
export function kvmDescriptors(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return links.filter((link) => /^(\/dev\/kvm|anon_inode:\[?kvm)/.test(link)).length;
}

const PAGE = 4096;
const RUN_BYTES = 4 * PAGE;
const RUN_OFFSET = PAGE;
const RAM_OFFSET = 0x1_0000;

/** A VM of one vCPU without interrupt controllers: real mode at guest-physical 0, `ramBytes` of memory. */
export interface RealModeVm {
  readonly system: KvmSystem;
  readonly vm: KvmVm;
  readonly vcpu: KvmVcpu;
  readonly memory: WebAssembly.Memory;
  readonly ram: Uint8Array;
  /** The kvm_run page. */
  readonly run: DataView;
  close(): void;
}

export function createRealModeVm(code: readonly number[], ramBytes = 0x1_0000): RealModeVm {
  const pages = (RAM_OFFSET + ramBytes) / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const system = KvmSystem.open();
  const vm = system.createVm();
  const ram = new Uint8Array(memory.buffer, RAM_OFFSET, ramBytes);
  ram.set(code);
  vm.setMemory(memory, { slot: 0, guestAddress: 0, region: { offset: RAM_OFFSET, bytes: ramBytes } });
  const vcpu = vm.createVcpu(0, memory, { offset: RUN_OFFSET, bytes: RUN_BYTES });
  const sregs = vcpu.get('sregs');
  sregs.setBigUint64(0, 0n, true); // CS base
  sregs.setUint16(12, 0, true); // CS selector
  vcpu.set('sregs', sregs);
  const regs = vcpu.get('regs');
  regs.setBigUint64(16 * 8, 0n, true); // RIP
  regs.setBigUint64(17 * 8, 2n, true);
  vcpu.set('regs', regs);
  return {
    system,
    vm,
    vcpu,
    memory,
    ram,
    run: new DataView(memory.buffer, RUN_OFFSET, RUN_BYTES),
    close: () => {
      vm.close();
      system.close();
    },
  };
}

/** The datum of a KVM_EXIT_IO, u8. */
export function exitDatum(run: DataView): number {
  return run.getUint8(Number(run.getBigUint64(K.RUN_EXIT + 8, true)));
}
