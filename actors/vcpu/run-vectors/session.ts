// A run over a file of vectors, in two threads: one runs them, the other prints and ends those that never halt.

import { readFileSync } from 'node:fs';
import { signalWord } from '#shared/ipc/doorbell.js';
import { PENDING_KICK } from '#shared/x86/cpu-state.js';
import { parseVector, type Vector } from './vector-file.js';
import { VectorError } from './vector-number.js';
import { currentMachine, runVector } from './vector-run.js';

export const EXIT_PASSED = 0;
export const EXIT_FAILED = 1;
export const EXIT_BAD_INPUT = 2;

/** What the running thread tells the watching one. */
export type SessionMessage =
  | { readonly kind: 'output' | 'error'; readonly text: string }
  | { readonly kind: 'machine'; readonly memory: WebAssembly.Memory; readonly pendingIndex: number }
  | { readonly kind: 'progress' }
  | { readonly kind: 'done'; readonly exitCode: number };

type Tell = (message: SessionMessage) => void;

const USAGE = 'usage: troupe cpu run-vectors FILE [--tier interp]';

/** The file's name from the command line; throws VectorError. */
export function parseArguments(args: readonly string[]): string {
  const files: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const tier = arg === '--tier' ? args[++i] : /^--tier=(.*)$/.exec(arg)?.[1];
    if (arg.startsWith('--tier')) {
      if (tier !== 'interp') throw new VectorError(`there is no tier '${tier ?? ''}'; tiers: interp`);
    } else if (arg.startsWith('-')) throw new VectorError(`unknown flag '${arg}'; ${USAGE}`);
    else files.push(arg);
  }
  if (files.length !== 1) throw new VectorError(USAGE);
  return files[0]!;
}

function readVectors(path: string): Vector[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new VectorError(`cannot read ${path}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
  const vectors: Vector[] = [];
  text.split('\n').forEach((line, i) => {
    if (line.trim() === '') return;
    try {
      vectors.push(parseVector(line));
    } catch (error) {
      if (error instanceof VectorError) throw new VectorError(`${path}, line ${i + 1}: ${error.message}`);
      throw error;
    }
  });
  return vectors;
}

/** The running thread: all vectors of the file, in order. */
export function runSession(args: readonly string[], tell: Tell): void {
  try {
    const vectors = readVectors(parseArguments(args));
    let failed = 0;
    let known: unknown;
    for (const vector of vectors) {
      tell({ kind: 'progress' });
      const announce = (): void => {
        const machine = currentMachine();
        if (machine === undefined || machine === known) return;
        known = machine;
        tell({ kind: 'machine', memory: machine.memory, pendingIndex: machine.pendingIndex });
      };
      const failures = tryVector(vector, announce);
      if (failures.length === 0) continue;
      failed++;
      tell({ kind: 'output', text: failures.map((failure) => `FAIL ${vector.name}: ${failure}\n`).join('') });
    }
    tell({ kind: 'output', text: `${vectors.length - failed} passed, ${failed} failed\n` });
    tell({ kind: 'done', exitCode: failed === 0 ? EXIT_PASSED : EXIT_FAILED });
  } catch (error) {
    if (!(error instanceof VectorError)) throw error;
    tell({ kind: 'error', text: `troupe: ${error.message}\n` });
    tell({ kind: 'done', exitCode: EXIT_BAD_INPUT });
  }
}

function tryVector(vector: Vector, announce: () => void): string[] {
  try {
    return runVector(vector, announce);
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

const WATCH_PERIOD_MS = 1000;
/** Periods without progress after which a vector is taken to run for ever. */
const PATIENCE = 10;

/** The watching thread's side; gives the handler of the other's messages. `finish` ends the process's work. */
export function watchSession(finish: (exitCode: number) => void): Tell {
  let idle = 0;
  let machine: (SessionMessage & { kind: 'machine' }) | undefined;
  const timer = setInterval(() => {
    if (++idle < PATIENCE || machine === undefined) return;
    signalWord(new Int32Array(machine.memory.buffer), machine.pendingIndex, PENDING_KICK);
  }, WATCH_PERIOD_MS);
  return (message) => {
    switch (message.kind) {
      case 'output':
        process.stdout.write(message.text);
        break;
      case 'error':
        process.stderr.write(message.text);
        break;
      case 'machine':
        machine = message;
        break;
      case 'progress':
        idle = 0;
        break;
      case 'done':
        clearInterval(timer);
        finish(message.exitCode);
    }
  };
}
