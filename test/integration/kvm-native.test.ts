// The native addon against the host's KVM: exits through the mapped kvm_run page, kicks from other threads, dirty pages,
// messages, errors, and that closing gives everything back.
import { readSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isKvmError } from '#native/addon.js';
import * as K from '#native/kvm-constants.js';
import { KvmSystem } from '#native/kvm-system.js';
import { createRealModeVm, exitDatum, kvmDescriptors, missingKvm, type RealModeVm } from '../support/kvm.js';

const missing = missingKvm();
const open: { close(): void }[] = [];

function realMode(code: readonly number[], ramBytes?: number): RealModeVm {
  const vm = createRealModeVm(code, ramBytes);
  open.push(vm);
  return vm;
}

beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
});

afterEach(() => {
  for (const vm of open.splice(0)) vm.close();
});

// mov al,0x42; out 0x10,al; in al,0x11; mov [0x2000],al; hlt
const IO_PROGRAM = [0xb0, 0x42, 0xe6, 0x10, 0xe4, 0x11, 0xa2, 0x00, 0x20, 0xf4];
// jmp $
const ENDLESS = [0xeb, 0xfe];

describe('a vCPU', () => {
  test('exits for ports and HLT, and takes what the run page answers', () => {
    const { vcpu, run, ram } = realMode(IO_PROGRAM);
    expect(vcpu.run()).toBe(K.KVM_EXIT_IO);
    expect([run.getUint8(32), run.getUint8(33), run.getUint16(34, true)]).toEqual([1, 1, 0x10]);
    expect(exitDatum(run)).toBe(0x42);
    expect(vcpu.run()).toBe(K.KVM_EXIT_IO);
    expect([run.getUint8(32), run.getUint16(34, true)]).toEqual([0, 0x11]);
    run.setUint8(Number(run.getBigUint64(40, true)), 0x99);
    expect(vcpu.run()).toBe(K.KVM_EXIT_HLT);
    expect(ram[0x2000]).toBe(0x99);
  });

  test('exits for MMIO with address, length and data', () => {
    // mov ax,0xf000; mov ds,ax; mov word [0x1234],0xbeef; hlt — 0xf1234 is not RAM
    const code = [0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0xc7, 0x06, 0x34, 0x12, 0xef, 0xbe, 0xf4];
    const { vcpu, run } = realMode(code);
    expect(vcpu.run()).toBe(K.KVM_EXIT_MMIO);
    expect(run.getBigUint64(32, true)).toBe(0xf1234n);
    expect([run.getUint32(48, true), run.getUint8(52)]).toEqual([2, 1]);
    expect(run.getUint16(40, true)).toBe(0xbeef);
    expect(vcpu.run()).toBe(K.KVM_EXIT_HLT);
  });

  test('comes back at once when it was kicked before it ran', () => {
    const { vcpu, run } = realMode(ENDLESS);
    expect(vcpu.kick()).toBe(true);
    expect(vcpu.run()).toBe(-1);
    run.setUint8(K.RUN_IMMEDIATE_EXIT, 0);
  });

  test('is kicked out of KVM_RUN by another thread', async () => {
    const { vcpu } = realMode(ENDLESS);
    const kicker = new Worker(new URL('../support/kvm-kicker.mjs', import.meta.url), {
      workerData: { handle: vcpu.handle, delayMs: 50 },
    });
    expect(vcpu.run()).toBe(-1);
    await new Promise((resolve) => kicker.once('exit', resolve));
  });

  test('is nobody after close: a kick says so, a run throws', () => {
    const vm = createRealModeVm(ENDLESS);
    vm.close();
    expect(vm.vcpu.kick()).toBe(false);
    expect(() => vm.vcpu.run()).toThrow(/KVM_RUN/);
    expect(vm.run.getUint32(K.RUN_EXIT_REASON, true)).toBe(0); // plain memory again
  });
});

