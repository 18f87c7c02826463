import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { TroupeError } from '#shared/base/error.js';
import { buildE820 } from '#shared/boot/e820.js';
import type { InitialCpuState } from '#shared/boot/initial-state.js';
import { type KernelOptions, loadKernel } from '#shared/boot/load-kernel.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { buildBzImage, buildElf, buildPvhKernel, multibootHeader } from '../../../support/kernel-image.js';
import { ramOf, stringAt } from '../../../support/ram.js';

const MIB = 0x10_0000;
const RAM = 16 * MIB;
const CODE = Uint8Array.of(0xf4, 0xeb, 0xfd);
const INITRD = Uint8Array.from({ length: 5000 }, (_, i) => i & 0xff);
const OPTIONS: KernelOptions = {
  kernelName: 'dir/kernel',
  append: 'quiet x=1',
  initrd: INITRD,
  rsdp: 0xe_0000,
};

let memory: GuestMemory;
beforeEach(() => {
  memory = ramOf(RAM);
});

/** What the GDT in guest RAM says of a selector, in the hidden part's terms. */
function descriptorOf(state: InitialCpuState, selector: number) {
  const lo = memory.readU32(state.gdtr.base + selector);
  const hi = memory.readU32(state.gdtr.base + selector + 4);
  const attributes = (hi >>> 8) & 0xf0ff;
  const limit = (lo & 0xffff) + (hi & 0xf_0000);
  const base = (lo >>> 16) + ((hi & 0xff) << 16) + (hi & 0xff00_0000);
  return { selector, base, limit: attributes & 0x8000 ? limit * 4096 + 4095 : limit, attributes };
}

function expectConsistentSegments(state: InitialCpuState): void {
  for (const segment of [state.cs, state.ds, state.es, state.fs, state.gs, state.ss, state.tr]) {
    expect(descriptorOf(state, segment.selector)).toEqual(segment);
  }
  expect(state.cs.selector).toBe(0x10);
  expect(state.ds.selector).toBe(0x18);
  expect(state.rflags).toBe(2);
}

