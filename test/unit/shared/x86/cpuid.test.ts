import { describe, expect, test } from 'vitest';
import { cpuidLeaf, type CpuidContext } from '#shared/x86/cpuid.js';

const context: CpuidContext = { apicId: 2, vcpuCount: 4, apicEnabled: true };
const flags = (word: number): number[] =>
  Array.from({ length: 32 }, (_, i) => i).filter((i) => (word >>> i) & 1);
const text = (...words: number[]): string => Buffer.from(Uint32Array.from(words).buffer).toString('latin1');

describe('CPUID', () => {
  test('vendor, brand and hypervisor', () => {
    const [max, b, c, d] = cpuidLeaf(0, 0, context);
    expect(max).toBe(0x16);
    expect(text(b, d, c)).toBe('GenuineIntel');
    const brand = [2, 3, 4].map((n) => text(...cpuidLeaf(0x8000_0000 + n, 0, context))).join('');
    expect(brand.replaceAll('\0', '')).toBe('Troupe Virtual CPU');
    expect(text(...cpuidLeaf(0x4000_0000, 0, context).slice(1))).toBe('KVMKVMKVM\0\0\0');
  });

  test('announces x86-64-v2 and nothing that would need XSAVE', () => {
    const [, , c, d] = cpuidLeaf(1, 0, context);
    expect(flags(c)).toEqual([0, 9, 13, 19, 20, 21, 23, 24, 31]);
    expect(flags(d)).toEqual([0, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26, 28]);
    expect(flags(cpuidLeaf(0x8000_0001, 0, context)[3])).toEqual([11, 20, 26, 27, 29]);
    expect(cpuidLeaf(0xd, 0, context)).toEqual([0, 0, 0, 0]);
  });

  test('HTT needs a second vCPU, the APIC flag an enabled LAPIC', () => {
    const alone = cpuidLeaf(1, 0, { apicId: 0, vcpuCount: 1, apicEnabled: false });
    expect(flags(alone[3])).not.toContain(28);
    expect(flags(alone[3])).not.toContain(9);
    expect((alone[1] >>> 16) & 0xff).toBe(1);
  });

  test('topology: one thread a core, ids of as many bits as cores need', () => {
    expect(cpuidLeaf(0xb, 0, context)).toEqual([0, 1, 0x100, 2]);
    expect(cpuidLeaf(0xb, 1, context)).toEqual([2, 4, 0x201, 2]);
    expect(cpuidLeaf(0xb, 2, context).slice(0, 3)).toEqual([0, 0, 2]);
    expect(cpuidLeaf(0xb, 1, { ...context, vcpuCount: 5 })[0]).toBe(3);
  });

  test('cache leaves multiply to their sizes', () => {
    const sizes = [0, 1, 2, 3].map((sub) => {
      const [, b, sets] = cpuidLeaf(4, sub, context);
      return ((b >>> 22) + 1) * ((b & 0xfff) + 1) * (sets + 1);
    });
    expect(sizes).toEqual([32 << 10, 32 << 10, 256 << 10, 8 << 20]);
    expect(cpuidLeaf(4, 4, context)).toEqual([0, 0, 0, 0]);
  });

  test('TSC and bus clocks are 1 GHz', () => {
    const [a, b, hz] = cpuidLeaf(0x15, 0, context);
    expect((hz * b) / a).toBe(1e9);
    expect(cpuidLeaf(0x4000_0010, 0, context).slice(0, 2)).toEqual([1e6, 1e6]);
  });

  test('a leaf beyond the last reads as the last', () => {
    expect(cpuidLeaf(0x1234, 0, context)).toEqual(cpuidLeaf(0x16, 0, context));
    expect(cpuidLeaf(-1, 0, context)).toEqual(cpuidLeaf(0x16, 0, context));
  });
});