describe('dirty pages', () => {
  // mov [0x2000],al; mov [0x5000],al; hlt
  const WRITES = [0xa2, 0x00, 0x20, 0xa2, 0x00, 0x50, 0xf4];
  const region = { offset: 0x1_0000, bytes: 0x1_0000 };

  test('are told by the dirty log once', () => {
    const { vm, vcpu, memory } = realMode(WRITES);
    vm.setMemory(memory, { slot: 0, guestAddress: 0, region }, K.KVM_MEM_LOG_DIRTY_PAGES);
    expect(vcpu.run()).toBe(K.KVM_EXIT_HLT);
    expect(vm.readDirtyLog(0)[0]).toBe((1 << 2) | (1 << 5));
    expect(vm.readDirtyLog(0)[0]).toBe(0);
  });

  test('stay in the log until they are cleared, under manual protection', () => {
    const { vm, vcpu, memory } = realMode(WRITES);
    vm.enable(K.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1);
    vm.setMemory(memory, { slot: 0, guestAddress: 0, region }, K.KVM_MEM_LOG_DIRTY_PAGES);
    expect(vcpu.run()).toBe(K.KVM_EXIT_HLT);
    expect(vm.readDirtyLog(0)[0]).toBe(0x24);
    const clear = new Uint8Array(8);
    clear[0] = 0x04;
    vm.clearDirtyLog(0, clear);
    expect(vm.readDirtyLog(0)[0]).toBe(0x20);
  });

  test('stand in the dirty ring, mapped into the same memory', (context) => {
    const memory = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
    const system = KvmSystem.open();
    open.push(system);
    if (system.capability(K.KVM_CAP_DIRTY_LOG_RING) === 0) context.skip('this KVM has no dirty ring');
    const vm = system.createVm();
    open.push(vm);
    vm.enable(K.KVM_CAP_DIRTY_LOG_RING, 0x1_0000);
    new Uint8Array(memory.buffer, 0x1_0000, WRITES.length).set(WRITES);
    vm.setMemory(memory, { slot: 0, guestAddress: 0, region }, K.KVM_MEM_LOG_DIRTY_PAGES);
    const vcpu = vm.createVcpu(0, memory, { offset: 0x1000, bytes: 0x4000 });
    vcpu.mapDirtyRing(memory, { offset: 0x2_0000, bytes: 0x1_0000 });
    const sregs = vcpu.get('sregs');
    sregs.setBigUint64(0, 0n, true);
    sregs.setUint16(12, 0, true);
    vcpu.set('sregs', sregs);
    const regs = vcpu.get('regs');
    regs.setBigUint64(16 * 8, 0n, true);
    regs.setBigUint64(17 * 8, 2n, true);
    vcpu.set('regs', regs);
    expect(vcpu.run()).toBe(K.KVM_EXIT_HLT);
    const pages: number[] = [];
    expect(vcpu.harvestDirtyRing((slot, page) => pages.push(slot * 1000 + page))).toBeGreaterThan(0);
    expect(pages).toEqual(expect.arrayContaining([2, 5]));
    expect(vm.addon.resetDirtyRings(vm.fd)).toBe(pages.length);
    expect(vcpu.harvestDirtyRing(() => {})).toBe(0);
  });
});

describe('event descriptors', () => {
  test('an ioeventfd takes the guest’s write without an exit', () => {
    const { vm, vcpu } = realMode(IO_PROGRAM);
    const event = vm.createEventfd();
    vm.addon.ioeventfd(
      vm.fd,
      event.fd,
      K.KVM_IOEVENTFD_FLAG_PIO | K.KVM_IOEVENTFD_FLAG_DATAMATCH,
      0x10,
      1,
      0x42,
    );
    expect(vcpu.run()).toBe(K.KVM_EXIT_IO); // the IN: the OUT went to the eventfd
    const count = new BigUint64Array(1);
    expect(readSync(event.fd, new Uint8Array(count.buffer))).toBe(8);
    expect(count[0]).toBe(1n);
  });

  test('an irqfd and MSI routes are taken by a VM with a split irqchip', () => {
    const system = KvmSystem.open();
    open.push(system);
    const vm = system.createVm();
    open.push(vm);
    vm.splitIrqchip(24);
    vm.addon.setMsiRoutes(vm.fd, Uint32Array.of(24, 0xfee00000, 0, 0x40));
    const event = vm.createEventfd();
    vm.addon.irqfd(vm.fd, event.fd, 24, true, -1);
    vm.addon.irqfd(vm.fd, event.fd, 24, false, -1);
    expect(() => vm.addon.irqfd(vm.fd, -1, 24, true, -1)).toThrow(/KVM_IRQFD/);
  });
});

describe('errors', () => {
  test('carry code, errno, ioctl and a hint', () => {
    const caught = (() => {
      try {
        KvmSystem.open('/dev/no-such-kvm');
        return undefined;
      } catch (error) {
        return error;
      }
    })();
    expect(isKvmError(caught)).toBe(true);
    expect(caught).toMatchObject({ code: 'ENOENT', errno: 2, ioctl: 'open' });
    expect((caught as { hint: string }).hint).toMatch(/kvm_intel/);
  });

  test('of arguments are ours: a buffer that is too short is refused before the kernel sees it', () => {
    const { vm, vcpu } = realMode(ENDLESS);
    expect(() => vm.addon.getState(vcpu.fd, 'sregs', new Uint8Array(8))).toThrow(TypeError);
    const list = new Uint8Array(16);
    list[0] = 200;
    expect(() => vm.addon.getState(vcpu.fd, 'msrs', list)).toThrow(/shorter/);
    expect(() => vm.addon.mapOver(new Uint8Array(vm.addon.stateBytes('regs')), vcpu.fd, 0)).toThrow(
      /whole pages/,
    );
  });
});

test('two hundred virtual machines leave no descriptor behind', () => {
  const before = kvmDescriptors();
  for (let i = 0; i < 200; i++) {
    const vm = createRealModeVm(IO_PROGRAM);
    expect(vm.vcpu.run()).toBe(K.KVM_EXIT_IO);
    vm.close();
  }
  expect(kvmDescriptors()).toBe(before);
});
