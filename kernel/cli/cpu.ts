// `troupe cpu run-vectors FILE`: runs CPU test vectors in a process of their own, whose exit code is the command's.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { TroupeError } from '../index.js';
import { EXIT_FAILED } from './run.js';

export const CPU_HELP = `usage: troupe cpu run-vectors FILE [--tier interp]

Runs CPU test vectors, one JSON object a line: {name, mode: 64|32|16, load, entry, code (hex), regions: [[addr, bytes]],
mem: [[addr, hex]], regs?, expect: {RAX: "0x…", XMM0: ["0xlo", "0xhi"], MM0: "0x…" or [mantissa, sign+exponent], RFLAGS?,
mem?}}. Each runs from entry to HLT; what expect names is compared. Prints each failure and 'N passed, N failed'.
Exit code: 0 all passed, 1 some failed, 2 bad input.
`;

/** Relative to dist/kernel/cli. */
const ENTRY = new URL('../../actors/vcpu/run-vectors/main.js', import.meta.url);

export async function cpu(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (command === undefined || rest.includes('--help') || command === '--help') {
    process.stdout.write(CPU_HELP);
    return 0;
  }
  if (command !== 'run-vectors')
    throw new TroupeError('bad-flag', `there is no command 'cpu ${command}'`, 'see troupe cpu --help');
  const child = spawn(process.execPath, [fileURLToPath(ENTRY), ...rest], { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? EXIT_FAILED));
  });
}