describe('bzImage', () => {
  const vmlinux = buildElf({
    entry: 0x60_0000n,
    segments: [{ paddr: 0x60_0000, vaddr: 0xffff_ffff_8060_0000n, data: CODE, memoryBytes: 100 }],
  });
  const image = buildBzImage({ payload: new Uint8Array(gzipSync(vmlinux)), initSize: 2 * MIB });

  test('is unpacked and entered at the ELF entry in long mode', () => {
    const state = loadKernel(memory, image, OPTIONS);
    expect(state).toMatchObject({
      kind: 'linux',
      mode: 'long64',
      rip: 0x60_0000,
      rsi: 0x2000,
      efer: 0x500,
      cr4: 0x20,
    });
    expect(state.cr0).toBe(0x8000_0011);
    expectConsistentSegments(state);
    expect([...memory.slice(0x60_0000, 3)!]).toEqual([...CODE]);
  });

  test('left to the guest, it is entered 0x200 into its protected-mode code', () => {
    const state = loadKernel(memory, image, { ...OPTIONS, vmlinux: 'guest' });
    expect(state).toMatchObject({ mode: 'long64', rip: 0x40_0200 });
    expect(memory.readU8(0x40_0200)).toBe(0xf4);
  });

  test('a vmlinux unpacked earlier is used', () => {
    const other = buildElf({ entry: 0x70_0000n, segments: [{ paddr: 0x70_0000, data: CODE }] });
    expect(loadKernel(memory, image, { ...OPTIONS, vmlinux: other }).rip).toBe(0x70_0000);
  });

  test('boot_params carries header, command line, initrd, RSDP and memory map', () => {
    memory.fill(0x2000, 0x1000, 0xee);
    loadKernel(memory, image, OPTIONS);
    const at = 0x2000;
    expect(memory.readU32(at + 0x202)).toBe(0x5372_6448);
    expect(memory.readU8(at + 0x1ef)).toBe(0); // sentinel
    expect(memory.readU8(at + 0x210)).toBe(0xff);
    expect(memory.readU64(at + 0x250)).toBe(0n);
    expect(stringAt(memory, memory.readU32(at + 0x228))).toBe('quiet x=1');
    expect(memory.readU64(at + 0x70)).toBe(0xe_0000n);
    const initrdGpa = memory.readU32(at + 0x218);
    expect(initrdGpa).toBe(RAM - 0x2000);
    expect(memory.readU32(at + 0x21c)).toBe(INITRD.length);
    expect(memory.slice(initrdGpa, INITRD.length)).toEqual(INITRD);
    const entries = Array.from({ length: memory.readU8(at + 0x1e8) }, (_, i) => ({
      base: memory.readAddress(at + 0x2d0 + i * 20),
      bytes: memory.readAddress(at + 0x2d8 + i * 20),
      type: memory.readU32(at + 0x2e0 + i * 20),
    }));
    expect(entries).toEqual(buildE820(memory.layout));
  });

  test('the identity map covers 4 GiB in 2 MiB pages', () => {
    const { cr3 } = loadKernel(memory, image, OPTIONS);
    const walk = (address: number): number => {
      const pdpt = memory.readAddress(cr3 + Math.floor(address / 2 ** 39) * 8) - 3;
      const directory = memory.readAddress(pdpt + (Math.floor(address / 2 ** 30) % 512) * 8) - 3;
      return memory.readAddress(directory + (Math.floor(address / 2 ** 21) % 512) * 8);
    };
    for (const address of [0, 0x20_0000, 0x3fff_ffff, 0x4000_0000, 0xfee0_0000, 0xffff_ffff]) {
      expect(walk(address)).toBe(Math.floor(address / 2 ** 21) * 2 ** 21 + 0x83);
    }
  });

  test('a relocatable kernel that does not fit at its preferred address goes to 2 MiB', () => {
    const high = buildBzImage({ payload: CODE, prefAddress: 15 * MIB, initSize: 2 * MIB });
    expect(loadKernel(memory, high, { ...OPTIONS, vmlinux: 'guest' }).rip).toBe(0x20_0200);
    const fixed = buildBzImage({
      payload: CODE,
      prefAddress: 15 * MIB,
      initSize: 2 * MIB,
      relocatable: false,
    });
    expect(() => loadKernel(memory, fixed, { ...OPTIONS, vmlinux: 'guest' })).toThrow(/at least 17 MiB/);
  });

  test('too little memory names the amount, with the initrd counted', () => {
    const needed = buildBzImage({ payload: new Uint8Array(gzipSync(vmlinux)), initSize: 10 * MIB });
    expect(() => loadKernel(ramOf(8 * MIB), needed, OPTIONS)).toThrow(
      expect.objectContaining({ code: 'too-little-memory', message: expect.stringContaining('16 MiB') }),
    );
    const initrd = new Uint8Array(9 * MIB);
    expect(() => loadKernel(memory, image, { ...OPTIONS, initrd })).toThrow(
      /with its initrd needs at least 18 MiB/,
    );
  });

  test('a command line longer than the kernel reads is refused', () => {
    const small = buildBzImage({ payload: CODE, cmdlineSize: 8 });
    expect(() => loadKernel(memory, small, OPTIONS)).toThrow(expect.objectContaining({ code: 'bad-config' }));
    expect(() => loadKernel(memory, image, { ...OPTIONS, append: 'a\0b' })).toThrow(/NUL/);
  });

  test.each([
    ['protocol 2.11', { version: 0x020b }, /2\.11/],
    ['no 64-bit entry', { xloadflags: 0 }, /64-bit entry/],
  ])('%s is refused', (_, change, message) => {
    expect(() => loadKernel(memory, buildBzImage({ payload: CODE, ...change }), OPTIONS)).toThrow(message);
  });

  test('a truncated image is refused as such', () => {
    expect(() => loadKernel(memory, image.subarray(0, image.length - 40), OPTIONS)).toThrow(/truncated/);
    expect(() => loadKernel(memory, image.subarray(0, 0x208), OPTIONS)).toThrow(/truncated/);
  });
});

describe('PVH', () => {
  test('hands over in 32-bit mode with hvm_start_info in EBX', () => {
    const state = loadKernel(memory, buildPvhKernel(4 * MIB, CODE), OPTIONS);
    expect(state).toMatchObject({
      kind: 'pvh',
      mode: 'protected32',
      rip: 4 * MIB,
      rbx: 0x3000,
      cr0: 0x11,
      cr4: 0,
    });
    expectConsistentSegments(state);
    expect(memory.readU32(0x3000)).toBe(0x336e_c578);
    expect(memory.readU32(0x3004)).toBe(1);
    expect(memory.readU32(0x300c)).toBe(1);
    const module = memory.readAddress(0x3010);
    expect(memory.slice(memory.readAddress(module), memory.readAddress(module + 8))).toEqual(INITRD);
    expect(stringAt(memory, memory.readAddress(0x3018))).toBe('quiet x=1');
    expect(memory.readAddress(0x3020)).toBe(0xe_0000);
    const map = memory.readAddress(0x3028);
    expect(memory.readU32(0x3030)).toBe(buildE820(memory.layout).length);
    expect(memory.readAddress(map + 8)).toBe(0x9_fc00);
  });

  test('an ELF file without note or header is refused', () => {
    const plain = buildElf({ entry: 0x40_0000n, segments: [{ paddr: 0x40_0000, data: CODE }] });
    expect(() => loadKernel(memory, plain, OPTIONS)).toThrow(/neither a multiboot header nor a PVH note/);
  });

  test('a kernel linked over the boot information is refused', () => {
    expect(() => loadKernel(memory, buildPvhKernel(0x3000, CODE), OPTIONS)).toThrow(/below 1 MiB/);
  });
});

