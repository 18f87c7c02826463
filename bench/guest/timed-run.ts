// Runs a virtual machine monitor as a child process and notes when what it prints first contains each of some marks.
import { spawn } from 'node:child_process';

/** A mark that never came: the run says nothing of the speed. */
export class MarkMissing extends Error {}

/**
 * Milliseconds from the start of the process to the first sight of each mark on its stdout or stderr, in the marks' order. Ends the
 * process after the last one. Rejects with {@link MarkMissing} when it ends before, or takes longer than `timeoutMs`.
 */
export async function timeMarks(
  command: readonly [program: string, ...args: string[]],
  marks: readonly RegExp[],
  timeoutMs: number,
): Promise<number[]> {
  const [program, ...args] = command;
  const startedMs = performance.now();
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
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
  throw new MarkMissing(`${program} did not print ${marks[timesMs.length]!.source}; last it said:\n${last}`);
}
