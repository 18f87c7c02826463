// Single steps, breakpoints and NMI blocking as running code, against SDM vol. 3 ch. 18 and §6.7.1.
import { beforeEach, describe, expect, test } from 'vitest';
import * as S from '#shared/x86/cpu-state.js';
import { setOwnPending } from '#shared/x86/vcpu-words.js';
import { type BareEngine, buildBareEngine } from '../../../../support/bare-engine.js';
import * as M from '../../../../support/cpu-modes.js';

const HLT = 0xf4;
const NOP = 0x90;
const HANDLER = 0x14000;
const NMI_HANDLER = 0x15000;
const DR6_ENTRY = 0xffff_0ff0;
const DR6_BS = 0x4000;
const GATE = 0x8e;

/** Logs RIP and DR6 at RDI, makes DR6 new, and returns with RF. */
const LOGGER = [
  ...[0x50], // push rax
  ...[0x48, 0x8b, 0x44, 0x24, 0x08], // mov rax, [rsp + 8]
  ...[0x48, 0x89, 0x07], // mov [rdi], rax
  ...[0x0f, 0x21, 0xf0], // mov rax, dr6
  ...[0x48, 0x89, 0x47, 0x08], // mov [rdi + 8], rax
  ...[0xb8, 0xf0, 0x0f, 0xff, 0xff], // mov eax, 0xffff0ff0
  ...[0x0f, 0x23, 0xf0], // mov dr6, rax
  ...[0x48, 0x83, 0xc7, 0x10], // add rdi, 16
  ...[0x0f, 0xba, 0x6c, 0x24, 0x18, 0x10], // bts dword [rsp + 24], 16
  ...[0x58], // pop rax
  ...[0x48, 0xcf], // iretq
];

let e: BareEngine;
beforeEach(() => {
  e ??= buildBareEngine(16 << 20);
  M.enterLongMode(e, 0);
  e.state.setInt32(S.NMI_STATE, 0, true);
  e.ram.set(LOGGER, HANDLER);
  e.ram[NMI_HANDLER] = HLT;
  M.setGate(e, 1, M.KERNEL_CODE64, HANDLER, GATE);
  M.setGate(e, 2, M.KERNEL_CODE64, NMI_HANDLER, GATE);
  M.setSlot(e, S.RDI, M.DATA);
});

/** [offset from CODE, DR6] of every #DB. */
function log(): [number, number][] {
  const entries: [number, number][] = [];
  for (let at = M.DATA; at < Number(M.getSlot(e, S.RDI)); at += 16)
    entries.push([e.ramView.getUint32(at, true) - M.CODE, e.ramView.getUint32(at + 8, true)]);
  return entries;
}

function breakAt(index: number, address: number, kind: number, length: number): void {
  M.setSlot(e, S.DR + index * 8, address);
  M.setSlot(
    e,
    S.DR + 56,
    0x400 | (1 << (index * 2)) | (kind << (16 + index * 4)) | (length << (18 + index * 4)),
  );
  e.cpu.modeChanged();
}

const store = (address: number): number[] => [
  0x89,
  0x04,
  0x25,
  address & 0xff,
  (address >> 8) & 0xff,
  address >> 16,
  0,
];
const load = (address: number): number[] => [0x8b, ...store(address).slice(1)];

describe('single step', () => {
  test('traps after each instruction from the one after POPF to the POPF that ends it', () => {
    const setTf = [0x9c, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00, 0x9d];
    const clearTf = [0x9c, 0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff, 0x9d];
    expect(M.runCode(e, [...setTf, NOP, NOP, ...clearTf, HLT])).toBe('halted');
    expect(log()).toEqual([10, 11, 12, 19, 20].map((rip) => [rip, DR6_ENTRY | DR6_BS].map((v) => v >>> 0)));
  });

  test('INT n clears TF and does not trap itself', () => {
    M.setGate(e, 0x30, M.KERNEL_CODE64, NMI_HANDLER, GATE);
    const setTf = [0x9c, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00, 0x9d];
    expect(M.runCode(e, [...setTf, 0xcd, 0x30, HLT])).toBe('halted');
    expect(log()).toEqual([]);
    expect(Number(M.getSlot(e, S.RIP))).toBe(NMI_HANDLER + 1);
  });
});

