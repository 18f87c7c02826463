// REP MOVS and REP STOS, by routine and by TypeScript, against a loop over single elements: overlaps, page ends, faults in the middle.
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import * as S from '#shared/x86/cpu-state.js';
import { type BareEngine, buildBareEngine } from '../../../../../support/bare-engine.js';
import * as M from '../../../../../support/cpu-modes.js';

const AREA = 0x100000;
const AREA_BYTES = 0x8000;
const HLT = 0xf4;

let e: BareEngine;
let initial: Uint8Array;

beforeAll(() => {
  e = buildBareEngine(16 << 20);
  initial = Uint8Array.from({ length: AREA_BYTES }, (_, i) => (i * 167 + (i >> 8) * 13) & 0xff);
});

const sizes = fc.constantFrom(1, 2, 4, 8);

/** REP MOVS or REP STOS with elements of `bytes`. */
function repetition(opcode: number, bytes: number): number[] {
  const prefix = bytes === 8 ? [0x48] : bytes === 2 ? [0x66] : [];
  // 66h stands before F3h here, REX directly before the opcode.
  const ordered = bytes === 2 ? [0x66, 0xf3] : [0xf3, ...prefix];
  return [...ordered, bytes === 1 ? opcode - 1 : opcode, HLT];
}

function start(rsi: number, rdi: number, rcx: number, rax: bigint): void {
  M.enterLongMode(e, 0);
  e.ram.set(initial, AREA);
  M.setSlot(e, S.RSI, rsi);
  M.setSlot(e, S.RDI, rdi);
  M.setSlot(e, S.RCX, rcx);
  M.setSlot(e, S.RAX, rax);
}

const registers = (): number[] => [S.RSI, S.RDI, S.RCX].map((r) => Number(M.getSlot(e, r)));
const area = (): Uint8Array => e.ram.slice(AREA, AREA + AREA_BYTES);

describe('REP MOVS', () => {
  test('moves as single elements would, whatever overlaps', () => {
    const offsets = fc.oneof(fc.nat(0x2000), fc.integer({ min: 0xfe0, max: 0x1020 }));
    fc.assert(
      fc.property(
        sizes,
        offsets,
        fc.integer({ min: -40, max: 0x1800 }),
        fc.nat(600),
        (bytes, from, distance, count) => {
          const to = Math.max(0, from + distance);
          start(AREA + from, AREA + to, count, 0n);
          expect(M.runCode(e, repetition(0xa5, bytes))).toBe('halted');
          const model = initial.slice();
          for (let i = 0; i < count * bytes; i += bytes)
            model.set(model.slice(from + i, from + i + bytes), to + i);
          expect(registers()).toEqual([AREA + from + count * bytes, AREA + to + count * bytes, 0]);
          expect(Buffer.compare(area(), model)).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('a fault in the middle leaves the registers at the element that faulted', () => {
    start(AREA, 0xff_f000, 1000, 0n);
    e.ram[M.CODE + 0x100] = HLT;
    M.setGate(e, 14, M.KERNEL_CODE64, M.CODE + 0x100, 0x8e);
    // RAM's mapping ends at 16 MiB.
    M.runCode(e, repetition(0xa5, 8));
    expect(registers()).toEqual([AREA + 0x1000, 0x100_0000, 1000 - 512]);
    expect(M.getSlot(e, S.CR2)).toBe(0x100_0000n);
    const frame = Number(M.getSlot(e, S.RSP));
    expect(e.ramView.getBigUint64(frame + 8, true)).toBe(BigInt(M.CODE));
  });
});

describe('REP STOS', () => {
  test('stores as single elements would', () => {
    fc.assert(
      fc.property(
        sizes,
        fc.nat(0x1800),
        fc.nat(600),
        fc.oneof(fc.constantFrom(0n, 0x9090_9090_9090_9090n), fc.bigInt(0n, (1n << 64n) - 1n)),
        (bytes, to, count, rax) => {
          start(0, AREA + to, count, rax);
          expect(M.runCode(e, repetition(0xab, bytes))).toBe('halted');
          const model = initial.slice();
          for (let i = 0; i < count * bytes; i++)
            model[to + i] = Number((rax >> BigInt((i % bytes) * 8)) & 0xffn);
          expect(registers().slice(1)).toEqual([AREA + to + count * bytes, 0]);
          expect(Buffer.compare(area(), model)).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('code that it overwrites is decoded anew', () => {
    start(0, M.CODE + 0x40, 64, 0x90n);
    // REP STOSB over INC EBX … with NOP; then through them to HLT at 80h.
    e.ram.set(Array<number>(64).fill(0x43), M.CODE + 0x40);
    e.ram[M.CODE + 0x80] = HLT;
    const loop = [0xf3, 0xaa, 0xeb, 0x3c];
    expect(M.runCode(e, loop)).toBe('halted');
    expect([M.getSlot(e, S.RBX), M.getSlot(e, S.RIP)]).toEqual([0n, BigInt(M.CODE + 0x81)]);
  });
});
