// One differential case, its wire form for host-runner/runner.c, and its form as a kept JSON example. A case is code
// and a whole user-mode state; every address of it lies in the pages that the host runner and the engine both map.

/** Code pages, filled with HLT: whatever runs on past the case ends there with #GP. */
export const CODE = 0x10000000;
export const CODE_BYTES = 0x2000;
/** Data pages: two writable, then a read-only one, then nothing. */
export const DATA = 0x20000000;
export const DATA_BYTES = 0x3000;
export const DATA_WRITABLE = 0x2000;
export const FS_BASE = DATA + 0x40;
export const GS_BASE = DATA + 0xe00;
/** The part of the FXSAVE image that a case sets: up to XMM15. */
export const FX_BYTES = 416;
const INPUT_BYTES = 16 + 128 + 16 + FX_BYTES;
export const OUTPUT_BYTES = 32 + 8 + 128 + 16 + FX_BYTES;

export type CaseMode = 64 | 32 | 16;

export interface Patch {
  /** Offset in the data pages. */
  at: number;
  bytes: Uint8Array;
}

export interface Case {
  /** iced-x86's name of the form under test; the last one's of a sequence. */
  form: string;
  mode: CaseMode;
  code: Uint8Array;
  /** In encoding order. */
  gpr: BigUint64Array;
  /** 16-bit mode: relative to CODE. */
  rip: number;
  rflags: number;
  /** FXSAVE64 image; FIP, FDP and FOP are zero. */
  fx: Uint8Array;
  patches: Patch[];
  /** It may load segment registers. */
  segments: boolean;
}

/** What a case left behind. */
export interface Outcome {
  trap: number;
  error: number;
  cr2: bigint;
  gpr: BigUint64Array;
  rip: bigint;
  rflags: number;
  fx: Uint8Array;
  /** ES CS SS DS FS GS. */
  selectors: number[];
  /** The writable bytes that changed, as one run. */
  changedAt: number;
  changed: Uint8Array;
}

const padded = (bytes: number): number => (bytes + 7) & ~7;

function encodedBytes(c: Case): number {
  return c.patches.reduce((sum, p) => sum + 8 + padded(p.bytes.length), INPUT_BYTES + padded(c.code.length));
}

/** A batch as the runner reads it: case count, bytes, then the cases. */
export function encodeBatch(cases: readonly Case[]): Buffer {
  const total = cases.reduce((sum, c) => sum + encodedBytes(c), 0);
  const buffer = Buffer.alloc(8 + total);
  buffer.writeUInt32LE(cases.length, 0);
  buffer.writeUInt32LE(total, 4);
  let at = 8;
  for (const c of cases) {
    buffer.writeUInt32LE(encodedBytes(c), at);
    buffer.writeUInt16LE(c.mode, at + 4);
    buffer.writeUInt16LE(c.segments ? 1 : 0, at + 6);
    buffer.writeUInt32LE(c.code.length, at + 8);
    buffer.writeUInt32LE(c.patches.length, at + 12);
    buffer.set(new Uint8Array(c.gpr.buffer, c.gpr.byteOffset, 128), at + 16);
    buffer.writeUInt32LE(c.rip, at + 144);
    buffer.writeUInt32LE(c.rflags, at + 152);
    buffer.set(c.fx, at + 160);
    at += INPUT_BYTES;
    buffer.set(c.code, at);
    at += padded(c.code.length);
    for (const patch of c.patches) {
      buffer.writeUInt32LE(patch.at, at);
      buffer.writeUInt32LE(patch.bytes.length, at + 4);
      buffer.set(patch.bytes, at + 8);
      at += 8 + padded(patch.bytes.length);
    }
  }
  return buffer;
}

/** The outcomes in the runner's answer (behind its head of 8 bytes). */
export function decodeOutcomes(answer: Buffer, count: number): Outcome[] {
  const outcomes: Outcome[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const bytes = answer.readUInt32LE(at);
    const gpr = new BigUint64Array(16);
    new Uint8Array(gpr.buffer).set(answer.subarray(at + 40, at + 168));
    outcomes.push({
      trap: answer.readUInt32LE(at + 4),
      error: answer.readUInt32LE(at + 8),
      cr2: answer.readBigUInt64LE(at + 32),
      gpr,
      rip: answer.readBigUInt64LE(at + 168),
      rflags: answer.readUInt32LE(at + 176),
      fx: answer.subarray(at + 184, at + 184 + FX_BYTES),
      selectors: [0, 1, 2, 3, 4, 5].map((i) => answer.readUInt16LE(at + 20 + i * 2)),
      changedAt: answer.readUInt32LE(at + 12),
      changed: answer.subarray(at + OUTPUT_BYTES, at + bytes),
    });
    at += bytes;
  }
  return outcomes;
}

export interface StoredCase {
  form: string;
  mode: CaseMode;
  code: string;
  gpr: string[];
  rip: string;
  rflags: string;
  fx: string;
  patches: [number, string][];
  segments?: boolean;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export function caseToJson(c: Case): StoredCase {
  return {
    form: c.form,
    mode: c.mode,
    code: hex(c.code),
    gpr: [...c.gpr].map((value) => `0x${value.toString(16)}`),
    rip: `0x${c.rip.toString(16)}`,
    rflags: `0x${c.rflags.toString(16)}`,
    fx: hex(c.fx),
    patches: c.patches.map((p) => [p.at, hex(p.bytes)]),
    ...(c.segments && { segments: true }),
  };
}

export function caseFromJson(stored: StoredCase): Case {
  return {
    form: stored.form,
    mode: stored.mode,
    code: Buffer.from(stored.code, 'hex'),
    gpr: BigUint64Array.from(stored.gpr.map(BigInt)),
    rip: Number(stored.rip),
    rflags: Number(stored.rflags),
    fx: Buffer.from(stored.fx, 'hex'),
    patches: stored.patches.map(([at, bytes]) => ({ at, bytes: Buffer.from(bytes, 'hex') })),
    segments: stored.segments === true,
  };
}

export function copyCase(c: Case): Case {
  return {
    ...c,
    code: c.code.slice(),
    gpr: c.gpr.slice(),
    fx: Uint8Array.from(c.fx),
    patches: c.patches.map((p) => ({ at: p.at, bytes: Uint8Array.from(p.bytes) })),
  };
}