describe('breakpoints', () => {
  const watched = M.DATA + 0x1000;

  test('an instruction breakpoint faults once: RF spares the instruction', () => {
    breakAt(1, M.CODE + 1, 0, 0);
    expect(M.runCode(e, [NOP, NOP, NOP, HLT])).toBe('halted');
    expect(log()).toEqual([[1, (DR6_ENTRY | 2) >>> 0]]);
  });

  test('a write breakpoint traps after a write that overlaps it, and only then', () => {
    breakAt(0, watched, 1, 3);
    const code = [...store(watched + 2), ...load(watched), ...store(watched + 4), ...store(watched - 4), HLT];
    expect(M.runCode(e, code)).toBe('halted');
    expect(log()).toEqual([[7, (DR6_ENTRY | 1) >>> 0]]);
  });

  test('a read-write breakpoint sees reads; one that is off sees nothing', () => {
    breakAt(2, watched, 3, 0);
    expect(M.runCode(e, [...load(watched), ...load(watched + 1), HLT])).toBe('halted');
    expect(log()).toEqual([[7, (DR6_ENTRY | 4) >>> 0]]);
    M.setSlot(e, S.DR + 56, 0x400);
    e.cpu.modeChanged();
    M.setSlot(e, S.RIP, M.CODE);
    e.state.setInt32(S.ACTIVITY, S.ACTIVITY_RUNNING, true);
    expect(M.runCode(e, [...load(watched), HLT])).toBe('halted');
    expect(log()).toHaveLength(1);
  });

  test('a load of SS holds its breakpoint until after the next instruction', () => {
    breakAt(0, watched, 3, 1);
    e.ramView.setUint16(watched, M.KERNEL_DATA, true);
    expect(M.runCode(e, [0x8e, 0x14, ...load(watched).slice(2), NOP, NOP, HLT])).toBe('halted');
    expect(log()).toEqual([[8, (DR6_ENTRY | 1) >>> 0]]);
  });
});

describe('NMI', () => {
  const pushImmediate = (value: number): number[] => [
    0x68,
    value & 0xff,
    (value >> 8) & 0xff,
    value >> 16,
    0,
  ];

  test('is blocked in the handler of another and kept', () => {
    setOwnPending(e.cpu.i32, S.PENDING / 4, S.PENDING_NMI);
    expect(M.runCode(e, [HLT])).toBe('halted');
    expect(Number(M.getSlot(e, S.RIP))).toBe(NMI_HANDLER + 1);
    setOwnPending(e.cpu.i32, S.PENDING / 4, S.PENDING_NMI);
    expect(e.engine.run()).toBe('halted');
    expect(Number(M.getSlot(e, S.RIP))).toBe(NMI_HANDLER + 1);
  });

  test('that was kept comes right after IRET', () => {
    e.state.setInt32(S.NMI_STATE, S.NMI_BLOCKED | S.NMI_KEPT, true);
    const frame = [
      ...pushImmediate(M.KERNEL_DATA),
      ...pushImmediate(M.CURRENT_STACK),
      ...[0x9c], // pushfq
      ...pushImmediate(M.KERNEL_CODE64),
      ...pushImmediate(M.CODE + 0x40),
    ];
    e.ram[M.CODE + 0x40] = HLT;
    expect(M.runCode(e, [...frame, 0x48, 0xcf])).toBe('halted');
    expect(Number(M.getSlot(e, S.RIP))).toBe(NMI_HANDLER + 1);
    const pushedRip = e.ramView.getUint32(Number(M.getSlot(e, S.RSP)), true);
    expect(pushedRip).toBe(M.CODE + 0x40);
  });
});
