// The faults of SSE, MMX and x87 that need a control register or an earlier exception, which the host cannot be asked about from user code.
// Intel SDM vol. 3 §2.5 (CR0, CR4), §13.1; vol. 1 §8.6, §11.6.
import { describe, expect, it } from 'vitest';
import { BareMachine } from '#actors/vcpu/bare-machine.js';
import * as S from '#shared/x86/cpu-state.js';

const CODE = 0x30000000n;
const DATA = 0x20000000;
/** RDI points at a page: single 1.5, single 0; the page after it is not mapped. */
const CASES: readonly (readonly [string, string, number | undefined])[] = [
  ['CR0.TS traps x87', '0f20c04883c8080f22c0d9e8', 7],
  ['CR0.TS traps MMX', '0f20c04883c8080f22c00ffec0', 7],
  ['CR0.TS traps SSE', '0f20c04883c8080f22c00f58c0', 7],
  ['CR0.TS traps FXSAVE', '0f20c04883c8080f22c00fae07', 7],
  ['CR0.TS and CR0.MP trap FWAIT', '0f20c04883c8080f22c09b', 7],
  ['CR0.TS alone does not trap FWAIT', '0f20c04883c8084883e0fd0f22c09b', undefined],
  ['CR0.EM traps x87', '0f20c04883c8040f22c0d9e8', 7],
  ['CR0.EM makes MMX undefined', '0f20c04883c8040f22c00ffec0', 6],
  ['CR0.EM makes SSE undefined', '0f20c04883c8040f22c00f58c0', 6],
  ['without CR4.OSFXSR SSE is undefined', '0f20e04825fffdffff0f22e00f58c0', 6],
  ['CRC32 needs no CR4.OSFXSR', '0f20e04825fffdffff0f22e0f20f38f1c0', undefined],
  ['a waiting x87 instruction reports an earlier exception', '66c747087a03dbe3d96f08d9e8d87704d9d0', 16],
  ['an MMX instruction reports an earlier x87 exception', '66c747087a03dbe3d96f08d9e8d877040ffec0', 16],
  ['FWAIT reports an earlier exception', '66c747087a03dbe3d96f08d9e8d877049b', 16],
  ['FNSTSW does not wait', '66c747087a03dbe3d96f08d9e8d87704dfe0', undefined],
  ['FNCLEX forgets the exception', '66c747087a03dbe3d96f08d9e8d87704dbe29b', undefined],
  ['FNSTENV masks it', '66c747087a03dbe3d96f08d9e8d87704d977409b', undefined],
  [
    'an SSE instruction does not report an x87 exception',
    '66c747087a03dbe3d96f08d9e8d877040f58c0',
    undefined,
  ],
  ['an unmasked SSE exception is #XM', 'c707001f00000fae170f5ec8', 19],
  ['without CR4.OSXMMEXCPT it is undefined', '0f20e04825fffbffff0f22e0c707001f00000fae170f5ec8', 6],
  ['reserved MXCSR bits fault', 'c707000001000fae17', 13],
  ['FXRSTOR of reserved MXCSR bits faults', 'c74718000001000fae0f', 13],
  ['FXSAVE wants 16-byte alignment', '0fae4708', 13],
  ['MOVAPS wants 16-byte alignment', '0f284708', 13],
  ['MOVUPS does not', '0f104708', undefined],
  ['PCMPISTRI does not', '660f3a63470800', undefined],
  ['FXSAVE across an unmapped page faults', '0fae87000f0000', 14],
  ['FSTP across an unmapped page faults', 'dbe3d9e8dbbffc0f0000', 14],
];

const machine = new BareMachine();

function run(code: string): { vector: number | undefined; top: number } {
  machine.prepare(64);
  machine.map(CODE, 4096);
  machine.map(BigInt(DATA), 4096);
  machine.write(BigInt(DATA), Uint8Array.of(0, 0, 0xc0, 0x3f, 0, 0, 0, 0));
  machine.write(CODE, Buffer.from(`${code}f4`, 'hex'));
  machine.setState64(S.RIP, CODE);
  machine.setState64(8 * 7, DATA);
  const end = machine.run(1000);
  expect(end.kind).not.toBe('timeout');
  const top = machine.view.getInt32(machine.stateOffset + S.X87_TOP, true);
  return { vector: end.kind === 'exception' ? end.vector : undefined, top };
}

describe('faults of floating-point and vector instructions', () => {
  it.each(CASES)('%s', (_name, code, vector) => {
    expect(run(code).vector).toBe(vector);
  });

  it('leaves memory and the stack alone when a store faults in its second page', () => {
    const { vector, top } = run('dbe3d9e8dbbffc0f0000'); // fninit; fld1; fstpt 0xffc(%rdi)
    expect(vector).toBe(14);
    expect(top).toBe(7);
    expect([...machine.read(BigInt(DATA + 0xffc), 4)]).toEqual([0, 0, 0, 0]);
  });

  it('notes where an unmasked exception came from', () => {
    // movw $0x37a,8(%rdi); fninit; fldcw 8(%rdi); fld1; fdivs 4(%rdi); fnstenv 64(%rdi)
    expect(run('66c747087a03dbe3d96f08d9e8d87704d97740').vector).toBeUndefined();
    const image = Buffer.from(machine.read(BigInt(DATA + 64), 28));
    expect(image.readUInt32LE(12)).toBe(Number(CODE) + 13);
    expect(image.readUInt32LE(20)).toBe(DATA + 4);
  });
});
