// Far jumps, calls and returns, IRET, system calls and segment loads as running code, in the modes that have them.
import { beforeAll, describe, expect, test } from 'vitest';
import * as S from '#shared/x86/cpu-state.js';
import { type BareEngine, buildBareEngine } from '../../../../../support/bare-engine.js';
import * as M from '../../../../../support/cpu-modes.js';

const TARGET = 0x14000;
const HLT = 0xf4;
const FAULT = 0x15000;
const INTERRUPT_GATE = 0x8e;

let e: BareEngine;
beforeAll(() => {
  e = buildBareEngine(16 << 20);
});

const imm32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const imm16 = (value: number): number[] => [value & 0xff, value >> 8];
const rsp = (): number => Number(M.getSlot(e, S.RSP));
const rip = (): number => Number(M.getSlot(e, S.RIP));
const cpl = (): number => e.cpu.i32[S.CPL >> 2]!;
const segment = (s: number, field: number): number => S.SEGMENT + s * S.SEGMENT_BYTES + field;
const selector = (s: number): number => e.state.getUint16(segment(s, S.SEGMENT_SELECTOR), true);
const mode = (): number => e.cpu.i32[S.CODE_MODE >> 2]! & S.MODE_CODE_MASK;

/** Handlers of #TS, #NP, #SS, #GP and #UD that halt. */
function catchFaults(): void {
  const long = (e.state.getInt32(S.EFER, true) & 0x400) !== 0;
  for (const vector of [6, 10, 11, 12, 13]) {
    e.ram[FAULT + vector] = HLT;
    M.setGate(e, vector, long ? M.KERNEL_CODE64 : M.KERNEL_CODE32, FAULT + vector, INTERRUPT_GATE);
  }
}

/** The vector whose handler halted, with its error code; undefined when the target halted. */
function fault(): { vector: number; errorCode: number } | undefined {
  const vector = rip() - 1 - FAULT;
  return vector < 0 || vector > 31 ? undefined : { vector, errorCode: e.ramView.getUint32(rsp(), true) };
}

function callGate(target: number, code: number, type: number, parameters = 0): bigint {
  const low = BigInt((target & 0xffff) | 0) | (BigInt(code) << 16n);
  return low | (BigInt(((target & 0xffff_0000) | (type << 8) | parameters) >>> 0) << 32n);
}

