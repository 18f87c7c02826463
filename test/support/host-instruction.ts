// Runs single instructions on the host CPU through test/support/host-instruction.c: the oracle of the differential tests of vector and
// floating-point instructions. A record is one instruction with the state before it; the answer is the state after it.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const HOST_MEMORY = 0x20000000;
export const HOST_CODE = 0x30000000;
export const MEMORY_BYTES = 640;
const OFFSET_FX = 0;
const OFFSET_GPR = 512;
const OFFSET_RFLAGS = 576;
const OFFSET_SIGNAL = 584;
const OFFSET_MEMORY = 592;
const OFFSET_CODE = 1232;
const RECORD_BYTES = 1264;

/** Encoding numbers of the general registers in a record, in its order. */
export const RECORD_GPRS = [0, 1, 2, 3, 6, 7, 8, 9] as const;

export interface InstructionState {
  /** A 64-bit FXSAVE area. */
  readonly fx: Uint8Array;
  readonly gpr: BigUint64Array;
  rflags: bigint;
  readonly memory: Uint8Array;
}

export interface InstructionResult extends InstructionState {
  /** 0, or the signal that the instruction ended with. */
  readonly signal: number;
}

/** Why the host cannot be asked, or undefined. */
export function hostOracleProblem(): string | undefined {
  if (process.arch !== 'x64' || process.platform !== 'linux') return 'the host is no x86-64 Linux';
  return spawnSync('gcc', ['--version']).status === 0 ? undefined : 'gcc is missing';
}

/** Runs each instruction with its state. */
export function runOnHost(
  cases: readonly { code: Uint8Array; state: InstructionState }[],
): InstructionResult[] {
  const folder = mkdtempSync(join(tmpdir(), 'host-instruction-'));
  try {
    const program = join(folder, 'host-instruction');
    execFileSync('gcc', [
      '-O1',
      '-o',
      program,
      fileURLToPath(new URL('host-instruction.c', import.meta.url)),
    ]);
    const input = Buffer.alloc(cases.length * RECORD_BYTES);
    cases.forEach(({ code, state }, i) => writeRecord(input.subarray(i * RECORD_BYTES), code, state));
    const { stdout, status, signal } = spawnSync(program, { input, maxBuffer: input.length + 4096 });
    if (status !== 0 || stdout.length !== input.length)
      throw new Error(`host-instruction ended with ${status ?? signal}`);
    return cases.map((_, i) => readRecord(stdout.subarray(i * RECORD_BYTES, (i + 1) * RECORD_BYTES)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function writeRecord(record: Buffer, code: Uint8Array, state: InstructionState): void {
  record.set(state.fx, OFFSET_FX);
  state.gpr.forEach((value, i) => record.writeBigUInt64LE(value, OFFSET_GPR + 8 * i));
  record.writeBigUInt64LE(state.rflags, OFFSET_RFLAGS);
  record.set(state.memory, OFFSET_MEMORY);
  record.set(code, OFFSET_CODE);
  record[OFFSET_CODE + code.length] = 0xc3;
}

function readRecord(record: Buffer): InstructionResult {
  const gpr = new BigUint64Array(8);
  for (let i = 0; i < 8; i++) gpr[i] = record.readBigUInt64LE(OFFSET_GPR + 8 * i);
  return {
    fx: new Uint8Array(record.subarray(OFFSET_FX, OFFSET_GPR)),
    gpr,
    rflags: record.readBigUInt64LE(OFFSET_RFLAGS),
    signal: Number(record.readBigUInt64LE(OFFSET_SIGNAL)),
    memory: new Uint8Array(record.subarray(OFFSET_MEMORY, OFFSET_CODE)),
  };
}
