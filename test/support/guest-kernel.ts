// Builds the bare-metal kernels of test/guest/kernels with the host's gcc. Gives a reason instead where there is no
// gcc that makes 32-bit code, so that a test can skip and say why.
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const KERNELS = fileURLToPath(new URL('../guest/kernels/', import.meta.url));
const FLAGS =
  '-m32 -march=i686 -ffreestanding -nostdlib -static -fno-pic -no-pie -fno-stack-protector -fcf-protection=none ' +
  '-mno-sse -mno-mmx -O2 -Wall -Wextra -Werror -Wl,--build-id=none -Wl,-z,noexecstack';

/** A built kernel, or why there is none. `directory` is the caller's to remove. */
export type GuestKernel =
  { readonly path: string; readonly directory: string } | { readonly missing: string };

/** Builds NAME.c and NAME-entry.S with NAME.ld. Throws when gcc works but the kernel does not compile. */
export function buildGuestKernel(name: string): GuestKernel {
  if (!makes32BitCode()) return { missing: 'gcc -m32 is not installed' };
  const directory = mkdtempSync(join(tmpdir(), 'troupe-kernel-'));
  const path = join(directory, `${name}.elf`);
  const sources = [`${name}-entry.S`, `${name}.c`].map((file) => join(KERNELS, file));
  const script = `-Wl,-T,${join(KERNELS, `${name}.ld`)}`;
  const run = spawnSync('gcc', [...FLAGS.split(' '), script, '-o', path, ...sources], { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`gcc could not build ${name}:\n${run.stderr}`);
  return { path, directory };
}

function makes32BitCode(): boolean {
  const probe = ['-m32', '-ffreestanding', '-nostdlib', '-x', 'c', '-c', '-o', '/dev/null', '-'];
  return spawnSync('gcc', probe, { input: 'int x;', encoding: 'utf8' }).status === 0;
}

/** Whether a program can be started at all. */
export function hasProgram(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { encoding: 'utf8' }).error === undefined;
}