describe('protected mode', () => {
  test('a far jump to 16-bit code changes the mode', () => {
    M.enterProtectedMode(e, 0);
    catchFaults();
    e.ram.set([0xb8, 0x34, 0x12, HLT], 0x4000);
    M.runCode(e, [0xb8, ...imm32(-1), 0xea, ...imm32(0x4000), ...imm16(M.KERNEL_CODE16)]);
    expect(fault()).toBeUndefined();
    // MOV AX,1234h, not MOV EAX.
    expect([mode(), M.getSlot(e, S.RAX)]).toEqual([S.MODE_16, 0xffff1234n]);
  });

  test('a call gate to the inner level switches stacks and copies parameters; RETF n undoes it', () => {
    M.enterProtectedMode(e, 3);
    catchFaults();
    M.setDescriptor(e, M.SPARE, callGate(TARGET, M.KERNEL_CODE32, 0xec, 2));
    // At the gate: MOV EAX,[ESP+8]; RETF 8. After it: HLT faults at CPL 3.
    e.ram.set([0x8b, 0x44, 0x24, 0x08, 0xca, 8, 0], TARGET);
    M.runCode(e, [
      0x68,
      ...imm32(0x1111),
      0x68,
      ...imm32(0x2222),
      0x9a,
      ...imm32(0),
      ...imm16(M.SPARE | 3),
      HLT,
    ]);
    expect(fault()).toEqual({ vector: 13, errorCode: 0 });
    expect(M.getSlot(e, S.RAX)).toBe(0x2222n);
    const frame = rsp();
    // The parameters are gone from the outer stack.
    expect([4, 8, 16, 20].map((at) => e.ramView.getUint32(frame + at, true))).toEqual([
      M.CODE + 17,
      M.USER_CODE32,
      M.CURRENT_STACK,
      M.USER_DATA,
    ]);
  });

  test.each([
    ['a null selector', 0, 0n, 13, 0],
    ['a selector beyond the table', 0x98, 0n, 13, 0x98],
    ['data', M.KERNEL_DATA, undefined, 13, M.KERNEL_DATA],
    ['code that is not present', M.SPARE, 0x00cf_1b00_0000_ffffn, 11, M.SPARE],
    ['code of another level', M.USER_CODE32, undefined, 13, M.USER_CODE32 & ~3],
    ['an LDT', M.SPARE, 0x0000_8200_3000_0067n, 13, M.SPARE],
  ])('a far jump to %s faults', (_what, target, descriptor, vector, errorCode) => {
    M.enterProtectedMode(e, 0);
    catchFaults();
    if (descriptor !== undefined && target === M.SPARE) M.setDescriptor(e, M.SPARE, descriptor);
    M.runCode(e, [0xea, ...imm32(TARGET), ...imm16(target), HLT]);
    expect(fault()).toEqual({ vector, errorCode });
    expect(e.ramView.getUint32(rsp() + 4, true)).toBe(M.CODE);
  });

  test('IRET to the outer level loads SS:ESP and nulls inner data segments', () => {
    M.enterProtectedMode(e, 0);
    catchFaults();
    // The segments stay inner but GS, which the outer level may have.
    e.reset.setSegment(S.GS, M.USER_DATA, 0, 0xffff_ffff, 0xcf3);
    const frame = [TARGET, M.USER_CODE32, 0x3202, M.CURRENT_STACK - 0x100, M.USER_DATA];
    frame.forEach((word, i) => e.ramView.setUint32(M.CURRENT_STACK - 64 + i * 4, word, true));
    M.setSlot(e, S.RSP, M.CURRENT_STACK - 64);
    e.ram[TARGET] = HLT;
    M.runCode(e, [0xcf]);
    expect(fault()).toEqual({ vector: 13, errorCode: 0 });
    expect([S.DS, S.ES, S.FS, S.GS].map(selector)).toEqual([0, 0, 0, M.USER_DATA]);
    expect([4, 8, 12, 16, 20].map((at) => e.ramView.getUint32(rsp() + at, true))).toEqual([
      TARGET,
      M.USER_CODE32,
      0x13202,
      M.CURRENT_STACK - 0x100,
      M.USER_DATA,
    ]);
  });

  test('CR0.PE and a far jump lead from real mode to protected mode', () => {
    M.enterRealMode(e);
    M.setSlot(e, S.IDTR_BASE, M.IDT);
    // MOV EAX,CR0; OR AL,1; MOV CR0,EAX; JMP FAR KERNEL_CODE32:TARGET
    e.ram.set([0x66, 0xb8, ...imm32(M.KERNEL_DATA), 0x8e, 0xd8, 0x8e, 0xd0, HLT], TARGET);
    const enter = [
      0x0f,
      0x20,
      0xc0,
      0x0c,
      1,
      0x0f,
      0x22,
      0xc0,
      0x66,
      0xea,
      ...imm32(TARGET),
      ...imm16(M.KERNEL_CODE32),
    ];
    M.runCode(e, enter);
    expect([mode(), selector(S.CS), selector(S.SS)]).toEqual([S.MODE_32, M.KERNEL_CODE32, M.KERNEL_DATA]);
  });
});

