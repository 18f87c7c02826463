// Delivery of events in every mode, against frames written out by hand from SDM vol. 3 ch. 6.
import { beforeAll, describe, expect, test } from 'vitest';
import * as S from '#shared/x86/cpu-state.js';
import { type CpuEvent, deliverEvent } from '#actors/vcpu/engine-wasm/helpers/exceptions.js';
import { type BareEngine, buildBareEngine } from '../../../../../support/bare-engine.js';
import * as M from '../../../../../support/cpu-modes.js';

const HANDLER = 0x12345;
const INTERRUPT_GATE = 0x8e;
const TRAP_GATE = 0x8f;
const DPL3 = 0x60;
const IF = 0x200;
const TF = 0x100;

let e: BareEngine;
beforeAll(() => {
  e = buildBareEngine(16 << 20);
});

function setFlags(flags: number): void {
  e.cpu.i32[S.RFLAGS_SYSTEM >> 2] = flags;
}

function deliver(event: CpuEvent): number {
  return deliverEvent(e.cpu, event);
}

const rsp = (): number => Number(M.getSlot(e, S.RSP));
const rip = (): bigint => M.getSlot(e, S.RIP);
const quad = (at: number): bigint => e.ramView.getBigUint64(at, true);
const word32 = (at: number): number => e.ramView.getUint32(at, true);
const selector = (s: number): number =>
  e.state.getUint16(S.SEGMENT + s * S.SEGMENT_BYTES + S.SEGMENT_SELECTOR, true);
const systemFlags = (): number => e.cpu.i32[S.RFLAGS_SYSTEM >> 2]!;
const quads = (at: number, count: number): bigint[] =>
  Array.from({ length: count }, (_, i) => quad(at + i * 8));
const words = (at: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => word32(at + i * 4));

describe('IA-32e mode', () => {
  test('an interrupt at the same level aligns the stack, pushes five words and clears IF', () => {
    M.enterLongMode(e, 0);
    M.setSlot(e, S.RSP, M.CURRENT_STACK - 5);
    setFlags(IF | TF);
    M.setGate(e, 0x40, M.KERNEL_CODE64, HANDLER, INTERRUPT_GATE);
    expect(deliver({ vector: 0x40, kind: 'external' })).toBe(S.EXIT_BRANCH);
    expect(rsp()).toBe(M.CURRENT_STACK - 16 - 40);
    expect(quads(rsp(), 5)).toEqual([
      BigInt(M.CODE),
      BigInt(M.KERNEL_CODE64),
      BigInt(IF | TF | 2),
      BigInt(M.CURRENT_STACK - 5),
      BigInt(M.KERNEL_DATA),
    ]);
    expect(rip()).toBe(BigInt(HANDLER));
    expect(systemFlags()).toBe(0);
  });

  test('a trap gate keeps IF; a fault sets RF in the image', () => {
    M.enterLongMode(e, 0);
    setFlags(IF);
    M.setGate(e, 6, M.KERNEL_CODE64, HANDLER, TRAP_GATE);
    deliver({ vector: 6, kind: 'fault' });
    expect(systemFlags()).toBe(IF);
    expect(quad(rsp() + 16)).toBe(BigInt(IF | 0x10000 | 2));
  });

  test('from CPL 3 the stack comes from the TSS and SS becomes null', () => {
    M.enterLongMode(e, 3);
    M.setGate(e, 14, M.KERNEL_CODE64, HANDLER, INTERRUPT_GATE);
    deliver({ vector: 14, errorCode: 7, kind: 'fault' });
    expect(rsp()).toBe(M.KERNEL_STACK - 48);
    expect(quad(rsp())).toBe(7n);
    expect(quad(rsp() + 16)).toBe(BigInt(M.USER_CODE64));
    expect(quads(rsp() + 32, 2)).toEqual([BigInt(M.CURRENT_STACK), BigInt(M.USER_DATA)]);
    expect([selector(S.CS), selector(S.SS), e.cpu.i32[S.CPL >> 2]]).toEqual([M.KERNEL_CODE64, 0, 0]);
  });

  test('IST switches stacks without a change of level', () => {
    M.enterLongMode(e, 0);
    M.setGate(e, 2, M.KERNEL_CODE64, HANDLER, INTERRUPT_GATE, 1);
    deliver({ vector: 2, kind: 'nmi' });
    expect(rsp()).toBe(M.IST_STACK - 40);
    expect(selector(S.SS)).toBe(M.KERNEL_DATA);
  });

  test.each([
    ['not present', 0x0e, 11],
    ['of another type', 0x8c, 13],
  ])('a gate that is %s faults with the vector, IDT and EXT bits', (_what, type, vector) => {
    M.enterLongMode(e, 0);
    M.setGate(e, 0x50, M.KERNEL_CODE64, HANDLER, type);
    M.setGate(e, vector, M.KERNEL_CODE64, HANDLER, INTERRUPT_GATE);
    deliver({ vector: 0x50, kind: 'external' });
    expect(quad(rsp())).toBe(BigInt((0x50 << 3) | 3));
  });

  test('a code segment that is not 64-bit faults with its selector', () => {
    M.enterLongMode(e, 0);
    M.setGate(e, 0x50, M.KERNEL_CODE32, HANDLER, INTERRUPT_GATE);
    M.setGate(e, 13, M.KERNEL_CODE64, HANDLER, INTERRUPT_GATE);
    deliver({ vector: 0x50, kind: 'external' });
    expect(quad(rsp())).toBe(BigInt(M.KERNEL_CODE32 | 1));
  });

  test('a contributory fault while a page fault is delivered is a double fault, and one more a shutdown', () => {
    M.enterLongMode(e, 0);
    M.setGate(e, 8, M.KERNEL_CODE64, HANDLER, INTERRUPT_GATE);
    expect(deliver({ vector: 14, errorCode: 2, kind: 'fault' })).toBe(S.EXIT_BRANCH);
    expect([rip(), quad(rsp()), quad(rsp() + 8)]).toEqual([BigInt(HANDLER), 0n, BigInt(M.CODE)]);
    M.enterLongMode(e, 0);
    expect(deliver({ vector: 14, errorCode: 2, kind: 'fault' })).toBe(S.EXIT_SHUTDOWN);
  });

  test('a fault while an external interrupt is delivered is itself', () => {
    M.enterLongMode(e, 0);
    M.setGate(e, 13, M.KERNEL_CODE64, HANDLER, INTERRUPT_GATE);
    expect(deliver({ vector: 13 + 16, kind: 'external' })).toBe(S.EXIT_BRANCH);
    expect(quad(rsp())).toBe(BigInt(((13 + 16) << 3) | 3));
  });

  test('INT n needs a gate of its level; its fault is at the INT, its frame behind it', () => {
    for (const allowed of [true, false]) {
      M.enterLongMode(e, 3);
      M.setGate(e, 0x80, M.KERNEL_CODE64, HANDLER, INTERRUPT_GATE | (allowed ? DPL3 : 0));
      M.setGate(e, 13, M.KERNEL_CODE64, HANDLER, INTERRUPT_GATE);
      e.ram[HANDLER] = 0xf4;
      const user = M.PAGE_TABLES + 0x2000;
      expect(e.ramView.getUint32(user, true) & 4).toBe(4);
      expect(M.runCode(e, [0xcd, 0x80])).toBe('halted');
      if (allowed) expect(quad(rsp())).toBe(BigInt(M.CODE + 2));
      else expect(quads(rsp(), 2)).toEqual([BigInt((0x80 << 3) | 2), BigInt(M.CODE)]);
      e.state.setInt32(S.ACTIVITY, S.ACTIVITY_RUNNING, true);
    }
  });
});

