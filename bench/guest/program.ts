// Compiles the C programs of bench/guest/programs to one static x86-64 program, once for each state of the sources and compiler, into
// the user's cache. It appears there by a rename, so that an interrupted run leaves nothing half done.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TroupeError } from '#shared/base/error.js';

const ROOT = new URL(import.meta.url.endsWith('.ts') ? '../../' : '../../../', import.meta.url);
const SOURCES = fileURLToPath(new URL('bench/guest/programs', ROOT));
const COMPILER = 'gcc';
const FLAGS = [
  '-std=gnu17',
  '-O2',
  '-static',
  '-march=x86-64',
  '-pthread',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-s',
];
const OLD_MS = 7 * 24 * 3600 * 1000;
const INSTALL_HINT = 'apt-get install gcc libc6-dev';

/** The program's name inside a guest. */
export const PROGRAM_NAME = 'guest-bench';

export interface GuestProgram {
  /** A static x86-64 ELF. */
  readonly path: string;
  /** A directory of its own, for what is made from it. */
  readonly directory: string;
}

/** Throws TroupeError `missing-tool`, with the package to install, or `bad-config` with what the compiler says. */
export function ensureGuestProgram(): GuestProgram {
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'troupe', 'bench');
  const files = readdirSync(SOURCES).sort();
  const directory = join(cache, digestOf(files));
  const path = join(directory, PROGRAM_NAME);
  if (existsSync(path)) return { path, directory };
  mkdirSync(directory, { recursive: true });
  const sources = files.filter((name) => name.endsWith('.c')).map((name) => join(SOURCES, name));
  const partial = `${path}.partial-${process.pid}`;
  const { status, stderr } = spawnSync(COMPILER, [...FLAGS, '-o', partial, ...sources], { encoding: 'utf8' });
  if (status !== 0) {
    rmSync(directory, { recursive: true, force: true });
    throw new TroupeError('bad-config', `${COMPILER} failed:\n${stderr.trimEnd()}`, INSTALL_HINT);
  }
  renameSync(partial, path);
  removeOld(cache);
  return { path, directory };
}

/** Of the sources, the flags and the compiler's version. */
function digestOf(files: readonly string[]): string {
  const version = spawnSync(COMPILER, ['--version'], { encoding: 'utf8' });
  if (version.error !== undefined) {
    throw new TroupeError('missing-tool', `${COMPILER} is needed to build what guests run`, INSTALL_HINT);
  }
  const hash = createHash('sha256').update(version.stdout).update(FLAGS.join(' '));
  for (const name of files) hash.update(`${name}\0`).update(readFileSync(join(SOURCES, name)));
  return hash.digest('hex').slice(0, 12);
}

/** What was built from other sources long ago; a run of another checkout may be using what is newer. */
function removeOld(cache: string): void {
  for (const path of readdirSync(cache).map((name) => join(cache, name)))
    if (Date.now() - statSync(path).mtimeMs > OLD_MS) rmSync(path, { recursive: true, force: true });
}
