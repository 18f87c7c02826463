// What single instructions need so that random values reach more than their first fault: pointers of strings, counts,
// dividends, comparands, images that a processor accepts. One row of the table a need.

import { type Case, CODE, DATA } from './case-record.js';
import { type Draft, operandBytes, patchBytes, pickTarget } from './draft.js';
import type { CaseGenerator } from './generator.js';

type Refine = (g: CaseGenerator, d: Draft) => void;

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const RSP = 4;
const RBP = 5;
const RSI = 6;
const RDI = 7;

/** Offset of a linear address in the flat (or, in 16-bit code, the data) segment. */
function offsetOf(c: Case, address: bigint): bigint {
  return c.mode === 16 ? BigInt.asUintN(16, address - BigInt(DATA)) : address;
}

/** Sets the low `bits` of a register; what is above stays when the address size ignores it. */
function setLow(c: Case, register: number, bits: number, value: bigint): void {
  const high = (c.gpr[register]! >> BigInt(bits)) << BigInt(bits);
  const width = c.mode === 64 ? 64 : 32;
  c.gpr[register] = BigInt.asUintN(width, high | BigInt.asUintN(bits, value));
}

/** Linear address of the stack's top. */
function stackTop(c: Case): bigint {
  return c.mode === 16 ? BigInt(DATA) + (c.gpr[RSP]! & 0xffffn) : c.gpr[RSP]!;
}

function bytesOf(value: bigint, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));
}

/** An instruction pointer in the code pages, where HLT is; as the mode counts it. */
function codePointer(g: CaseGenerator, c: Case): bigint {
  const place = g.prng.below(0x600);
  return BigInt(c.mode === 16 ? place : CODE + place);
}

const string: Refine = (g, d) => {
  const { prng } = g;
  const c = d.case;
  const bits = d.encoded.addressBits;
  const size = operandBytes(d.form);
  const count = prng.below(16) === 0 ? 60 + prng.below(80) : prng.below(12);
  const pointer = (register: number): void => {
    const target =
      prng.below(4) === 0 ? pickTarget(prng, size, c.mode) : BigInt(DATA + 0x600 + prng.below(0x1400));
    const base = register === RSI && c.mode === 64 ? { 3: 0x0, 4: 0x40, 5: 0xe00 }[segmentOf(d)]! : 0;
    setLow(c, register, bits, offsetOf(c, target) - (base === 0 ? 0n : BigInt(DATA + base)));
  };
  pointer(RSI);
  pointer(RDI);
  if (d.encoded.repeat !== 'none') setLow(c, RCX, bits, BigInt(count));
  // Equal elements now and then, or a comparison ends at once.
  if (/^(Cmps|Scas|StringCmps)/.test(d.form.mnemonic) && prng.below(2) === 0) {
    const value = BigInt(prng.below(3));
    setLow(c, RAX, 64, value * 0x0101010101010101n);
    const fill = new Uint8Array(0x800).fill(Number(value));
    if (prng.below(2) === 0) fill[0x400 + prng.below(32)] = 7;
    patchBytes(d, BigInt(DATA + 0x800 + prng.below(0x400)), fill);
  }
};

/** 3, or 4 and 5 for an FS or GS prefix before the opcode. */
function segmentOf(d: Draft): 3 | 4 | 5 {
  for (const byte of d.case.code) {
    if (byte === 0x64) return 4;
    if (byte === 0x65) return 5;
    if (![0x66, 0x67, 0xf2, 0xf3, 0xf0].includes(byte)) break;
  }
  return 3;
}

const bitString: Refine = (g, d) => {
  const { encoded } = d;
  if (encoded.memory === undefined || !/_r(16|32|64)$/.test(d.form.name)) return;
  const { reg } = encoded;
  if (reg === encoded.memory.base || reg === encoded.memory.index) return;
  setLow(
    d.case,
    reg,
    d.form.bits,
    BigInt(g.prng.below(8) === 0 ? g.prng.u32() : g.prng.below(0x4000) - 0x2000),
  );
};

const divide: Refine = (g, d) => {
  const c = d.case;
  const { bits } = d.form;
  if (g.prng.below(4) === 0) return;
  const signed = d.form.mnemonic === 'Idiv';
  if (bits === 8) setLow(c, RAX, 16, BigInt(g.prng.below(0x400) - (signed ? 0x200 : 0)));
  else if (signed && g.prng.below(2) === 0)
    setLow(c, RDX, bits, (c.gpr[RAX]! >> BigInt(bits - 1)) & 1n ? -1n : 0n);
  else setLow(c, RDX, bits, BigInt(g.prng.below(4)) - (signed ? 2n : 0n));
};

