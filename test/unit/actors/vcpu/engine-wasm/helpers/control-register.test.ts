// What writes of control registers are refused, and port permission, against the manual's rules.
import { beforeAll, describe, expect, test } from 'vitest';
import * as S from '#shared/x86/cpu-state.js';
import { GuestFault } from '#actors/vcpu/engine-wasm/cpu-context.js';
import { HELPERS } from '#actors/vcpu/engine-wasm/helpers/index.js';
import { type BareEngine, buildBareEngine } from '../../../../../support/bare-engine.js';
import * as M from '../../../../../support/cpu-modes.js';

let e: BareEngine;
beforeAll(() => {
  e = buildBareEngine(16 << 20);
});

/** The vector that a helper raises, undefined when it goes through. */
function vectorOf(name: string, ...args: number[]): number | undefined {
  try {
    HELPERS[name]!(e.cpu, args[0] ?? 0, args[1] ?? 0, args[2] ?? 0);
    return undefined;
  } catch (fault) {
    if (fault instanceof GuestFault) return fault.vector;
    throw fault;
  }
}

function writeControl(register: number, value: bigint): number | undefined {
  M.setSlot(e, S.HELPER_ARG0, value);
  return vectorOf('writeControlRegister', register);
}

describe('control registers', () => {
  test.each([
    ['PG without PE', 0, 0x8000_0010n],
    ['NW without CD', 0, 0x2000_0011n],
    ['high half of CR0', 0, 0x1_0000_0011n],
    ['leaving paging in 64-bit code', 0, 0x11n],
    ['clearing PAE in IA-32e mode', 4, 0x600n],
    ['a bit that CPUID does not announce', 4, 0x2_0620n],
    ['beyond the physical address', 3, 1n << 52n],
    ['more than four bits of TPR', 8, 16n],
  ])('%s is #GP', (_what, register, value) => {
    M.enterLongMode(e, 0);
    expect(writeControl(register, value)).toBe(13);
    expect(M.getSlot(e, S.CR0)).toBe(0x8001_0033n);
  });

  test('registers that do not exist are #UD', () => {
    M.enterLongMode(e, 0);
    expect([1, 5, 6, 7, 9, 15].map((register) => writeControl(register, 0n))).toEqual([6, 6, 6, 6, 6, 6]);
  });

  test('paging with EFER.LME makes IA-32e mode active, without it does not', () => {
    M.enterProtectedMode(e, 0);
    M.setSlot(e, S.CR4, 0x20);
    expect(writeControl(0, 0x8000_0011n)).toBeUndefined();
    expect(e.state.getInt32(S.EFER, true) & 0x400).toBe(0);
    expect(writeControl(0, 0x11n)).toBeUndefined();
    M.setSlot(e, S.EFER, 0x100);
    expect(writeControl(0, 0x8000_0011n)).toBeUndefined();
    expect(M.getSlot(e, S.EFER)).toBe(0x500n);
  });

  test('DR4 and DR5 stand for DR6 and DR7 unless CR4.DE; DR7.GD guards them all', () => {
    M.enterLongMode(e, 0);
    M.setSlot(e, S.HELPER_ARG0, 0x0);
    expect(vectorOf('writeDebugRegister', 4)).toBeUndefined();
    expect(M.getSlot(e, S.DR + 48)).toBe(0xffff_0ff0n);
    M.setSlot(e, S.CR4, 0x628);
    expect(vectorOf('readDebugRegister', 5)).toBe(6);
    M.setSlot(e, S.DR + 56, 0x2400);
    expect(vectorOf('readDebugRegister', 0)).toBe(1);
    expect(M.getSlot(e, S.DR + 48) & 0x2000n).toBe(0x2000n);
  });
});

describe('ports', () => {
  test('above IOPL the bitmap decides, a bit for each byte of the access', () => {
    M.enterLongMode(e, 3);
    e.reset.setSegment(S.TR, 0x78, M.TSS, 0x67 + 0x20, 0x8b);
    e.ramView.setUint16(M.TSS + 102, 0x68, true);
    e.ram.fill(0xff, M.TSS + 0x68, M.TSS + 0x88);
    e.ram[M.TSS + 0x68 + 8] = 0b1111_0011;
    e.writes.length = 0;
    expect([
      vectorOf('portOut', 0x42, 2, 0x1234),
      vectorOf('portOut', 0x43, 2, 0),
      vectorOf('portOut', 0x41, 1, 0),
    ]).toEqual([undefined, 13, 13]);
    expect(e.writes).toEqual([{ port: 0x42, bytes: 2, value: 0x1234 }]);
    // The map's last byte needs one more behind it.
    expect(vectorOf('portIn', 0xff, 1)).toBe(13);
    e.cpu.i32[S.RFLAGS_SYSTEM >> 2] = 0x3000;
    expect(vectorOf('portOut', 0x43, 2, 0)).toBeUndefined();
  });

  test('REP INSW and REP OUTSB move through the port in order', () => {
    M.enterLongMode(e, 0);
    e.reads.push(0x1111, 0x2222, 0x3333);
    e.writes.length = 0;
    M.setSlot(e, S.RDX, 0x1f0);
    M.setSlot(e, S.RDI, M.DATA);
    M.setSlot(e, S.RSI, M.DATA);
    M.setSlot(e, S.RCX, 3);
    // REP INSW; MOV CL,2; REP OUTSB; HLT
    M.runCode(e, [0x66, 0xf3, 0x6d, 0xb1, 2, 0xf3, 0x6e, 0xf4]);
    expect([0, 2, 4].map((at) => e.ramView.getUint16(M.DATA + at, true))).toEqual([0x1111, 0x2222, 0x3333]);
    expect(e.writes.map((w) => [w.port, w.bytes, w.value])).toEqual([
      [0x1f0, 1, 0x11],
      [0x1f0, 1, 0x11],
    ]);
  });
});
