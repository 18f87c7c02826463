// Hardware task switches and virtual-8086 mode as running code, against SDM vol. 3 ch. 7 and 20.
import { beforeAll, describe, expect, test } from 'vitest';
import * as S from '#shared/x86/cpu-state.js';
import { type BareEngine, buildBareEngine } from '../../../../../support/bare-engine.js';
import * as M from '../../../../../support/cpu-modes.js';

const HLT = 0xf4;
const TARGET = 0x14000;
const FAULT = 0x15000;
const OLD_TSS = M.TSS;
const NEW_TSS = 0x8000;
const OLD_TASK = 0x78;
const NEW_TASK = M.SPARE;
const NT = 0x4000;
const VM = 0x2_0000;
const IOPL3 = 0x3000;

let e: BareEngine;
beforeAll(() => {
  e = buildBareEngine(16 << 20);
});

const imm32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const imm16 = (value: number): number[] => [value & 0xff, value >> 8];
const rip = (): number => Number(M.getSlot(e, S.RIP));
const rsp = (): number => Number(M.getSlot(e, S.RSP));
const systemFlags = (): number => e.cpu.i32[S.RFLAGS_SYSTEM >> 2]!;
const field = (tss: number, offset: number): number => e.ramView.getUint32(tss + offset, true);
const selector = (s: number): number =>
  e.state.getUint16(S.SEGMENT + s * S.SEGMENT_BYTES + S.SEGMENT_SELECTOR, true);
const typeOfTask = (task: number): number => e.ram[M.GDT + task + 5]! & 15;
const tssDescriptor = (base: number, busy: boolean): bigint =>
  0x0000_8900_0000_0067n | (BigInt(base) << 16n) | (busy ? 2n << 40n : 0n);

/** Two tasks of CPL 0: the running one, and one that starts at TARGET with EBX = 7. */
function twoTasks(): void {
  M.enterProtectedMode(e, 0);
  M.setDescriptor(e, OLD_TASK, tssDescriptor(OLD_TSS, true));
  M.setDescriptor(e, NEW_TASK, tssDescriptor(NEW_TSS, false));
  const words: readonly (readonly [number, number])[] = [
    [0x20, TARGET],
    [0x24, 2],
    [0x34, 7],
    [0x38, M.KERNEL_STACK],
    [0x48, M.KERNEL_DATA],
    [0x4c, M.KERNEL_CODE32],
    [0x50, M.KERNEL_DATA],
    [0x54, M.KERNEL_DATA],
  ];
  for (const [offset, value] of words) e.ramView.setUint32(NEW_TSS + offset, value, true);
  for (const vector of [6, 10, 11, 13]) {
    e.ram[FAULT + vector] = HLT;
    M.setGate(e, vector, M.KERNEL_CODE32, FAULT + vector, 0x8e);
  }
}

describe('task switches', () => {
  test('a far jump saves the old task, loads the new one and moves the busy bit', () => {
    twoTasks();
    M.setSlot(e, S.RSI, 0x1234_5678);
    e.ram[TARGET] = HLT;
    M.runCode(e, [0xea, ...imm32(0), ...imm16(NEW_TASK)]);
    expect([rip(), rsp(), Number(M.getSlot(e, S.RBX))]).toEqual([TARGET + 1, M.KERNEL_STACK, 7]);
    expect([field(OLD_TSS, 0x20), field(OLD_TSS, 0x40), field(OLD_TSS, 0x4c) & 0xffff]).toEqual([
      M.CODE + 7,
      0x1234_5678,
      M.KERNEL_CODE32,
    ]);
    expect([typeOfTask(OLD_TASK), typeOfTask(NEW_TASK), selector(S.TR)]).toEqual([9, 11, NEW_TASK]);
    expect([systemFlags() & NT, selector(S.FS), Number(M.getSlot(e, S.CR0)) & 8]).toEqual([0, 0, 8]);
  });

  test('a far call nests: IRET with NT comes back by the link', () => {
    twoTasks();
    e.ram[TARGET] = 0xcf;
    M.runCode(e, [0x9a, ...imm32(0), ...imm16(NEW_TASK), HLT]);
    expect([rip(), selector(S.TR), field(NEW_TSS, 0) & 0xffff]).toEqual([M.CODE + 8, OLD_TASK, OLD_TASK]);
    expect([field(NEW_TSS, 0x20), field(NEW_TSS, 0x24) & NT]).toEqual([TARGET + 1, 0]);
    expect([typeOfTask(OLD_TASK), typeOfTask(NEW_TASK)]).toEqual([11, 9]);
  });

  test('a task gate of the IDT pushes the error code on the new stack', () => {
    twoTasks();
    M.setGate(e, 13, NEW_TASK, 0, 0x85);
    e.ram[TARGET] = HLT;
    // MOV DS from a selector beyond the table.
    M.runCode(e, [0x66, 0xb8, ...imm16(0x98), 0x8e, 0xd8]);
    expect([rsp(), field(M.KERNEL_STACK - 4, 0), field(OLD_TSS, 0x20)]).toEqual([
      M.KERNEL_STACK - 4,
      0x98,
      M.CODE + 4,
    ]);
    expect(systemFlags() & NT).toBe(NT);
  });

  test.each([
    ['a busy task', () => M.setDescriptor(e, NEW_TASK, tssDescriptor(NEW_TSS, true)), 13, M.CODE],
    [
      'a task that is not present',
      () => M.setDescriptor(e, NEW_TASK, tssDescriptor(NEW_TSS, false) & ~(0x80n << 40n)),
      11,
      M.CODE,
    ],
    [
      'a TSS that is too short',
      () => M.setDescriptor(e, NEW_TASK, tssDescriptor(NEW_TSS, false) - 1n),
      10,
      M.CODE,
    ],
  ])('%s is refused in the old task', (_what, spoil, vector, ip) => {
    twoTasks();
    spoil();
    M.runCode(e, [0xea, ...imm32(0), ...imm16(NEW_TASK)]);
    expect([rip() - 1 - FAULT, field(rsp(), 0), field(rsp(), 4), selector(S.TR)]).toEqual([
      vector,
      NEW_TASK,
      ip,
      OLD_TASK,
    ]);
  });

  test('a bad selector of the new task faults in the new task', () => {
    twoTasks();
    e.ramView.setUint32(NEW_TSS + 0x54, 0x98, true);
    M.runCode(e, [0xea, ...imm32(0), ...imm16(NEW_TASK)]);
    expect([rip() - 1 - FAULT, field(rsp(), 0), field(rsp(), 4), selector(S.TR)]).toEqual([
      10,
      0x98,
      TARGET,
      NEW_TASK,
    ]);
  });
});

