import { describe, expect, test } from 'vitest';
import { CR0, EFER } from '#shared/x86/cpu-state.js';
import { MSR_GP, MSR_OK, MSR_OK_MODE } from '#shared/x86/msr.js';
import {
  buildInterruptMachine,
  START_NS,
  type InterruptMachine,
} from '../../../support/interrupt-machine.js';

function read(machine: InterruptMachine, index: number, vcpu = 0): bigint | 'gp' {
  const msr = machine.msrs[vcpu]!;
  return msr.read(index) ? (BigInt(msr.hi) << 32n) | BigInt(msr.lo) : 'gp';
}

function write(machine: InterruptMachine, index: number, value: bigint, vcpu = 0): number {
  return machine.msrs[vcpu]!.write(
    index,
    Number(BigInt.asIntN(32, value)),
    Number(BigInt.asIntN(32, value >> 32n)),
  );
}

describe('MSRs', () => {
  test.each([
    ['STAR', 0xc000_0081, 0x0023_0010_0000_0000n],
    ['LSTAR', 0xc000_0082, 0xffff_ffff_8100_0000n],
    ['FMASK', 0xc000_0084, 0x4_7700n],
    ['FS_BASE', 0xc000_0100, 0x7fff_ffff_f000n],
    ['KERNEL_GS_BASE', 0xc000_0102, 0xffff_8880_0000_0000n],
    ['TSC_AUX', 0xc000_0103, 0x1003n],
    ['SYSENTER_EIP', 0x176, 0xffff_ffff_8100_1000n],
    ['PAT', 0x277, 0x0407_0506_0007_0106n],
    ['MTRR physbase', 0x200, 0xe000_0000n],
    ['MC0_CTL, none', 0x400, 0n],
    ['MC1_ADDR', 0x406, 0xaaaa_aaaa_aaaa_aaaan],
    ['MC1_MISC', 0x407, (1n << 64n) - 1n],
    ['MTRR fixed', 0x26f, 0x0505_0505_0505_0505n],
  ])('%s reads as written', (_, index, value) => {
    const machine = buildInterruptMachine(1);
    expect(write(machine, index, value)).toBe(MSR_OK);
    expect(read(machine, index)).toBe(value);
  });

  test.each([
    ['unknown', 0x48, 0n],
    ['LSTAR, not canonical', 0xc000_0082, 0x0000_8000_0000_0000n],
    ['FS_BASE, not canonical', 0xc000_0100, 0xffff_7fff_ffff_ffffn],
    ['PAT with type 2', 0x277, 2n],
    ['EFER reserved bit', 0xc000_0080, 0x2000n],
    ['TSC_AUX above 32 bits', 0xc000_0103, 1n << 32n],
    ['MTRR type 2', 0x250, 2n],
    ['MTRR mask beyond the address size', 0x201, 1n << 40n],
    ['a constant', 0x10a, 0n],
    ['SPEC_CTRL, not announced', 0x48, 1n],
    ['MC0_STATUS, not zero', 0x401, 1n],
    ['MC0_CTL, some bits', 0x400, 5n],
    ['a bank that is not there', 0x408, 0n],
    ['x2APIC while in xAPIC mode', 0x808, 0n],
  ])('#GP: %s', (_, index, value) => {
    expect(write(buildInterruptMachine(1), index, value)).toBe(MSR_GP);
  });

  test('EFER: LMA cannot be written, LME not under paging', () => {
    const machine = buildInterruptMachine(1);
    expect(write(machine, 0xc000_0080, 0xd01n)).toBe(MSR_OK_MODE);
    expect(read(machine, 0xc000_0080)).toBe(0x901n);
    machine.fabric.words[machine.fabric.state[0]! + (EFER >> 2)] = 0xd01;
    machine.fabric.words[machine.fabric.state[0]! + (CR0 >> 2)] = 0x8000_0001 | 0;
    expect(write(machine, 0xc000_0080, 0xc01n)).toBe(MSR_GP);
    expect(write(machine, 0xc000_0080, 0x901n)).toBe(MSR_OK_MODE);
    expect(read(machine, 0xc000_0080)).toBe(0xd01n);
  });

  test('all vCPUs come up with the same MTRRs, and the TSC at zero', () => {
    const machine = buildInterruptMachine(2);
    for (let index = 0x200; index < 0x210; index++)
      expect(read(machine, index, 1)).toBe(read(machine, index, 0));
    expect(read(machine, 0x2ff)).toBe(0xc06n);
    expect(read(machine, 0x201)).toBe(0xff_c000_0800n);
    expect(read(machine, 0x10)).toBe(0n);
    machine.clock.advanceMs(2);
    expect(read(machine, 0x10, 1)).toBe(2_000_000n);
  });

  test('writes of TSC and TSC_ADJUST move each other', () => {
    const machine = buildInterruptMachine(1);
    machine.clock.advanceMs(1);
    write(machine, 0x10, 0xffff_ffff_0000_0000n);
    expect(read(machine, 0x10)).toBe(0xffff_ffff_0000_0000n);
    expect(read(machine, 0x3b)).toBe(0xffff_ffff_0000_0000n - 1_000_000n);
    write(machine, 0x3b, 0n);
    expect(read(machine, 0x10)).toBe(1_000_000n);
  });

  test('APIC_BASE tells the boot processor and switches the LAPIC', () => {
    const machine = buildInterruptMachine(2);
    expect(read(machine, 0x1b)).toBe(0xfee0_0900n);
    expect(read(machine, 0x1b, 1)).toBe(0xfee0_0800n);
    expect(write(machine, 0x1b, 0xfee0_0d00n)).toBe(MSR_OK_MODE);
    expect(read(machine, 0x802)).toBe(0n);
    expect(read(machine, 0x802, 1)).toBe('gp');
  });
});

