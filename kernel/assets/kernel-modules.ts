// Picks kernel modules and what they depend on out of an unpacked kernel package. Newer packages compress modules
// with xz, which insmod in busybox does not read and Node does not know: the static busybox that was unpacked next
// to them is also a host program that does.

import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { TroupeError } from '#shared/base/error.js';
import { canonicalModuleName, readModuleInfo } from '#kernel/assets/modinfo.js';
import type { KernelModule } from '#kernel/assets/initramfs.js';
import { OWN_KERNEL_HINT, runTool } from '#kernel/assets/process.js';

const MODULE_FILE = /^(.*)\.ko(\.xz)?$/;

/**
 * The wanted modules under `directory` (`…/lib/modules/<release>`) with all they need, each after its needs. A
 * name that the package has no file for is skipped: it is built into that kernel or absent from it.
 */
export async function collectModules(
  directory: string,
  wanted: readonly string[],
  busybox: string,
): Promise<KernelModule[]> {
  const files = new Map<string, string>();
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const stem = entry.isFile() ? MODULE_FILE.exec(entry.name)?.[1] : undefined;
    if (stem !== undefined)
      files.set(canonicalModuleName(stem), join(entry.parentPath ?? entry.path, entry.name));
  }
  const collected: KernelModule[] = [];
  const visited = new Set<string>();
  const visit = async (name: string): Promise<void> => {
    const file = files.get(name);
    if (file === undefined || visited.has(name)) return;
    visited.add(name);
    const image = await readModule(file, busybox);
    const info = readModuleInfo(image);
    for (const needed of [...info.softDepends, ...info.depends]) await visit(needed);
    collected.push({ path: relative(directory, file).replace(/\.xz$/, ''), image });
  };
  for (const name of wanted) await visit(canonicalModuleName(name));
  return collected;
}

async function readModule(file: string, busybox: string): Promise<Uint8Array> {
  const bytes = await readFile(file);
  return file.endsWith('.xz') ? unxz(bytes, busybox) : bytes;
}

async function unxz(bytes: Uint8Array, busybox: string): Promise<Uint8Array> {
  const attempts: [tool: string, args: string[]][] = [
    [busybox, ['xz', '-dc']],
    ['xz', ['-dc']], // a host that is not x86-64 cannot run the guest's busybox
  ];
  let cause: unknown;
  for (const [tool, args] of attempts) {
    try {
      const result = await runTool(tool, args, { input: bytes });
      if (result.code === 0) return result.stdout;
      cause = new Error(result.stderr.trim());
    } catch (error) {
      cause = error;
    }
  }
  throw new TroupeError(
    'asset-fetch-failed',
    "cannot decompress the kernel package's modules",
    `install xz-utils, or ${OWN_KERNEL_HINT}`,
    { cause },
  );
}