describe('virtual-8086 mode', () => {
  const PARAGRAPH = 0x2000;

  /** IRET to 2000:0010 with the flags given; the code there is `code`. */
  function enter(flags: number, code: readonly number[]): void {
    twoTasks();
    e.ram.set(code, PARAGRAPH * 16 + 0x10);
    const frame = [0x10, PARAGRAPH, flags | VM | 2, 0x100, 0x2800, 0x2345, 0x1234, 0x3000, 0x3001];
    frame.forEach((word, i) => e.ramView.setUint32(M.CURRENT_STACK - 64 + i * 4, word, true));
    M.setSlot(e, S.RSP, M.CURRENT_STACK - 64);
    M.runCode(e, [0xcf]);
  }

  test('IRET enters it, a fault leaves it with the data segments on the inner stack', () => {
    // MOV AX,DS; UD2
    enter(0, [0x8c, 0xd8, 0x0f, 0x0b]);
    expect([rip() - 1 - FAULT, Number(M.getSlot(e, S.RAX)), rsp()]).toEqual([6, 0x1234, M.KERNEL_STACK - 36]);
    const frame = Array.from({ length: 9 }, (_, i) => field(rsp(), i * 4));
    expect(frame).toEqual([0x12, PARAGRAPH, VM | 0x10002, 0x100, 0x2800, 0x2345, 0x1234, 0x3000, 0x3001]);
    expect([S.DS, S.ES, S.FS, S.GS].map(selector)).toEqual([0, 0, 0, 0]);
    expect(systemFlags() & VM).toBe(0);
  });

  test.each([
    ['PUSHF', [0x9c]],
    ['POPF', [0x9d]],
    ['CLI', [0xfa]],
    ['STI', [0xfb]],
    ['INT n', [0xcd, 0x20]],
    ['IRET', [0xcf]],
  ])('%s needs IOPL 3', (_what, code) => {
    enter(0, code);
    expect([rip() - 1 - FAULT, field(rsp(), 0), field(rsp(), 4)]).toEqual([13, 0, 0x10]);
  });

  test('with IOPL 3 a load of a segment is its paragraph, and IRET stays within the mode', () => {
    // MOV AX,3000h; MOV ES,AX; MOV AL,ES:[5]; PUSHF; PUSH CS; PUSH 20h; IRET; at 20h: UD2
    const code = [0xb8, 0, 0x30, 0x8e, 0xc0, 0x26, 0xa0, 5, 0, 0x9c, 0x0e, 0x6a, 0x20, 0xcf];
    e.ram[0x3_0005] = 0;
    enter(IOPL3, [...code, ...Array<number>(0x10 - code.length).fill(HLT), 0x0f, 0x0b]);
    expect(rip() - 1 - FAULT).toBe(6);
    expect([field(rsp(), 0), field(rsp(), 4), field(rsp(), 8) & (VM | IOPL3)]).toEqual([
      0x20,
      PARAGRAPH,
      VM | IOPL3,
    ]);
    expect(Number(M.getSlot(e, S.RAX))).toBe(0x3000);
  });
});
