import { beforeAll, expect, test } from 'vitest';
import * as S from '#shared/x86/cpu-state.js';
import { type BareEngine, buildBareEngine } from '../../../../../support/bare-engine.js';
import * as M from '../../../../../support/cpu-modes.js';

const VMCALL = [0x0f, 0x01, 0xc1];
const VMMCALL = [0x0f, 0x01, 0xd9];
const HLT = 0xf4;

let e: BareEngine;
beforeAll(() => {
  e = buildBareEngine(16 << 20);
});

test('64-bit code: the poll call gives 0, another −ENOSYS, and execution goes on behind each', () => {
  M.enterLongMode(e, 0);
  const movEax1 = [0xb8, 1, 0, 0, 0];
  const movRbxRax = [0x48, 0x89, 0xc3];
  const movEax10 = [0xb8, 10, 0, 0, 0];
  expect(M.runCode(e, [...movEax1, ...VMCALL, ...movRbxRax, ...movEax10, ...VMMCALL, HLT])).toBe('halted');
  expect(M.getSlot(e, S.RBX)).toBe(0n);
  expect(BigInt.asIntN(64, M.getSlot(e, S.RAX))).toBe(-1000n);
});

test('32-bit code: EAX alone; from CPL 3 it is not permitted', () => {
  M.enterProtectedMode(e, 0);
  M.setSlot(e, S.RAX, 0x5_0000_0007n);
  expect(M.runCode(e, [...VMCALL, HLT])).toBe('halted');
  expect(M.getSlot(e, S.RAX)).toBe(0xffff_fc18n);
  M.enterLongMode(e, 3);
  M.setSlot(e, S.RAX, 1);
  M.setGate(e, 6, M.KERNEL_CODE64, M.CODE + 0x100, 0x8e);
  e.ram[M.CODE + 0x100] = HLT;
  expect(M.runCode(e, [...VMMCALL, 0x0f, 0x0b])).toBe('halted');
  expect(BigInt.asIntN(64, M.getSlot(e, S.RAX))).toBe(-1n);
});
