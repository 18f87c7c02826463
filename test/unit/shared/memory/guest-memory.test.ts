import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GuestMemory, HIGH_RAM_START, LOW_RAM_LIMIT, splitRam } from '#shared/memory/guest-memory.js';

const LOW = 0x3000;
const HIGH = 0x2000;
const OFFSET = 0x1000;

function smallMemory(): GuestMemory {
  const layout = { ramOffset: OFFSET, lowBytes: LOW, highBytes: HIGH };
  return new GuestMemory(new SharedArrayBuffer(OFFSET + LOW + HIGH + 0x1000), layout);
}

test('splitRam keeps at most 3 GiB below the hole', () => {
  expect(splitRam(0, 512)).toEqual({ ramOffset: 0, lowBytes: 512, highBytes: 0 });
  expect(splitRam(8, LOW_RAM_LIMIT + 4096)).toEqual({
    ramOffset: 8,
    lowBytes: LOW_RAM_LIMIT,
    highBytes: 4096,
  });
});

test('a layout beyond the arena is refused', () => {
  const layout = { ramOffset: 0, lowBytes: 8192, highBytes: 0 };
  expect(() => new GuestMemory(new SharedArrayBuffer(4096), layout)).toThrow(RangeError);
});

test('a WebAssembly.Memory and its buffer are the same RAM', () => {
  const wasm = { buffer: new SharedArrayBuffer(0x1_0000) };
  const layout = { ramOffset: 0, lowBytes: 0x1_0000, highBytes: 0 };
  new GuestMemory(wasm, layout).writeU32(0x100, 0xdead_beef);
  expect(new GuestMemory(wasm.buffer, layout).readU32(0x100)).toBe(0xdead_beef);
});

test('arenaOffset maps exactly the ranges that lie in one part of RAM', () => {
  const memory = smallMemory();
  const inLow = (gpa: number, end: number): boolean => gpa >= 0 && end <= LOW;
  const inHigh = (gpa: number, end: number): boolean => gpa >= HIGH_RAM_START && end <= HIGH_RAM_START + HIGH;
  const near = (gpa: number) => fc.integer({ min: -20, max: 20 }).map((delta) => gpa + delta);
  const edges = [0, LOW, LOW_RAM_LIMIT, HIGH_RAM_START, HIGH_RAM_START + HIGH, 2 ** 53 - 64];
  const gpas = fc.oneof(...edges.map(near), fc.maxSafeInteger());
  fc.assert(
    fc.property(gpas, fc.nat({ max: 40 }), (gpa, length) => {
      const offset = memory.arenaOffset(gpa, length);
      if (inLow(gpa, gpa + length)) expect(offset).toBe(OFFSET + gpa);
      else if (inHigh(gpa, gpa + length)) expect(offset).toBe(OFFSET + LOW + gpa - HIGH_RAM_START);
      else expect(offset).toBe(-1);
    }),
  );
  expect(memory.arenaOffset(0, -1)).toBe(-1);
  expect(memory.arenaOffset(Number.NaN, 1)).toBe(-1);
  expect(memory.arenaOffset(0, Number.NaN)).toBe(-1);
});

test('integers are little endian, unaligned, and the last byte of RAM is reachable', () => {
  const memory = smallMemory();
  for (const end of [LOW, HIGH_RAM_START + HIGH]) {
    expect(memory.writeU64(end - 8, 0x1122_3344_5566_7788n)).toBe(true);
    expect(memory.readU64(end - 8)).toBe(0x1122_3344_5566_7788n);
    expect(memory.readU32(end - 7)).toBe(0x4455_6677);
    expect(memory.readU16(end - 2)).toBe(0x1122);
    expect(memory.readU8(end - 1)).toBe(0x11);
  }
  memory.writeU64LoHi(0x11, 0xffff_fffe, 0x0000_0001);
  expect(memory.readU64(0x11)).toBe(0x1_ffff_fffen);
  expect(memory.readAddress(0x11)).toBe(0x1_ffff_fffe);
  memory.writeU32(0x20, 0xffff_ffff);
  expect(memory.readU32(0x20)).toBe(0xffff_ffff);
  memory.writeU16(0x20, 0x1_2345);
  memory.writeU8(0x22, 0x167);
  expect(memory.readU32(0x20)).toBe(0xff67_2345);
});

test('an address beyond 2^53 stays outside RAM', () => {
  const memory = smallMemory();
  memory.writeU64(0, 0xffff_ffff_ffff_f000n);
  expect(memory.arenaOffset(memory.readAddress(0), 8)).toBe(-1);
});

test('outside RAM is a value and nothing is written', () => {
  const memory = smallMemory();
  for (const gpa of [-1, LOW, LOW_RAM_LIMIT, HIGH_RAM_START - 1, HIGH_RAM_START + HIGH, 2 ** 53]) {
    expect(memory.readU8(gpa)).toBe(-1);
    expect(memory.readU16(gpa)).toBe(-1);
    expect(memory.readU32(gpa)).toBe(-1);
    expect(memory.readU64(gpa)).toBeUndefined();
    expect(memory.readAddress(gpa)).toBe(-1);
    expect(memory.slice(gpa, 1)).toBeUndefined();
    expect(memory.writeU8(gpa, 1)).toBe(false);
    expect(memory.writeU16(gpa, 1)).toBe(false);
    expect(memory.writeU32(gpa, 1)).toBe(false);
    expect(memory.writeU64(gpa, 1n)).toBe(false);
    expect(memory.writeU64LoHi(gpa, 1, 1)).toBe(false);
    expect(memory.copyIn(gpa, Uint8Array.of(1))).toBe(false);
    expect(memory.fill(gpa, 1, 1)).toBe(false);
    const target = Uint8Array.of(7);
    expect(memory.copyOut(gpa, target)).toBe(false);
    expect(target[0]).toBe(7);
  }
  expect(memory.copyIn(LOW - 1, Uint8Array.of(1, 2))).toBe(false);
  expect(memory.bytes.every((byte) => byte === 0)).toBe(true);
});

test('slice is a view; copyIn and copyOut carry bytes; fill clears', () => {
  const memory = smallMemory();
  const view = memory.slice(0x100, 4)!;
  expect(memory.copyIn(0x100, Uint8Array.of(1, 2, 3, 4))).toBe(true);
  expect([...view]).toEqual([1, 2, 3, 4]);
  view[0] = 9;
  const target = new Uint8Array(4);
  expect(memory.copyOut(0x100, target)).toBe(true);
  expect([...target]).toEqual([9, 2, 3, 4]);
  expect(memory.fill(0x101, 2, 0xaa)).toBe(true);
  expect([...view]).toEqual([9, 0xaa, 0xaa, 4]);
});
