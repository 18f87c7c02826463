// The host CPU as the judge of instruction semantics: compiles host-runner/runner.c into the test's cache folder, keeps
// one runner process and hands it batches of cases over pipes.

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type Case,
  CODE,
  DATA_BYTES,
  FX_BYTES,
  type Outcome,
  decodeOutcomes,
  encodeBatch,
} from './case-record.js';

const SOURCE = fileURLToPath(new URL('host-runner/runner.c', import.meta.url));
const CACHE = fileURLToPath(new URL('../../.tmp/differential', import.meta.url));
/** Far beyond what a batch takes, on a machine that is busy with other things too: only a runner that is stuck reaches it. */
const BATCH_TIMEOUT_MS = 300_000;
const COMPILER_FLAGS = [
  '-O2', '-nostdlib', '-static-pie', '-fPIE', '-ffreestanding', '-fno-stack-protector', '-fno-asynchronous-unwind-tables',
]; // prettier-ignore

/** Why this machine cannot be the judge; undefined when it can. */
export function hostObstacle(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the host is not x86-64 Linux';
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
  } catch {
    return 'there is no gcc';
  }
  return hypervisorObstacle();
}

const STACK_FAULT = 12;
const RSP = 4;

/** PUSH RAX to an address that is not canonical: #SS(0) on every processor (SDM vol. 2, PUSH). */
function stackFault(): Case {
  const gpr = new BigUint64Array(16);
  gpr[RSP] = 0x8000_0000_0000_0000n;
  return {
    form: 'Push_r64',
    mode: 64,
    code: Uint8Array.of(0x50),
    gpr,
    rip: CODE,
    rflags: 0x202,
    fx: new Uint8Array(FX_BYTES),
    patches: [],
    segments: false,
  };
}

/** A hypervisor that runs its guests without the processor's help delivers faults of its own making; no judge of ours. */
function hypervisorObstacle(): string | undefined {
  const input = Buffer.concat([new Uint8Array(DATA_BYTES), encodeBatch([stackFault()])]);
  const { stdout, status, signal } = spawnSync(compileRunner(), { input });
  if (status !== 0) return `the host runner ended (${signal ?? String(status)})`;
  const { trap } = decodeOutcomes(stdout.subarray(8), 1)[0]!;
  if (trap === STACK_FAULT) return undefined;
  return `the host's hypervisor is not exact: it makes exception ${trap} of a stack fault (12)`;
}

function compileRunner(): string {
  const hash = createHash('sha256')
    .update(readFileSync(SOURCE))
    .update(COMPILER_FLAGS.join(' '))
    .digest('hex');
  const program = join(CACHE, `runner-${hash.slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(CACHE, { recursive: true });
  const made = `${program}.${process.pid}`;
  execFileSync('gcc', [...COMPILER_FLAGS, '-o', made, SOURCE]);
  renameSync(made, program);
  return program;
}

interface Waiting {
  readonly count: number;
  resolve(outcomes: Outcome[]): void;
  reject(error: Error): void;
}

/** One runner process. Batches are answered in order; several may be under way. */
export class HostOracle {
  readonly #child: ChildProcess;
  readonly #waiting: Waiting[] = [];
  #chunks: Buffer[] = [];
  #received = 0;
  #failure: Error | undefined;

  /** `background`: what the data pages hold at the start of every case. */
  constructor(background: Uint8Array) {
    this.#child = spawn(compileRunner(), [], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout!.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#child.stdin!.on('error', () => undefined);
    this.#child.on('exit', (code, signal) => this.#fail(`the host runner ended (${signal ?? String(code)})`));
    this.#child.stdin!.write(background);
  }

  run(cases: readonly Case[]): Promise<Outcome[]> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail('the host runner hangs');
        this.#child.kill('SIGKILL');
      }, BATCH_TIMEOUT_MS);
      const done = (): void => clearTimeout(timer);
      this.#waiting.push({
        count: cases.length,
        resolve: (outcomes) => {
          done();
          resolve(outcomes);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
      this.#child.stdin!.write(encodeBatch(cases));
    });
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#received += chunk.length;
    for (;;) {
      const waiting = this.#waiting[0];
      if (waiting === undefined || this.#received < 8) return;
      if (this.#chunks[0]!.length < 8) this.#chunks = [Buffer.concat(this.#chunks)];
      const bytes = this.#chunks[0]!.readUInt32LE(4);
      if (this.#received < 8 + bytes) return;
      const all = Buffer.concat(this.#chunks);
      this.#chunks = [all.subarray(8 + bytes)];
      this.#received = all.length - 8 - bytes;
      this.#waiting.shift();
      waiting.resolve(decodeOutcomes(all.subarray(8, 8 + bytes), waiting.count));
    }
  }

  #fail(reason: string): void {
    this.#failure ??= new Error(reason);
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#failure);
  }

  close(): void {
    this.#failure ??= new Error('the host runner is closed');
    this.#child.stdin!.end();
  }
}
