// Delivery in generated code against the TypeScript that describes it: the same event from the same state, once through a bare engine's
// run loop, which tries the routine first, once by deliverEvent(). State page and memory are then the same.
import fc from 'fast-check';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { readArithmeticFlags } from '#shared/translate/flag-builder.js';
import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { deliverEvent } from '#actors/vcpu/engine-wasm/helpers/exceptions.js';
import { type BareEngine, buildBareEngine } from '../../../../support/bare-engine.js';
import * as M from '../../../../support/cpu-modes.js';

const UD2 = [0x0f, 0x0b];
const VECTOR = 6;
const HLT = 0xf4;
const HANDLER = 0x12000;
const TSS_IST2 = M.TSS + 44;
const FLAGS = F.ARITHMETIC_FLAGS | F.IF | F.DF | F.NT | F.AC | F.ID | F.IOPL;
/** What the way that was taken may leave different. */
const PRIVATE: readonly (readonly [number, number])[] = [
  [S.BLOCK_RIP, S.RFLAGS_SYSTEM],
  [S.EXCEPTION_VECTOR, S.SEGMENT],
  [S.COUNT_INTERPRETED, S.MTRR_FIXED],
  [S.VECTOR_SCRATCH, S.FX_IMAGE],
];

const calls = vi.hoisted(() => ({ described: 0 }));
vi.mock('#actors/vcpu/engine-wasm/helpers/long-gate.js', async (original) => {
  const actual = await original<{ deliverLong: (...args: never[]) => void }>();
  return {
    deliverLong: (...args: never[]) => {
      calls.described++;
      actual.deliverLong(...args);
    },
  };
});

interface Event {
  readonly cpl: 0 | 3;
  readonly rflags: number;
  readonly type: number;
  readonly ist: number;
  readonly rsp: number;
  readonly selector: number;
  readonly limit: number;
  /** Of the kernel's code segment. */
  readonly descriptor: bigint;
  readonly target: bigint;
  readonly tssLimit: number;
}

const USUAL: Event = {
  cpl: 3,
  rflags: F.IF,
  type: 0x8e,
  ist: 0,
  rsp: M.CURRENT_STACK,
  selector: M.KERNEL_CODE64,
  limit: 0xfff,
  descriptor: 0x00af_9b00_0000_ffffn,
  target: BigInt(HANDLER),
  tssLimit: 0x67,
};

let e: BareEngine;
beforeAll(() => {
  e = buildBareEngine(16 << 20);
});

function prepare(event: Event): void {
  M.enterLongMode(e, event.cpl);
  e.state.setInt32(S.SUPERVISOR_JUMP_CACHE_MODE, S.MODE_64 + 1, true);
  e.state.setInt32(S.RFLAGS_SYSTEM, event.rflags & ~F.ARITHMETIC_FLAGS, true);
  M.setGate(e, VECTOR, event.selector, Number(event.target & 0xffff_ffffn), event.type, event.ist);
  e.ramView.setUint32(M.IDT + VECTOR * 16 + 8, Number(event.target >> 32n), true);
  M.setGate(e, 13, M.KERNEL_CODE64, HANDLER, 0x8e, 1);
  M.setGate(e, 10, M.KERNEL_CODE64, HANDLER, 0x8e, 1);
  M.setGate(e, 11, M.KERNEL_CODE64, HANDLER, 0x8e, 1);
  e.state.setInt32(S.IDTR_LIMIT, event.limit, true);
  e.ramView.setBigUint64(TSS_IST2, BigInt(M.IST_STACK - 0x234), true);
  e.reset.setSegment(S.TR, 0x78, M.TSS, event.tssLimit, 0x8b);
  M.setDescriptor(e, M.SPARE, event.descriptor);
  M.setSlot(e, S.RSP, event.rsp);
  e.ram[HANDLER] = HLT;
  e.cpu.modeChanged();
}

/** State page, memory and arithmetic flags. */
function image(): Buffer {
  const state = new Uint8Array(e.state.buffer, e.state.byteOffset, S.CPU_STATE_BYTES).slice();
  for (const [from, to] of PRIVATE) state.fill(0, from, to);
  state.fill(0, S.ACTIVITY, S.ACTIVITY + 4);
  const set = e.cpu.i32[S.CPL / 4] === 3 ? 0 : (e.cpu.i32[S.RFLAGS_SYSTEM / 4]! & F.AC) !== 0 ? 2 : 1;
  expect(e.cpu.i32[S.TLB_BASE / 4]).toBe(e.tlb.setOffset(set));
  return Buffer.concat([state, e.ram.slice(0, 0x30000), Buffer.of(readArithmeticFlags(e.cpu.i32, 0) & 0xff)]);
}