describe('protected mode', () => {
  test('a 32-bit gate to the inner level takes SS:ESP from the TSS', () => {
    M.enterProtectedMode(e, 3);
    setFlags(IF);
    M.setGate(e, 13, M.KERNEL_CODE32, HANDLER, INTERRUPT_GATE);
    deliver({ vector: 13, errorCode: 0x18, kind: 'fault' });
    expect(rsp()).toBe(M.KERNEL_STACK - 24);
    expect(words(rsp(), 6)).toEqual([
      0x18,
      M.CODE,
      M.USER_CODE32,
      IF | 0x10002,
      M.CURRENT_STACK,
      M.USER_DATA,
    ]);
    expect([selector(S.CS), selector(S.SS), systemFlags()]).toEqual([M.KERNEL_CODE32, M.KERNEL_DATA, 0]);
  });

  test('a 16-bit gate at the same level pushes six bytes', () => {
    M.enterProtectedMode(e, 0);
    M.setGate(e, 0x20, M.KERNEL_CODE32, 0x2345, 0x86);
    deliver({ vector: 0x20, kind: 'external' });
    expect(rsp()).toBe(M.CURRENT_STACK - 6);
    expect(e.ramView.getUint16(rsp(), true)).toBe(M.CODE & 0xffff);
    expect(rip()).toBe(0x2345n);
  });

  test('an inner stack segment of the wrong level is an invalid TSS', () => {
    M.enterProtectedMode(e, 3);
    e.ramView.setUint32(M.TSS + 8, M.USER_DATA, true);
    M.setGate(e, 0x21, M.KERNEL_CODE32, HANDLER, INTERRUPT_GATE);
    M.setDescriptor(e, M.SPARE, 0x00cf_9f00_0000_ffffn);
    M.setGate(e, 10, M.SPARE, HANDLER, INTERRUPT_GATE);
    deliver({ vector: 0x21, kind: 'external' });
    // Conforming: the handler of #TS runs at CPL 3, on the old stack.
    expect(word32(rsp())).toBe((M.USER_DATA & ~3) | 1);
    expect(e.cpu.i32[S.CPL >> 2]).toBe(3);
  });
});

describe('real mode', () => {
  test('the vector table gives CS:IP; three words are pushed', () => {
    M.enterRealMode(e);
    setFlags(IF | TF);
    e.ramView.setUint32(0x10 * 4, 0x2000_0123, true);
    deliver({ vector: 0x10, kind: 'external' });
    expect([selector(S.CS), rip()]).toEqual([0x2000, 0x123n]);
    const pushed = [0, 2, 4].map((at) => e.ramView.getUint16((M.CURRENT_STACK & 0xffff) - 6 + at, true));
    expect(pushed).toEqual([0x100, M.CODE >> 4, IF | TF | 2]);
    expect(systemFlags()).toBe(0);
  });

  test('a vector beyond the table is a double fault in the end', () => {
    M.enterRealMode(e);
    e.state.setInt32(S.IDTR_LIMIT, 8 * 4 + 3, true);
    e.ramView.setUint32(8 * 4, 0x0300_0040, true);
    deliver({ vector: 13, kind: 'fault' });
    expect([selector(S.CS), rip()]).toEqual([0x300, 0x40n]);
  });
});
