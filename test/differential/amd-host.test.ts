// What a comparison with an AMD host leaves out, and what it does not: outcomes made by hand, so that it runs on any host.
import { describe, expect, test } from 'vitest';
import { ARITHMETIC_FLAGS, CF, OF } from '#shared/x86/rflags.js';
import { AMD_HOST } from './amd-host.js';
import { type Case, type CaseMode, CODE, DATA, FX_BYTES, type Outcome } from './case-record.js';
import { differences } from './comparison.js';
import { hostRules } from './host-rules.js';
import { NO_LATITUDE } from './latitude.js';

const GENERAL_PROTECTION = 13;
const PAGE_FAULT = 14;

function makeCase(
  form: string,
  code: string,
  registers: Record<number, bigint> = {},
  mode: CaseMode = 64,
): Case {
  const gpr = new BigUint64Array(16);
  for (const [i, value] of Object.entries(registers)) gpr[Number(i)] = value;
  return {
    form,
    mode,
    code: Buffer.from(code, 'hex'),
    gpr,
    rip: CODE,
    rflags: 0x202,
    fx: new Uint8Array(FX_BYTES),
    patches: [],
    segments: false,
  };
}

/** The case ran through to the HLT behind it, but for `changes`. */
function makeOutcome(c: Case, changes: Partial<Outcome> = {}): Outcome {
  return {
    trap: GENERAL_PROTECTION,
    error: 0,
    cr2: 0n,
    gpr: c.gpr.slice(),
    rip: BigInt(c.rip + c.code.length),
    rflags: c.rflags,
    fx: Uint8Array.from(c.fx),
    selectors: [0, 0x33, 0x2b, 0, 0, 0],
    changedAt: 0,
    changed: new Uint8Array(0),
    ...changes,
  };
}

const fault = (c: Case, changes: Partial<Outcome> = {}): Outcome =>
  makeOutcome(c, { rip: BigInt(c.rip), trap: PAGE_FAULT, ...changes });

const latitude = (c: Case, host = makeOutcome(c), engine = makeOutcome(c)): object =>
  AMD_HOST.latitude(c, host, engine);

describe('an AMD host may differ', () => {
  test.each([
    ['Shl_rm32_imm8', 'c1e005', 0n, { flags: OF }],
    ['Shl_rm32_imm8', 'c1e001', 0n, NO_LATITUDE],
    ['Shl_rm32_imm8', 'c1e021', 0n, NO_LATITUDE],
    ['Shl_rm64_imm8', '48c1e021', 0n, { flags: OF }],
    ['Shl_rm32_1', 'd1e0', 9n, NO_LATITUDE],
    ['Rcl_rm8_CL', 'd2d0', 9n, { flags: OF }],
    ['Rcl_rm8_CL', 'd2d0', 0x121n, NO_LATITUDE],
    ['Sar_rm32_imm8', 'c1f805', 0n, NO_LATITUDE],
    ['Shld_rm16_r16_imm8', '660fa4d010', 0n, { flags: OF }],
    ['Shld_rm16_r16_imm8', '660fa4d011', 0n, { flags: ARITHMETIC_FLAGS, registers: new Map([[0, 0xffffn]]) }],
    ['Shld_rm32_r32_imm8', '0fa4d011', 0n, { flags: OF }],
  ])('in OF after %s (%s, RCX %s)', (form, code, rcx, expected) => {
    const c = makeCase(form, code, { 1: rcx });
    expect(latitude(c)).toEqual(expected);
    expect(latitude(c, fault(c))).toEqual(NO_LATITUDE);
  });

  test.each([
    ['rol, mov', 'c1c0058bd9', { flags: OF }],
    ['rol, seto', 'c1c0050f90c1', { all: true }],
    ['rol, sub, seto', 'c1c00529d10f90c1', NO_LATITUDE],
    ['rol by 1, seto', 'c1c0010f90c1', NO_LATITUDE],
    ['rol, rol by 1', 'c1c005d1c0', NO_LATITUDE],
  ])('as far as a sequence carries OF: %s', (_, code, expected) => {
    expect(latitude(makeCase('sequence', code))).toEqual(expected);
  });

  test('in the upper half of a pushed selector', () => {
    const c = makeCase('Pushd_ES', '06', { 4: BigInt(DATA + 0x1000) }, 32);
    expect(latitude(c)).toEqual({ memory: [[0xffe, 2]] });
    const crossing = makeCase('Pushd_ES', '06', { 4: BigInt(DATA + 0x1001) }, 32);
    expect(latitude(crossing, fault(crossing))).toEqual({ all: true });
    expect(latitude(c, fault(c))).toEqual(NO_LATITUDE);
  });

  test('in MXCSR_MASK of an FXSAVE image', () => {
    const c = makeCase('Fxsave_m512byte', '0fae07', { 7: BigInt(DATA + 0x40) });
    expect(latitude(c)).toEqual({ memory: [[0x40 + 30, 1]] });
  });

  test('in upper halves that a repetition has not written yet', () => {
    const c = makeCase('Lodsb_AL_m8', '67f3ac', { 1: 0x1_0000_0000n, 6: 0x2_0000_0000n });
    expect(latitude(c)).toEqual({ registers: new Map([1, 6, 7].map((i) => [i, 0xffffffff00000000n])) });
    const written = makeOutcome(c, { gpr: new BigUint64Array(16) });
    expect(latitude(c, written)).toEqual({ registers: new Map([[7, 0xffffffff00000000n]]) });
    expect(latitude(makeCase('Lodsb_AL_m8', 'f3ac'))).toEqual(NO_LATITUDE);
  });

  test('in what it decodes', () => {
    const code = (form: string, bytes: string): string =>
      Buffer.from(AMD_HOST.decoded(makeCase(form, bytes)).code).toString('hex');
    expect(code('Lss_r64_m1664', '654a0fb200')).toBe('65420fb200');
    expect(code('Lss_r32_m1632', '0fb200')).toBe('0fb200');
    expect(code('Reservednop_rm32_r32_0F0D', '0f0dc8')).toBe('0f0b');
    expect(code('Reservednop_rm32_r32_0F0D', '0f0d08')).toBe('0f0d08');
  });
});

