// Tells a KVM that runs guests' kernel code on the processor from one that emulates it (a PVM, or KVM without hardware
// underneath): POPCNT in 64-bit mode at privilege 0 is something that every processor of x86-64-v2 does and that KVM's
// instruction emulator does not know. A few milliseconds, once a process.

import * as K from '#native/kvm-constants.js';
import { KvmSystem } from '#native/kvm-system.js';
import type { KvmVcpu } from '#native/kvm-vcpu.js';
import type { KvmVm } from '#native/kvm-vm.js';

const PAGE = 4096;
const RUN_OFFSET = PAGE;
const RAM_OFFSET = 0x1_0000;
const RAM_BYTES = 0x1_0000;
const WASM_PAGES = 2;
const CODE = 0x1000;
const PML4 = 0x2000;
const PDPT = 0x3000;
const DIRECTORY = 0x4000;
const PORT = 0x10;

// mov ebx,0xf0f0f; popcnt eax,ebx; out 0x10,al; hlt
const PROGRAM = [0xbb, 0x0f, 0x0f, 0x0f, 0x00, 0xf3, 0x0f, 0xb8, 0xc3, 0xe6, PORT, 0xf4];
const ONES = 12;
const MAX_RUNS = 10;

/** Throws KvmError when a virtual machine cannot even be made. */
export function probePrivilegedExecution(): boolean {
  const memory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES, shared: true });
  const system = KvmSystem.open();
  let vm: KvmVm | undefined;
  try {
    vm = system.createVm();
    vm.addon.setTssAddress(vm.fd, 0xfffb_d000);
    const ram = new DataView(memory.buffer, RAM_OFFSET, RAM_BYTES);
    PROGRAM.forEach((byte, i) => ram.setUint8(CODE + i, byte));
    ram.setBigUint64(PML4, BigInt(PDPT | 3), true);
    ram.setBigUint64(PDPT, BigInt(DIRECTORY | 3), true);
    ram.setBigUint64(DIRECTORY, 0x83n, true); // 2 MiB, of which the first 64 KiB are memory
    vm.setMemory(memory, { slot: 0, guestAddress: 0, region: { offset: RAM_OFFSET, bytes: RAM_BYTES } });
    const vcpu = vm.createVcpu(0, memory, { offset: RUN_OFFSET, bytes: 3 * PAGE });
    enterLongMode(vcpu);
    const view = new DataView(memory.buffer, RUN_OFFSET, 3 * PAGE);
    for (let runs = 0; runs < MAX_RUNS; runs++) {
      const reason = vcpu.run();
      if (reason < 0) continue;
      return reason === K.KVM_EXIT_IO && readPortDatum(view) === ONES;
    }
    return false;
  } finally {
    vm?.close();
    system.close();
  }
}

function readPortDatum(run: DataView): number {
  return run.getUint8(Number(run.getBigUint64(K.RUN_EXIT + 8, true)));
}

function enterLongMode(vcpu: KvmVcpu): void {
  const sregs = vcpu.get('sregs');
  const segment = (at: number, type: number, long: number): void => {
    sregs.setBigUint64(at, 0n, true);
    sregs.setUint32(at + 8, 0xffff_ffff, true);
    sregs.setUint16(at + 12, type === 11 ? 8 : 16, true);
    // type, present, DPL, D/B, S, L, G, AVL, unusable
    [type, 1, 0, long ^ 1, 1, long, 1, 0, 0].forEach((value, i) => sregs.setUint8(at + 14 + i, value));
  };
  segment(0, 11, 1);
  for (const at of [24, 48, 72, 96, 120]) segment(at, 3, 0);
  sregs.setBigUint64(224, 0x8001_0031n, true); // CR0: PG, WP, NE, ET, PE
  sregs.setBigUint64(240, BigInt(PML4), true);
  sregs.setBigUint64(248, 0x20n, true); // CR4.PAE
  sregs.setBigUint64(264, 0x500n, true); // EFER: LMA, LME
  vcpu.set('sregs', sregs);
  const regs = vcpu.get('regs');
  regs.setBigUint64(128, BigInt(CODE), true);
  regs.setBigUint64(136, 2n, true);
  vcpu.set('regs', regs);
}