const compareExchange: Refine = (g, d) => {
  if (d.target === undefined || g.prng.below(2) === 0) return;
  const c = d.case;
  if (d.form.mnemonic === 'Cmpxchg') {
    patchBytes(d, d.target, bytesOf(c.gpr[RAX]!, d.form.bits / 8));
    return;
  }
  const half = d.form.mnemonic === 'Cmpxchg8b' ? 4 : 8;
  patchBytes(d, d.target, bytesOf(c.gpr[RAX]!, half));
  patchBytes(d, d.target + BigInt(half), bytesOf(c.gpr[RDX]!, half));
};

const count: Refine = (g, d) => {
  const value = [0n, 1n, 2n, 0x1_0000n, 0x1_0000_0000n, 0x1_0001n, 0x1_0000_0001n, -1n][g.prng.below(8)]!;
  setLow(d.case, RCX, d.case.mode === 64 ? 64 : 32, value);
  relativeBranch(g, d);
};

/** A displacement that does not lead back into the instruction itself: an endless loop has no outcome. */
const relativeBranch: Refine = (g, d) => {
  const { branchAt, branchBytes } = d.encoded;
  if (branchAt < 0) return;
  const { prng } = g;
  const length = d.case.code.length;
  const wild = prng.below(8) === 0 && branchBytes > 1;
  let displacement = 0;
  do {
    displacement =
      branchBytes === 1 ? (prng.u32() << 24) >> 24 : wild ? prng.u32() | 0 : prng.below(0x1000) - 0x800;
    if (branchBytes === 2) displacement = (displacement << 16) >> 16;
  } while (displacement < 0 && displacement > -length - 16);
  d.case.code.set(bytesOf(BigInt(displacement), branchBytes), branchAt);
};

const indirectBranch: Refine = (g, d) => {
  const { encoded, target } = d;
  const c = d.case;
  if (g.prng.below(4) === 0) return;
  const pointer = codePointer(g, c);
  if (target !== undefined) patchBytes(d, target, bytesOf(pointer, c.mode / 8));
  else if (encoded.rm !== RSP) setLow(c, encoded.rm, c.mode === 64 ? 64 : d.form.bits, pointer);
};

const nearReturn: Refine = (g, d) => {
  if (g.prng.below(4) !== 0) patchBytes(d, stackTop(d.case), bytesOf(codePointer(g, d.case), 8));
};

const popFlags: Refine = (g, d) => {
  // No single step, no alignment check, no nested task.
  patchBytes(d, stackTop(d.case), bytesOf(BigInt(g.prng.u32() & 0x203ed7), 8));
};

const framePointer: Refine = (g, d) => {
  const c = d.case;
  const target =
    g.prng.below(3) === 0 ? pickTarget(g.prng, 8, c.mode) : BigInt(DATA + 0x1000 + g.prng.below(0x100) * 4);
  setLow(c, RBP, c.mode, offsetOf(c, target));
  if (d.form.mnemonic === 'Enter') d.case.code[d.case.code.length - 1]! &= g.prng.below(4) === 0 ? 255 : 3;
};

const translateByte: Refine = (g, d) => {
  const c = d.case;
  const bits = d.encoded.addressBits;
  const target = offsetOf(c, pickTarget(g.prng, 1, c.mode));
  const base = { 3: 0, 4: DATA + 0x40, 5: DATA + 0xe00 }[segmentOf(d)];
  setLow(c, RBX, bits, target - (c.gpr[RAX]! & 255n) - BigInt(c.mode === 64 ? base : 0));
};

const maskedStore: Refine = (g, d) => {
  const c = d.case;
  const target = offsetOf(c, pickTarget(g.prng, operandBytes(d.form) > 8 ? 16 : 8, c.mode));
  const base = { 3: 0, 4: DATA + 0x40, 5: DATA + 0xe00 }[segmentOf(d)];
  setLow(c, RDI, d.encoded.addressBits, target - BigInt(c.mode === 64 ? base : 0));
};

const stringCompare: Refine = (g, d) => {
  for (const register of [RAX, RDX]) {
    if (d.encoded.memory?.base !== register && d.encoded.memory?.index !== register && g.prng.below(4) !== 0)
      setLow(d.case, register, d.form.bits, BigInt(g.prng.below(40) - 20));
  }
};

const controlRegister: Refine = (g, d) => {
  if (d.target === undefined) return;
  const valid = g.prng.below(8) === 0 ? 0xffffffff : 0xffff;
  patchBytes(d, d.target, bytesOf(BigInt((g.prng.u32() & valid) >>> 0), 4));
};

