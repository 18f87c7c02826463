// SYSCALL, SYSRET and IRETQ inline against the helpers that describe them: the same code from the same state, once with what makes
// the meaning leave to the helper. The code that they go to faults at once (UD2), so that the frame shows CS, SS, RSP and RFLAGS.
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { readArithmeticFlags } from '#shared/translate/flag-builder.js';
import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { type BareEngine, buildBareEngine } from '../../../../support/bare-engine.js';
import * as M from '../../../../support/cpu-modes.js';

const UD2 = [0x0f, 0x0b];
const SYSCALL = [0x0f, 0x05];
const SYSRETQ = [0x48, 0x0f, 0x07];
const IRETQ = [0x48, 0xcf];
const HLT = 0xf4;
const HANDLER = 0x12000;
const TARGET = 0x13000;
const FRAME = M.CURRENT_STACK - 64;
const R11 = 11 * 8;
/** Selectors for SYSCALL: code and the stack behind it; SYSRET's are 16 and 8 behind 0x1b. */
const STAR = (0x23n << 48n) | (BigInt(M.KERNEL_CODE64) << 32n);
const HANDLED = F.ARITHMETIC_FLAGS | F.IF | F.DF | F.NT | F.AC | F.ID | F.IOPL | F.RF;
const TARGETS = [BigInt(TARGET), 0x7fff_ffff_f000n, 0x8000_0000_0000n] as const;
/** What the way that was taken may leave different. */
const PRIVATE: readonly (readonly [number, number])[] = [
  [S.SLOW_ADDRESS, S.SEGMENT],
  [S.CC_RESULT, S.RFLAGS_SYSTEM],
  [S.COUNT_INTERPRETED, S.MTRR_FIXED],
  [S.VECTOR_SCRATCH, S.IRQ_PARKED],
  [S.LINK_SITE, S.TLB_FLUSH_ACK],
  [S.SHADOW_IP, S.USER_JUMP_CACHE_MODE + 4],
];

let e: BareEngine;
beforeAll(() => {
  e = buildBareEngine(16 << 20);
});

const flags = fc.integer({ min: 0, max: 2 ** 22 - 1 }).map((bits) => (bits & HANDLED) | F.RFLAGS_FIXED);

interface Outcome {
  readonly state: readonly number[];
  readonly arithmetic: number;
  readonly stack: readonly number[];
  readonly branches: number;
}

function outcome(code: readonly number[]): Outcome {
  M.setGate(e, 6, M.KERNEL_CODE64, HANDLER, 0x8e, 1);
  M.setGate(e, 13, M.KERNEL_CODE64, HANDLER, 0x8e, 1);
  M.setGate(e, 14, M.KERNEL_CODE64, HANDLER, 0x8e, 1);
  e.ram[HANDLER] = HLT;
  e.ram.set(UD2, TARGET);
  const before = e.engine.exits[S.EXIT_BRANCH]!;
  expect(M.runCode(e, code)).toBe('halted');
  const state = [...new Uint8Array(e.state.buffer, e.state.byteOffset, S.VECTOR_SCRATCH + 80)];
  for (const [from, to] of PRIVATE) state.fill(0, from, to);
  return {
    state,
    arithmetic: readArithmeticFlags(e.cpu.i32, 0),
    stack: [...e.ram.subarray(M.IST_STACK - 64, M.IST_STACK)],
    branches: e.engine.exits[S.EXIT_BRANCH]! - before,
  };
}

/** Runs with the jump caches in use for 64-bit code, then without; gives how often the helper ran the first time. */
function compare(prepare: () => void, code: readonly number[], hinder: () => void): number {
  const inline = outcomeAfter(prepare, code);
  const helped = outcomeAfter(() => {
    prepare();
    hinder();
  }, code);
  expect(helped.branches).toBe(1);
  expect({ ...inline, branches: 1 }).toEqual(helped);
  return inline.branches;
}

function outcomeAfter(prepare: () => void, code: readonly number[]): Outcome {
  prepare();
  return outcome(code);
}

function noJumpCaches(): void {
  e.state.setInt32(S.SUPERVISOR_JUMP_CACHE_MODE, 0, true);
  e.state.setInt32(S.USER_JUMP_CACHE_MODE, 0, true);
}

function prepare(cpl: 0 | 3, rflags: number): void {
  M.enterLongMode(e, cpl);
  e.state.setInt32(S.SUPERVISOR_JUMP_CACHE_MODE, S.MODE_64 + 1, true);
  e.state.setInt32(S.USER_JUMP_CACHE_MODE, S.MODE_64 + 1, true);
  M.setSlot(e, S.STAR, STAR);
  e.state.setInt32(S.RFLAGS_SYSTEM, rflags & ~(F.ARITHMETIC_FLAGS | F.RFLAGS_FIXED | F.RF), true);
  e.cpu.modeChanged();
}