describe('IA-32e mode', () => {
  test('SYSCALL and SYSRET go to flat segments and back', () => {
    M.enterLongMode(e, 3);
    catchFaults();
    M.setSlot(e, S.STAR, (BigInt(M.USER_CODE32) << 48n) | (BigInt(M.KERNEL_CODE64) << 32n));
    M.setSlot(e, S.LSTAR, TARGET);
    M.setSlot(e, S.FMASK, 0x200);
    e.cpu.i32[S.RFLAGS_SYSTEM >> 2] = 0x200;
    // MOV EAX,CS; SYSRETQ at the entry; SYSCALL; HLT faults at CPL 3.
    e.ram.set([0x8c, 0xc8, 0x8c, 0xd3, 0x48, 0x0f, 0x07], TARGET);
    M.runCode(e, [0x0f, 0x05, HLT]);
    expect(fault()).toEqual({ vector: 13, errorCode: 0 });
    expect([S.RAX, S.RBX, S.RCX].map((r) => M.getSlot(e, r))).toEqual([8n, 16n, BigInt(M.CODE + 2)]);
    const [ip, cs, flags, , ss] = Array.from({ length: 5 }, (_, i) =>
      e.ramView.getBigUint64(rsp() + 8 + i * 8, true),
    );
    expect([ip, cs, ss]).toEqual([BigInt(M.CODE + 2), BigInt(M.USER_CODE64), BigInt(M.USER_DATA)]);
    expect(flags! & 0x200n).toBe(0x200n);
  });

  test('SYSCALL is undefined without EFER.SCE', () => {
    M.enterLongMode(e, 3);
    catchFaults();
    M.setSlot(e, S.EFER, 0xd00);
    M.runCode(e, [0x0f, 0x05]);
    expect(fault()?.vector).toBe(6);
  });

  test('IRETQ within a level loads SS:RSP too, null as well', () => {
    M.enterLongMode(e, 0);
    catchFaults();
    const frame = [TARGET, M.KERNEL_CODE64, 2, M.KERNEL_STACK - 8, 0];
    frame.forEach((word, i) => e.ramView.setBigUint64(M.CURRENT_STACK - 64 + i * 8, BigInt(word), true));
    M.setSlot(e, S.RSP, M.CURRENT_STACK - 64);
    e.ram[TARGET] = HLT;
    M.runCode(e, [0x48, 0xcf]);
    expect(fault()).toBeUndefined();
    expect([rip(), rsp(), selector(S.SS)]).toEqual([TARGET + 1, M.KERNEL_STACK - 8, 0]);
  });

  test('IRETQ to an address that is not canonical faults at the IRETQ', () => {
    M.enterLongMode(e, 0);
    catchFaults();
    const frame = [1n << 47n, BigInt(M.USER_CODE64), 2n, BigInt(M.CURRENT_STACK), BigInt(M.USER_DATA)];
    frame.forEach((word, i) => e.ramView.setBigUint64(M.CURRENT_STACK - 64 + i * 8, word, true));
    M.setSlot(e, S.RSP, M.CURRENT_STACK - 64);
    M.runCode(e, [0x48, 0xcf]);
    expect(fault()).toEqual({ vector: 13, errorCode: 0 });
    expect([cpl(), e.ramView.getBigUint64(rsp() + 8, true)]).toEqual([0, BigInt(M.CODE)]);
  });

  test('a far return to compatibility mode runs 32-bit code', () => {
    M.enterLongMode(e, 0);
    catchFaults();
    // INC EAX in 32-bit code is a REX prefix in 64-bit code.
    e.ram.set([0x40, HLT], TARGET);
    M.runCode(e, [0x6a, M.KERNEL_CODE32, 0x68, ...imm32(TARGET), 0x48, 0xcb]);
    expect(fault()).toBeUndefined();
    expect([mode(), M.getSlot(e, S.RAX)]).toEqual([S.MODE_32, 1n]);
  });

  test('a 64-bit call gate pushes SS:RSP on the stack of the TSS', () => {
    M.enterLongMode(e, 3);
    catchFaults();
    M.setDescriptor(e, M.SPARE, callGate(TARGET, M.KERNEL_CODE64, 0xec));
    e.ram[TARGET] = HLT;
    e.ramView.setBigUint64(M.DATA, BigInt(M.SPARE | 3) << 32n, true);
    // CALL FAR [DATA]
    M.runCode(e, [0xff, 0x1c, 0x25, ...imm32(M.DATA)]);
    expect(fault()).toBeUndefined();
    expect([cpl(), rsp(), selector(S.SS)]).toEqual([0, M.KERNEL_STACK - 32, 0]);
    const frame = Array.from({ length: 4 }, (_, i) => Number(e.ramView.getBigUint64(rsp() + i * 8, true)));
    expect(frame).toEqual([M.CODE + 7, M.USER_CODE64, M.CURRENT_STACK, M.USER_DATA]);
  });
});