/** Delivers by #UD of UD2 at RIP; gives whether the routine did it alone. */
function compare(event: Event): boolean {
  prepare(event);
  e.ram.set([0x04, 0x7f, ...UD2], M.CODE); // ADD AL, 7Fh: some arithmetic flags
  calls.described = 0;
  e.blocks.dropAll();
  expect(e.engine.run()).toBe('halted');
  const alone = calls.described === 0;
  const generated = image();
  prepare(event);
  e.ram.set([0x04, 0x7f, HLT], M.CODE);
  e.blocks.dropAll();
  if (event.cpl === 0) expect(e.engine.run()).toBe('halted');
  else addByHand();
  e.ram.set([0x04, 0x7f, ...UD2], M.CODE);
  M.setSlot(e, S.RIP, M.CODE + 2);
  deliverEvent(e.cpu, { vector: VECTOR, kind: 'fault' });
  e.state.setInt32(S.ACTIVITY, S.ACTIVITY_RUNNING, true);
  e.blocks.dropAll();
  expect(e.engine.run()).toBe('halted');
  expect(generated.equals(image())).toBe(true);
  return alone;
}

/** HLT is not for CPL 3: the same addition at CPL 0. */
function addByHand(): void {
  e.state.setInt32(S.CPL, 0, true);
  e.reset.setSegment(S.CS, M.KERNEL_CODE64, 0, 0xffff_ffff, 0xa9b);
  e.cpu.modeChanged();
  expect(e.engine.run()).toBe('halted');
  e.state.setInt32(S.CPL, 3, true);
  e.reset.setSegment(S.CS, M.USER_CODE64, 0, 0xffff_ffff, 0xafb);
  e.cpu.modeChanged();
}

describe('delivery in generated code', () => {
  test('is what the TypeScript describes, alone in the usual cases', () => {
    const often = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> =>
      fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...others) }); // prettier-ignore
    const events: fc.Arbitrary<Event> = fc.record({
      cpl: fc.constantFrom(0, 3),
      rflags: fc.integer({ min: 0, max: 2 ** 22 - 1 }).map((bits) => bits & FLAGS),
      type: fc.oneof(fc.constantFrom(0x8e, 0x8f, 0xee), often(0x8e, 0x0e, 0x8c, 0x9e)),
      ist: fc.constantFrom(0, 0, 1, 2),
      rsp: fc.integer({ min: M.CURRENT_STACK - 200, max: M.CURRENT_STACK + 200 }),
      selector: often(M.KERNEL_CODE64, M.KERNEL_CODE64 | 1, M.SPARE, 0, M.KERNEL_DATA, 0x44, 0xff8),
      limit: often(0xfff, 13 * 16 + 15, VECTOR * 16 + 14),
      descriptor: fc.constantFrom(0x00af_9b00_0000_ffffn, 0x00af_9a00_0000_ffffn, 0x00af_9f00_0000_ffffn),
      target: often(BigInt(HANDLER), 0x8000_0000_0000n),
      tssLimit: often(0x67, 0x2f, 0x0a),
    });
    let alone = 0;
    fc.assert(
      fc.property(events, (event) => {
        // Beyond the limit there is no gate for what that raises either.
        if (event.limit < 13 * 16 + 15) return;
        if (event.tssLimit < 0x2c) return; // IST1 is needed for what is raised
        if (compare(event)) alone++;
      }),
      { numRuns: 150 },
    );
    expect(alone).toBeGreaterThan(40);
  });

  test.each([0, 3] as const)('needs no TypeScript from CPL %i', (cpl) => {
    for (const ist of [0, 1, 2]) expect(compare({ ...USUAL, cpl, ist })).toBe(true);
  });

  test('a frame over two pages, an unusual code segment and an unusual stack are TypeScript’s', () => {
    expect(compare({ ...USUAL, cpl: 0, rsp: M.CURRENT_STACK + 16 })).toBe(false);
    expect(compare({ ...USUAL, selector: M.SPARE, descriptor: 0x00af_9a00_0000_ffffn })).toBe(false);
  });
});
