// Conditional jumps behind COMISD and UCOMISD in both tiers: the compiled one takes the condition from the comparison, not from flag words.
import { describe, expect, test } from 'vitest';
import { BareMachine } from '#actors/vcpu/bare-machine.js';
import * as S from '#shared/x86/cpu-state.js';

const CODE = 0x400000n;
const VALUES = [0, -0, 1, -1, 5e-324, 1.5, Infinity, -Infinity, NaN];
const ALL_MASKED = 0x1f80;
const RUNS = 3;

/** CF, PF and ZF of a comparison, in their places in RFLAGS. */
function flagsOf(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return 0x45;
  return a === b ? 0x40 : a < b ? 1 : 0;
}

/** Whether Jcc is taken; OF and SF are clear. */
function isTaken(cc: number, flags: number): boolean {
  const [cf, zf, pf] = [(flags & 1) !== 0, (flags & 0x40) !== 0, (flags & 4) !== 0];
  const even = [false, cf, zf, cf || zf, false, pf, false, zf][cc >> 1]!;
  return (cc & 1) === 0 ? even : !even;
}

describe.each([
  ['interpreter', 0],
  ['compiled', 1],
])('in the %s tier', (_tier, heat) => {
  test.each([
    ['comisd', 0x2f],
    ['ucomisd', 0x2e],
  ])('every condition behind %s holds when it must', (_name, opcode) => {
    const machine = new BareMachine(8 << 20, heat);
    machine.prepare(64);
    machine.map(CODE, 0x10000);
    const wrong: string[] = [];
    for (let cc = 0; cc < 16; cc++) {
      // mov al, 1; (u)comisd xmm0, xmm1; jcc +2; mov al, 0; hlt
      const at = CODE + BigInt(cc * 64);
      machine.write(at, Uint8Array.of(0xb0, 1, 0x66, 0x0f, opcode, 0xc1, 0x70 + cc, 2, 0xb0, 0, 0xf4));
      for (let run = 0; run < RUNS; run++)
        for (const a of VALUES)
          for (const b of VALUES) {
            machine.view.setInt32(machine.stateOffset + S.MXCSR, ALL_MASKED, true);
            machine.view.setFloat64(machine.stateOffset + S.XMM, a, true);
            machine.view.setFloat64(machine.stateOffset + S.XMM + 16, b, true);
            machine.setState64(S.RIP, at);
            expect(machine.run(5000).kind).toBe('halted');
            const taken = (machine.getState64(S.RAX) & 0xffn) === 1n;
            if (taken !== isTaken(cc, flagsOf(a, b))) wrong.push(`${a} ${b} condition ${cc}`);
          }
    }
    expect(wrong).toEqual([]);
  });
});