describe('system calls inline are what the helpers describe', () => {
  test('SYSCALL', () => {
    fc.assert(
      fc.property(flags, flags, (rflags, mask) => {
        const way = compare(
          () => {
            prepare(3, rflags);
            M.setSlot(e, S.LSTAR, TARGET);
            e.state.setInt32(S.FMASK, mask, true);
          },
          [0x05, 0xff, 0xff, 0xff, 0x7f, ...SYSCALL], // ADD EAX, 7FFFFFFFh: some arithmetic flags
          noJumpCaches,
        );
        expect(way).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test('SYSRET', () => {
    fc.assert(
      fc.property(flags, flags, fc.constantFrom(...TARGETS), (rflags, image, target) => {
        const canonical = target < 0x8000_0000_0000n;
        const prepared = (): void => {
          prepare(0, rflags);
          M.setSlot(e, S.RCX, target);
          M.setSlot(e, R11, image);
        };
        if (canonical) expect(compare(prepared, SYSRETQ, noJumpCaches)).toBe(0);
        else expect(outcomeAfter(prepared, SYSRETQ).branches).toBe(0); // #GP at CPL 0
      }),
      { numRuns: 60 },
    );
  });

  test('SYSRET that would trap, or let a waiting interrupt in, is the helper’s', () => {
    prepare(0, 0);
    M.setSlot(e, S.RCX, TARGET);
    M.setSlot(e, R11, F.IF);
    e.state.setInt32(S.IRQ_PARKED, 1, true);
    expect(outcome(SYSRETQ).branches).toBe(1);
    expect(e.state.getInt32(S.IRQ_PARKED, true)).toBe(0);
  });
});

describe('IRETQ inline is what the helper describes', () => {
  function frame(cpl: 0 | 3, image: number, target: bigint): void {
    const code = cpl === 3 ? M.USER_CODE64 : M.KERNEL_CODE64;
    const stack = cpl === 3 ? M.USER_DATA : M.KERNEL_DATA;
    [target, BigInt(code), BigInt(image), BigInt(M.DATA), BigInt(stack)].forEach((value, i) =>
      e.ramView.setBigUint64(FRAME + i * 8, value, true),
    );
    M.setSlot(e, S.RSP, FRAME);
    for (const s of [S.DS, S.ES, S.FS, S.GS]) e.reset.setSegment(s, 0, 0, 0, 0);
  }

  test.each([0, 3] as const)('to CPL %i', (cpl) => {
    fc.assert(
      fc.property(flags, flags, (rflags, image) => {
        const plain = (rflags & (F.NT | F.AC)) === 0 && (cpl === 3 || (image & F.AC) === 0);
        if ((rflags & F.NT) !== 0) return; // the helper raises #GP for a task that is not there
        const way = compare(
          () => {
            prepare(0, rflags);
            frame(cpl, image, BigInt(TARGET));
          },
          IRETQ,
          () => e.state.setInt32(S.NMI_STATE, S.NMI_BLOCKED, true),
        );
        expect(way).toBe(plain ? 0 : 1);
      }),
      { numRuns: 60 },
    );
  });

  test('data segments of CPL 0 do not come along to CPL 3', () => {
    prepare(0, 0);
    frame(3, F.RFLAGS_FIXED, BigInt(TARGET));
    e.reset.setSegment(S.DS, M.KERNEL_DATA, 0, 0xffff_ffff, 0xc93);
    expect(outcome(IRETQ).branches).toBe(1);
    expect(e.cpu.u16[(S.SEGMENT + S.DS * S.SEGMENT_BYTES + S.SEGMENT_SELECTOR) / 2]).toBe(0);
  });

  test('a descriptor that is not flat is loaded as it is', () => {
    prepare(0, 0);
    frame(3, F.RFLAGS_FIXED, BigInt(TARGET));
    M.setDescriptor(e, M.USER_DATA, 0x00cf_f300_0000_0fffn);
    expect(outcome(IRETQ).branches).toBe(1);
  });
});

test('the shadow of an STI does not outlast the instruction after it', () => {
  M.enterLongMode(e, 0);
  M.setGate(e, 6, M.KERNEL_CODE64, HANDLER, 0x8e);
  e.ram[HANDLER] = HLT;
  const steps = e.engine.exits[S.EXIT_PENDING]!;
  // The UD2 leaves to the run loop long after the STI: nothing is stepped there.
  expect(M.runCode(e, [0xfb, 0x90, 0x90, ...UD2])).toBe('halted');
  expect(e.engine.exits[S.EXIT_PENDING]! - steps).toBe(0);
});