describe('kvmclock', () => {
  const GPA = 0x2040;

  test('TSC and system time of one instant, an even version, 1 ns a tick', () => {
    const machine = buildInterruptMachine(1);
    machine.clock.advanceMs(5000);
    expect(write(machine, 0x4b56_4d01, BigInt(GPA) | 1n)).toBe(MSR_OK);
    const { ram } = machine;
    const version = ram.readU32(GPA);
    expect(version % 2).toBe(0);
    expect(version).toBeGreaterThan(0);
    expect(ram.readU64(GPA + 8)).toBe(5_000_000_000n);
    expect(ram.readU64(GPA + 16)).toBe(5_000_000_000n);
    const [mul, shift, flags] = [ram.readU32(GPA + 24), ram.readU8(GPA + 28), ram.readU8(GPA + 29)];
    expect(((1000n << BigInt(shift)) * BigInt(mul)) >> 32n).toBe(1000n);
    expect(flags).toBe(1);
  });

  test('follows a moved TSC, and stops when it is switched off', () => {
    const machine = buildInterruptMachine(1);
    write(machine, 0x4b56_4d01, BigInt(GPA) | 1n);
    const first = machine.ram.readU32(GPA);
    machine.clock.advanceMs(1);
    write(machine, 0x10, 0x1234_5678_9abcn);
    expect(machine.ram.readU32(GPA)).toBeGreaterThan(first);
    expect(machine.ram.readU64(GPA + 8)).toBe(0x1234_5678_9abcn);
    expect(machine.ram.readU64(GPA + 16)).toBe(1_000_000n);
    write(machine, 0x4b56_4d01, BigInt(GPA));
    write(machine, 0x10, 7n);
    expect(machine.ram.readU64(GPA + 8)).toBe(0x1234_5678_9abcn);
  });

  test('the wall clock is the UTC time of the start', () => {
    const machine = buildInterruptMachine(1);
    machine.clock.advanceMs(90_000);
    write(machine, 0x4b56_4d00, BigInt(GPA));
    expect(machine.ram.readU32(GPA + 4)).toBe(machine.wallNs / 1e9);
    expect(machine.ram.readU32(GPA) % 2).toBe(0);
    expect(START_NS).toBeGreaterThan(0);
  });

  test('an address outside RAM is nothing', () => {
    const machine = buildInterruptMachine(1);
    expect(write(machine, 0x4b56_4d01, 0xffff_ffff_f001n)).toBe(MSR_OK);
    expect(write(machine, 0x4b56_4d00, 0xffff_f000n)).toBe(MSR_OK);
  });
});
