// Builds the bare-metal kernels of test/guest/kernels with the host's gcc. Gives a reason instead where there is no
// gcc that makes such code, so that a test can skip and say why.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const KERNELS = fileURLToPath(new URL('../guest/kernels/', import.meta.url));
const COMMON_FLAGS =
  '-ffreestanding -nostdlib -static -fno-pic -no-pie -fno-stack-protector -fcf-protection=none -mgeneral-regs-only ' +
  '-O2 -Wall -Wextra -Werror -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments';
const FLAGS = {
  32: `-m32 -march=i686 ${COMMON_FLAGS}`,
  64: `-m64 -mno-red-zone -Wl,-z,max-page-size=4096 ${COMMON_FLAGS}`,
};

/** A built kernel, or why there is none. `directory` is the caller's to remove. */
export type GuestKernel =
  { readonly path: string; readonly directory: string } | { readonly missing: string };

/**
 * Builds NAME.c and ENTRY-entry.S with ENTRY.ld (ENTRY is NAME by default). 64-bit code comes in a 32-bit ELF file too, as multiboot loaders want it. Throws when
 * gcc works but the kernel does not compile.
 */
export function buildGuestKernel(name: string, bits: 32 | 64 = 32, entry = name): GuestKernel {
  const missing = missingTool(bits);
  if (missing !== undefined) return { missing };
  const directory = mkdtempSync(join(tmpdir(), 'troupe-kernel-'));
  const path = join(directory, `${name}.elf`);
  const sources = [`${entry}-entry.S`, `${name}.c`].map((file) => join(KERNELS, file));
  const script = `-Wl,-T,${join(KERNELS, `${entry}.ld`)}`;
  const run = spawnSync('gcc', [...FLAGS[bits].split(' '), script, '-o', path, ...sources], {
    encoding: 'utf8',
  });
  if (run.status !== 0) throw new Error(`gcc could not build ${name}:\n${run.stderr}`);
  if (bits === 64) execFileSync('objcopy', ['-O', 'elf32-i386', path]);
  return { path, directory };
}

/** NAME.S as a boot sector and what follows it on the disk. */
export function buildBootSector(name: string): { readonly image: Uint8Array } | { readonly missing: string } {
  const missing = missingTool(32);
  if (missing !== undefined) return { missing };
  const directory = mkdtempSync(join(tmpdir(), 'troupe-kernel-'));
  const [object, linked, flat] = ['object.o', 'linked.elf', 'flat.bin'].map((file) => join(directory, file));
  try {
    execFileSync('gcc', ['-m32', '-c', '-o', object!, join(KERNELS, `${name}.S`)]);
    execFileSync('ld', ['-m', 'elf_i386', '-Ttext=0x7c00', '-e', '0x7c00', '-o', linked!, object!]);
    execFileSync('objcopy', ['-O', 'binary', '-j', '.text', linked!, flat!]);
    return { image: new Uint8Array(readFileSync(flat!)) };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function missingTool(bits: 32 | 64): string | undefined {
  const probe = [`-m${bits}`, '-ffreestanding', '-nostdlib', '-x', 'c', '-c', '-o', '/dev/null', '-'];
  if (spawnSync('gcc', probe, { input: 'int x;', encoding: 'utf8' }).status !== 0)
    return `gcc -m${bits} is not installed`;
  return hasProgram('objcopy', '--version') ? undefined : 'objcopy is not installed';
}

/** Whether a program can be started at all. */
export function hasProgram(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { encoding: 'utf8' }).error === undefined;
}
