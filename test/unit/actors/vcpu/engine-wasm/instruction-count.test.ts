// The count of guest instructions is what retired, in the interpreter as in regions: over loops, faults in the middle of a block,
// repeated strings, and code that changes while it runs.
import { describe, expect, test } from 'vitest';
import { BareMachine } from '#actors/vcpu/bare-machine.js';
import * as S from '#shared/x86/cpu-state.js';

const CODE = 0x40_0000n;
const DATA = 0x80_0000n;
const HLT = 0xf4;
const TURNS = 50;

const imm32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** `heat` 0: the interpreter alone; 1: everything is compiled. */
function makeMachine(heat: number, code: readonly number[]): BareMachine {
  const m = new BareMachine(8 << 20, heat, { counts: true });
  m.prepare(64, 0);
  m.map(CODE, 64 * 4096);
  m.map(DATA, 64 * 4096);
  m.write(CODE, Uint8Array.from(code));
  m.setState64(S.RIP, CODE);
  m.setState64(S.RSP, DATA + 0x800n);
  return m;
}

const interpreted = (m: BareMachine): number => Number(m.getState64(S.COUNT_INTERPRETED));
const compiled = (m: BareMachine): number => Number(m.getState64(S.COUNT_COMPILED));
const retired = (m: BareMachine): number => interpreted(m) + compiled(m);

/** mov ecx, turns; L: `body`; dec ecx; jnz L; hlt: that many instructions around the body. */
function loop(turns: number, body: readonly number[]): number[] {
  return [0xb9, ...imm32(turns), ...body, 0xff, 0xc9, 0x0f, 0x85, ...imm32(-(body.length + 8)), HLT];
}
const around = (turns: number): number => 2 + 2 * turns;

describe.each([
  ['interpreter', 0],
  ['compiled tier', 1],
] as const)('in the %s', (_tier, heat) => {
  function count(code: readonly number[], end: object = { kind: 'halted' }): number {
    const m = makeMachine(heat, code);
    expect(m.run()).toMatchObject(end);
    if (heat === 0) expect(compiled(m)).toBe(0);
    return retired(m);
  }

  test('straight code and a loop', () => {
    expect(count([0x90, 0x90, HLT])).toBe(3);
    expect(count(loop(TURNS, [0x83, 0xc0, 0x03]))).toBe(TURNS + around(TURNS));
  });

  test('a function that is called', () => {
    const body = loop(TURNS, [0xe8, ...imm32(0x100)]);
    const code = [...body, ...new Array<number>(0x10a - body.length).fill(0x90), 0x83, 0xc0, 0x07, 0xc3]; // add eax, 7; ret
    expect(count(code)).toBe(3 * TURNS + around(TURNS));
  });

  test('a fault in the middle of a block', () => {
    // mov rdx, [rbx] faults at once: rbx is 0.
    const code = [0x90, 0xff, 0xc0, 0x48, 0x8b, 0x13, 0x90, HLT];
    expect(count(code, { kind: 'exception', vector: 14 })).toBe(2);
    expect(count([0x90, 0x0f, 0x0b], { kind: 'exception', vector: 6 })).toBe(1);
  });

  test('a fault in the last turns of a loop', () => {
    // mov ebx, DATA; mov ecx, 1000; L: add ebx, 4096; mov rdx, [rbx]; nop; dec ecx; jnz L: the 64th page is not there.
    const body = [0x81, 0xc3, ...imm32(4096), 0x48, 0x8b, 0x13, 0x90];
    const code = [0xbb, ...imm32(Number(DATA)), ...loop(1000, body)];
    expect(count(code, { kind: 'exception', vector: 14 })).toBe(2 + 63 * 5 + 1);
  });

  test.each([7, 100, 1000])('a string of %i elements, as one', (elements) => {
    // mov edi, DATA; mov ecx, elements; rep scasb (all equal to AL); nop; hlt
    const scan = [0xbf, ...imm32(Number(DATA)), 0xb9, ...imm32(elements), 0xf3, 0xae, 0x90, HLT];
    expect(count(scan)).toBe(5);
    const fill = [0xbf, ...imm32(Number(DATA)), 0xb9, ...imm32(elements * 9), 0xf3, 0xaa, 0x90, HLT];
    expect(count(fill)).toBe(5);
    // The same in a loop: L: mov edi, DATA; mov ecx, elements; rep lodsb and so on, by another counter.
    const body = [0xbe, ...imm32(Number(DATA)), 0xb9, ...imm32(elements), 0xf3, 0xac];
    const turns = [0xba, ...imm32(TURNS), ...body, 0xff, 0xca, 0x75, 0x100 - body.length - 4, HLT];
    expect(count(turns)).toBe(2 + 5 * TURNS);
  });

  test('code that overwrites itself', () => {
    // mov ecx, TURNS; xor eax, eax; L: inc dword [rip + 0] (the next immediate); add eax, 0; dec ecx; jnz L; hlt
    const body = [0xff, 0x05, ...imm32(1), 0x05, ...imm32(0)];
    expect(count(loop(TURNS, body))).toBe(2 * TURNS + around(TURNS));
  });

  test('loads of segment registers in the middle of a block', () => {
    // mov eax, ds; mov ds, eax; nop; push fs; pop fs; nop
    const body = [0x8c, 0xd8, 0x8e, 0xd8, 0x90, 0x0f, 0xa0, 0x0f, 0xa1, 0x90];
    const m = makeMachine(heat, loop(TURNS, [0x90, ...body]));
    m.map(0n, 4096);
    m.setState64(S.GDTR_BASE, 0n);
    m.write(0x18n, Uint8Array.from([0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0]));
    expect(m.run()).toEqual({ kind: 'halted' });
    expect(retired(m)).toBe(7 * TURNS + around(TURNS));
  });

  test('helpers that change the mode in the middle of a block', () => {
    // mov rax, cr0; mov cr0, rax; nop
    expect(count(loop(TURNS, [0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xc0, 0x90]))).toBe(3 * TURNS + around(TURNS));
  });
});

test('both tiers share the work as their heat says', () => {
  const m = makeMachine(10, loop(1000, [0x83, 0xc0, 0x03]));
  expect(m.run()).toEqual({ kind: 'halted' });
  expect(retired(m)).toBe(1000 + around(1000));
  expect(interpreted(m)).toBeLessThan(100);
});

test('nothing is counted when nobody asks', () => {
  const m = new BareMachine(8 << 20, 1);
  m.prepare(64, 0);
  m.map(CODE, 4096);
  m.write(CODE, Uint8Array.from(loop(TURNS, [0x90])));
  m.setState64(S.RIP, CODE);
  expect(m.run()).toEqual({ kind: 'halted' });
  expect(retired(m)).toBe(0);
});