describe('multiboot', () => {
  const body = Uint8Array.from([...multibootHeader(3), ...CODE]);
  const elfImage = (bits: 32 | 64): Uint8Array =>
    buildElf({
      bits,
      entry: BigInt(2 * MIB + 12),
      segments: [{ paddr: 2 * MIB, data: body, memoryBytes: 0x2345 }],
    });

  test.each([32, 64] as const)('an ELF%i kernel is entered with the magic in EAX', (bits) => {
    const state = loadKernel(memory, elfImage(bits), OPTIONS);
    expect(state).toMatchObject({
      kind: 'multiboot',
      mode: 'protected32',
      rip: 2 * MIB + 12,
      rax: 0x2bad_b002,
    });
    expectConsistentSegments(state);
  });

  test('the boot information names memory, command line, module and map', () => {
    const { rbx } = loadKernel(memory, elfImage(32), { ...OPTIONS, initrdString: 'dir/mod one' });
    const info = (offset: number): number => memory.readU32(rbx + offset);
    expect(info(0) & 0x24d).toBe(0x24d);
    expect(info(4)).toBe(639);
    expect(info(8)).toBe(15 * 1024);
    expect(stringAt(memory, info(16))).toBe('dir/kernel quiet x=1');
    expect(stringAt(memory, info(64))).toBe('Troupe');
    expect(info(20)).toBe(1);
    const [start, end, string] = [0, 4, 8].map((offset) => memory.readU32(info(24) + offset));
    expect(start! % 4096).toBe(0);
    expect(start).toBeGreaterThan(2 * MIB + 0x2345);
    expect(memory.slice(start!, end! - start!)).toEqual(INITRD);
    expect(stringAt(memory, string!)).toBe('dir/mod one');
    expect(info(44)).toBe(buildE820(memory.layout).length * 24);
    expect(memory.readU32(info(48))).toBe(20);
    expect(memory.readAddress(info(48) + 12)).toBe(0x9_fc00);
  });

  test('without append the command line is the kernel name; without initrd there is no module', () => {
    const { rbx } = loadKernel(memory, elfImage(32), { kernelName: 'k', rsdp: 0 });
    expect(stringAt(memory, memory.readU32(rbx + 16))).toBe('k');
    expect(memory.readU32(rbx + 20)).toBe(0);
  });

  test('multiboot wins over a PVH note', () => {
    const image = buildPvhKernel(4 * MIB, body);
    expect(loadKernel(memory, image, OPTIONS).kind).toBe('multiboot');
  });

  test('address fields load a flat image', () => {
    const base = 2 * MIB;
    const header = multibootHeader(0x1_0003, [base + 16, base, base + 0x40, base + 0x80, base + 0x30]);
    const image = new Uint8Array(0x200);
    image.set(header, 0x110);
    image.set(CODE, 0x130);
    memory.fill(base, 0x100, 0xee);
    const state = loadKernel(memory, image, OPTIONS);
    expect(state.rip).toBe(base + 0x30);
    expect([...memory.slice(base + 0x30, 3)!]).toEqual([...CODE]);
    expect(memory.readU8(base + 0x7f)).toBe(0);
    expect(memory.readU8(base + 0x80)).toBe(0xee);
  });

  test('real-mode vectors acknowledge the 8259s and return, unless the kernel lies over them', () => {
    loadKernel(memory, elfImage(32), OPTIONS);
    const handler = (vector: number) => {
      const [offset, segment] = [memory.readU16(vector * 4), memory.readU16(vector * 4 + 2)];
      return [...memory.slice(segment * 16 + offset, 9)!];
    };
    expect(handler(8).slice(0, 7)).toEqual([0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf]);
    expect(handler(0x73)).toEqual([0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf]);
    expect(handler(0x10)[0]).toBe(0xcf);
    const low = Uint8Array.from([...multibootHeader(0x1_0000, [0x100, 0x100, 0, 0, 0x120]), ...CODE]);
    loadKernel(memory, low, OPTIONS);
    expect([...memory.slice(0x120, 3)!]).toEqual([...CODE]);
  });

  test('a kernel where the boot information usually is gets it behind itself', () => {
    const image = Uint8Array.from([
      ...multibootHeader(0x1_0000, [0x8000, 0x8000, 0, 0xb000, 0x8020]),
      ...CODE,
    ]);
    const { rbx } = loadKernel(memory, image, OPTIONS);
    expect(rbx).toBeGreaterThanOrEqual(MIB);
    expect(stringAt(memory, memory.readU32(rbx + 16))).toBe('dir/kernel quiet x=1');
    expect(memory.readU32(memory.readU32(rbx + 24) + 4) - memory.readU32(memory.readU32(rbx + 24))).toBe(
      5000,
    );
    expect([...memory.slice(0x8020, 3)!]).toEqual([...CODE]);
    expect(memory.readU32(0x9800)).toBe(0);
  });

  test.each([
    ['unknown requirement', multibootHeader(0x10), /features/],
    ['flat without addresses', multibootHeader(3), /no load addresses/],
    [
      'header below the load address',
      multibootHeader(0x1_0000, [0x1000, 0x2000, 0, 0, 0x2000]),
      /contradict/,
    ],
    [
      'load area beyond the file',
      multibootHeader(0x1_0000, [0x20_0000, 0x20_0000, 0x30_0000, 0, 0x20_0000]),
      /truncated/,
    ],
    [
      'bss before data',
      multibootHeader(0x1_0000, [0x20_0000, 0x20_0000, 0x20_0010, 4, 0x20_0000]),
      /contradict/,
    ],
    ['entry outside', multibootHeader(0x1_0000, [0x20_0000, 0x20_0000, 0, 0, 0x10_0000]), /entry is outside/],
    ['over the GDT', multibootHeader(0x1_0000, [0x500, 0x500, 0, 0, 0x520]), /over the GDT/],
    ['beyond RAM', multibootHeader(0x1_0000, [0x800_0000, 0x800_0000, 0, 0, 0x800_0000]), /at least 129 MiB/],
  ])('%s is refused', (_, header, message) => {
    expect(() => loadKernel(memory, Uint8Array.from([...header, ...CODE]), OPTIONS)).toThrow(message);
  });

  test('a wrong checksum or a header past 8 KiB is none', () => {
    const wrong = multibootHeader(3);
    wrong[8]! ^= 1;
    expect(() => loadKernel(memory, wrong, OPTIONS)).toThrow(/neither a bzImage nor an ELF/);
    const late = new Uint8Array(9000);
    late.set(multibootHeader(3), 8184);
    expect(() => loadKernel(memory, late, OPTIONS)).toThrow(/neither a bzImage nor an ELF/);
  });

  test('an initrd that does not fit is too little memory', () => {
    const initrd = new Uint8Array(15 * MIB);
    expect(() => loadKernel(memory, elfImage(32), { ...OPTIONS, initrd })).toThrow(/at least 18 MiB/);
  });
});