test('a comparison leaves out what the latitude names and no more', () => {
  const c = makeCase('Shl_rm32_imm8', 'c1e005');
  const host = makeOutcome(c);
  const compare = (changes: Partial<Outcome>, left: object): number =>
    differences(c, host, makeOutcome(c, changes), left).length;
  const register = (value: bigint): BigUint64Array => Object.assign(c.gpr.slice(), { 3: value });
  expect(compare({ rflags: host.rflags ^ OF }, NO_LATITUDE)).toBe(1);
  expect(compare({ rflags: host.rflags ^ OF }, { flags: OF })).toBe(0);
  expect(compare({ rflags: host.rflags ^ OF ^ CF }, { flags: OF })).toBe(1);
  expect(compare({ gpr: register(0x12n) }, { registers: new Map([[3, 0xffn]]) })).toBe(0);
  expect(compare({ gpr: register(0x112n) }, { registers: new Map([[3, 0xffn]]) })).toBe(1);
  expect(compare({ gpr: register(0x12n) }, { registers: new Map([[2, 0xffn]]) })).toBe(1);
  expect(compare({ error: 4 }, { fault: true })).toBe(0);
  expect(compare({ error: 4, rip: 0n }, { fault: true })).toBe(1);
  expect(compare({ trap: 6, rip: 0n, rflags: OF }, { all: true })).toBe(0);
});

test('different NaNs are one only where the latitude says so', () => {
  const c = makeCase('Dpps_xmm_xmmm128_imm8', '660f3a40c0ff');
  const image = (...words: number[]): Uint8Array => {
    const fx = Uint8Array.from(c.fx);
    words.forEach((word, i) => new DataView(fx.buffer).setUint32(160 + i * 4, word, true));
    return fx;
  };
  const compare = (h: Uint8Array, e: Uint8Array, left: object): number =>
    differences(c, makeOutcome(c, { fx: h }), makeOutcome(c, { fx: e }), left).length;
  const [nan, other, number] = [image(0x7fc00001, 1), image(0xffc00002, 1), image(0x3f800000, 1)];
  expect(compare(nan, other, NO_LATITUDE)).toBe(1);
  expect(compare(nan, other, { nans: 32 })).toBe(0);
  expect(compare(nan, number, { nans: 32 })).toBe(1);
  expect(compare(nan, image(0xffc00002, 2), { nans: 32 })).toBe(1);
  expect(compare(image(1, 0x7ff80000), image(2, 0xfff80000), { nans: 64 })).toBe(0);
  expect(compare(image(1, 0x3ff00000), image(2, 0x3ff00000), { nans: 64 })).toBe(1);
});

test('an Intel host gets no latitude', () => {
  const rules = hostRules('intel');
  const c = makeCase('Shl_rm32_imm8', 'c1e005');
  expect(rules.latitude(c, makeOutcome(c), makeOutcome(c))).toEqual(NO_LATITUDE);
  const far = makeCase('Lss_r64_m1664', '480fb200');
  expect(rules.decoded(far)).toBe(far);
});