/** FLDENV, FRSTOR, FXRSTOR: a whole image. */
const stateImage: Refine = (g, d) => {
  if (d.target === undefined) return;
  const image = new Uint8Array(512);
  const state = g.floatState(d.form, 'f64');
  const view = new DataView(image.buffer);
  if (d.form.mnemonic.startsWith('Fxrstor')) {
    image.set(state);
    if (g.prng.below(8) === 0) view.setUint32(24, g.prng.u32(), true);
  } else {
    const wide = /m28byte|m108byte/.test(d.form.name);
    view.setUint16(0, state[0]! | (state[1]! << 8), true);
    view.setUint16(wide ? 4 : 2, state[2]! | (state[3]! << 8), true);
    view.setUint16(wide ? 8 : 4, g.prng.u32() & 0xffff, true);
    for (let i = 0; i < 8; i++)
      image.set(state.subarray(32 + i * 16, 42 + i * 16), (wide ? 28 : 14) + i * 10);
  }
  patchBytes(d, d.target, image.subarray(0, operandBytes(d.form)));
};

const SELECTORS = [0, 3, 0x23, 0x2b, 0x33, 0x2a, 0x28, 0x10, 0x18, 0x7b, 0x63, 0x07, 0x0f, 0x17];

function randomSelector(g: CaseGenerator, likely: number): bigint {
  const choice = g.prng.below(8);
  if (choice === 0) return BigInt(g.prng.u32() & 0xffff);
  return BigInt(choice < 4 ? likely : SELECTORS[g.prng.below(SELECTORS.length)]!);
}

const segmentLoad: Refine = (g, d) => {
  const c = d.case;
  const selector = randomSelector(g, c.mode === 16 ? 0x0f : 0x2b);
  const pointer = /^L[defgs]s$/.test(d.form.mnemonic) ? d.form.bits / 8 : 0;
  if (d.form.mnemonic === 'Pop') patchBytes(d, stackTop(c), bytesOf(selector, 2));
  else if (d.target !== undefined) patchBytes(d, d.target + BigInt(pointer), bytesOf(selector, 2));
  else setLow(c, d.encoded.rm, 16, selector);
};

const farTransfer: Refine = (g, d) => {
  const c = d.case;
  const bytes = d.form.bits / 8;
  const { mnemonic } = d.form;
  const where = mnemonic === 'Jmp' || mnemonic === 'Call' ? d.target : stackTop(c);
  if (where === undefined) return;
  const at = (slot: number): bigint => where + BigInt(slot * bytes);
  const code = c.mode === 16 ? 0x07 : c.mode === 32 ? 0x23 : 0x33;
  if (g.prng.below(8) !== 0) patchBytes(d, at(0), bytesOf(codePointer(g, c), bytes));
  let selector = randomSelector(g, code);
  // The engine's machine for 16 and 32-bit code is not in IA-32e mode: 64-bit code segments mean another thing there.
  if (c.mode !== 64 && (selector & ~3n) === 0x30n) selector = BigInt(code);
  patchBytes(d, at(1), bytesOf(selector, where === d.target ? 2 : bytes));
  if (!mnemonic.startsWith('Iret')) return;
  patchBytes(d, at(2), bytesOf(BigInt(g.prng.u32() & 0x203ed7), bytes));
  if (c.mode !== 64) return;
  patchBytes(d, at(3), bytesOf(BigInt(DATA + 0x1000 + g.prng.below(0x100) * 8), bytes));
  patchBytes(d, at(4), bytesOf(randomSelector(g, 0x2b), bytes));
};

const ROWS: readonly (readonly [RegExp, Refine])[] = [
  [/^(String)?(Movs|Cmps|Stos|Lods|Scas)[bwdq]$/, (g, d) => d.form.repeatable && string(g, d)],
  [/^Bt[rsc]?$/, bitString],
  [/^I?div$/, divide],
  [/^Cmpxchg/, compareExchange],
  [/^Loop|^J[er]?cxz/, count],
  [/^J(?!mp|[er]?cxz)/, relativeBranch],
  [/^(Jmp|Call)$/, (g, d) => (d.encoded.branchAt >= 0 ? relativeBranch(g, d) : indirectBranch(g, d))],
  [/^Ret$/, nearReturn],
  [/^Popf/, popFlags],
  [/^(Leave|Enter)$/, framePointer],
  [/^Xlatb$/, translateByte],
  [/^Maskmov/, maskedStore],
  [/^Pcmp[ei]str/, stringCompare],
  [/^Ldmxcsr$/, controlRegister],
  [/^(Mov|Pop|L[defgs]s)$/, (g, d) => d.case.segments && segmentLoad(g, d)],
  [/^(Retf|Iret[dq]?|Jmp|Call)$/, (g, d) => d.case.segments && farTransfer(g, d)],
  [/^(Fldenv|Frstor|Fxrstor)/, stateImage],
];

/** Applies what the mnemonic needs. */
export function refine(g: CaseGenerator, d: Draft): void {
  for (const [mnemonic, row] of ROWS) if (mnemonic.test(d.form.mnemonic)) row(g, d);
}
