// Runs a tool of the host to its end and collects what it printed. A tool that is not installed becomes a
// TroupeError that says so; what another exit code means is the caller's to judge.

import { spawn } from 'node:child_process';
import { TroupeError } from '#shared/base/error.js';

export interface ToolResult {
  code: number;
  stdout: Uint8Array<ArrayBuffer>;
  stderr: string;
}

export interface ToolOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  input?: Uint8Array;
  /** Called with each line the tool writes to file descriptor 3. */
  onStatusLine?: (line: string) => void;
}

/** The fix for every missing part of the way to the packaged kernel. */
export const OWN_KERNEL_HINT = 'pass your own guest with --kernel <bzImage> and --initrd <cpio archive>';

const STDERR_LIMIT_CHARS = 64 * 1024;

/** Resolves with exit code (128 + signal when one ended it) and output; rejects with `missing-tool`. */
export function runTool(
  tool: string,
  args: readonly string[],
  options: ToolOptions = {},
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, args, {
      cwd: options.cwd,
      env: { ...(options.env ?? process.env), LC_ALL: 'C', LANGUAGE: '' },
      stdio: [options.input ? 'pipe' : 'ignore', 'pipe', 'pipe', options.onStatusLine ? 'pipe' : 'ignore'],
    });
    const stdout: Buffer[] = [];
    let stderr = '';
    child.stdout!.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
      stderr = (stderr + chunk).slice(-STDERR_LIMIT_CHARS);
    });
    if (options.onStatusLine) forEachLine(child.stdio[3] as NodeJS.ReadableStream, options.onStatusLine);
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') return reject(error);
      reject(new TroupeError('missing-tool', `${tool} is not installed`, OWN_KERNEL_HINT, { cause: error }));
    });
    child.on('close', (code, signal) => {
      resolve({ code: code ?? (signal === null ? 1 : 128), stdout: Buffer.concat(stdout), stderr });
    });
    if (options.input && child.stdin) {
      child.stdin.on('error', () => {}); // a tool may end before it has read everything; its exit code tells
      child.stdin.end(options.input);
    }
  });
}

function forEachLine(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    lines.forEach(onLine);
  });
}