describe('segment loads', () => {
  const load = (selectorValue: number): number[] => [0x66, 0xb8, ...imm16(selectorValue), 0x8e, 0xd8, HLT];

  test.each([
    ['beyond the table', 0x98, undefined, 13],
    ['execute-only code', M.SPARE, 0x00cf_9900_0000_ffffn, 13],
    ['of an inner level by RPL', M.KERNEL_DATA | 3, undefined, 13],
    ['not present', M.SPARE, 0x00cf_1300_0000_ffffn, 11],
  ])('MOV DS from a selector %s faults', (_what, value, descriptor, vector) => {
    M.enterProtectedMode(e, 0);
    catchFaults();
    if (descriptor !== undefined) M.setDescriptor(e, M.SPARE, descriptor);
    M.runCode(e, load(value));
    expect(fault()).toEqual({ vector, errorCode: value & ~3 });
  });

  test('a load sets the accessed bit in the table, and an expand-down segment has its limit below', () => {
    M.enterProtectedMode(e, 0);
    catchFaults();
    M.setDescriptor(e, M.SPARE, 0x00c0_9600_0000_0010n);
    M.runCode(e, load(M.SPARE));
    expect(fault()).toBeUndefined();
    expect(e.ram[M.GDT + M.SPARE + 5]).toBe(0x97);
    expect(M.getSlot(e, segment(S.DS, S.SEGMENT_LOW))).toBe(0x11000n);
    expect(M.getSlot(e, segment(S.DS, S.SEGMENT_HIGH))).toBe(0xffff_ffffn);
  });

  test('every access by a null selector faults', () => {
    M.enterProtectedMode(e, 0);
    catchFaults();
    M.runCode(e, [0x31, 0xc0, 0x8e, 0xd8, 0xa1, ...imm32(M.DATA), HLT]);
    expect(fault()).toEqual({ vector: 13, errorCode: 0 });
  });

  test('LTR marks the TSS busy; a second LTR of it faults', () => {
    M.enterLongMode(e, 0);
    catchFaults();
    M.setDescriptor(e, M.SPARE, 0x0000_8900_3000_0067n);
    M.setDescriptor(e, M.SPARE + 8, 0n);
    const ltr = [0x0f, 0x00, 0xd8];
    M.runCode(e, [0x66, 0xb8, ...imm16(M.SPARE), ...ltr, ...ltr, HLT]);
    expect(fault()).toEqual({ vector: 13, errorCode: M.SPARE });
    expect([selector(S.TR), e.ram[M.GDT + M.SPARE + 5]]).toEqual([M.SPARE, 0x8b]);
  });

  test('LSL, LAR, VERR and VERW answer by ZF', () => {
    M.enterLongMode(e, 0);
    catchFaults();
    M.setDescriptor(e, M.SPARE, 0x00c0_9100_0000_0012n);
    // MOV CX,SPARE; LSL EAX,CX; LAR EBX,CX; VERR CX; SETZ DL; VERW CX; SETZ DH; HLT
    const code = [0x66, 0xb9, ...imm16(M.SPARE), 0x0f, 0x03, 0xc1, 0x0f, 0x02, 0xd9];
    M.runCode(e, [...code, 0x0f, 0x00, 0xe1, 0x0f, 0x94, 0xc2, 0x0f, 0x00, 0xe9, 0x0f, 0x94, 0xc6, HLT]);
    expect(fault()).toBeUndefined();
    expect(M.getSlot(e, S.RAX)).toBe(0x12fffn);
    expect(M.getSlot(e, S.RBX)).toBe(0xc09100n);
    expect(M.getSlot(e, S.RDX) & 0xffffn).toBe(1n);
  });
});