test('any kernel, cut and damaged anywhere, loads or is a TroupeError', () => {
  const multiboot = Uint8Array.from([
    ...multibootHeader(0x1_0003, [2 * MIB, 2 * MIB, 0, 0, 2 * MIB]),
    ...CODE,
  ]);
  const images = [
    buildBzImage({ payload: new Uint8Array(gzipSync(buildPvhKernel(4 * MIB, CODE))) }),
    buildPvhKernel(4 * MIB, CODE),
    multiboot,
  ];
  const interesting = fc.oneof(fc.nat(0x280), fc.nat(0x4000));
  const change = fc.tuple(interesting, fc.constantFrom(0, 1, 0x7f, 0x80, 0xff, 0x10));
  const sample = fc.tuple(
    fc.constantFrom(...images),
    fc.array(change, { maxLength: 6 }),
    fc.boolean(),
    fc.nat(),
  );
  fc.assert(
    fc.property(sample, ([original, changes, cut, seed]) => {
      const image = original.slice(0, cut ? seed % (original.length + 1) : original.length);
      for (const [at, value] of changes) if (at < image.length) image[at] = value;
      try {
        const state = loadKernel(memory, image, OPTIONS);
        expect(memory.arenaOffset(state.rip, 1)).not.toBe(-1);
      } catch (error) {
        if (!(error instanceof TroupeError)) throw error;
        expect(['bad-kernel', 'too-little-memory', 'bad-config']).toContain(error.code);
      }
    }),
    { numRuns: 1000 },
  );
});

test('less than 2 MiB is too little for any kernel', () => {
  expect(() => loadKernel(ramOf(MIB), new Uint8Array(10), OPTIONS)).toThrow(/at least 2 MiB/);
});
