// Runs a virtual machine monitor as a child process and notes when what it prints first contains each of some marks.
import { startChild } from '../compare/children.js';
import type { Command } from '../compare/contestants.js';

export const RUN_TIMEOUT_MS = 300_000;

/** A mark that never came: the run says nothing of the speed. */
export class MarkMissing extends Error {}

/**
 * Milliseconds from the start of the process to the first sight of each mark on its stdout or stderr, in the marks' order. Ends the
 * process after the last one. Rejects with {@link MarkMissing} when it ends before, or takes longer than `timeoutMs`.
 */
export async function timeMarks(
  command: Command,
  marks: readonly RegExp[],
  timeoutMs: number,
): Promise<number[]> {
  const startedMs = performance.now();
  const child = startChild(command);
  const texts = ['', ''];
  const timesMs: number[] = [];
  const closed = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => resolve());
  });
  const look =
    (stream: 0 | 1) =>
    (bytes: Buffer): void => {
      const nowMs = performance.now() - startedMs;
      texts[stream] += bytes.toString('latin1');
      while (timesMs.length < marks.length && texts.some((text) => marks[timesMs.length]!.test(text)))
        timesMs.push(nowMs);
      if (timesMs.length === marks.length) child.kill('SIGTERM');
    };
  child.stdout.on('data', look(0));
  child.stderr.on('data', look(1));
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  await closed.finally(() => clearTimeout(timer));
  if (timesMs.length === marks.length) return timesMs;
  const last = texts.join('').trimEnd().split('\n').slice(-3).join('\n');
  throw new MarkMissing(
    `${command[0]} did not print ${marks[timesMs.length]!.source}; last it said:\n${last}`,
  );
}
