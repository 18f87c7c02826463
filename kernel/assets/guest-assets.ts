// Finds or fetches what a guest boots from: a stock Debian cloud kernel and an initramfs built around busybox. The
// cache holds each piece by version; what is there is used without apt and without a network. A piece appears in the
// cache by a rename of a complete, verified directory, so that an interrupted run leaves nothing half done.

import { createHash } from 'node:crypto';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { TroupeError } from '#shared/base/error.js';
import { openApt, type Apt, type PackageVersion } from '#kernel/assets/apt.js';
import { readAppletNames } from '#kernel/assets/busybox.js';
import { buildInitramfs, recipeDigest, WANTED_MODULES, type KernelModule } from '#kernel/assets/initramfs.js';
import { collectModules } from '#kernel/assets/kernel-modules.js';
import { resolveBusybox, resolveKernel, type KernelSeries } from '#kernel/assets/kernel-package.js';
import { withFileLock } from '#kernel/assets/lock.js';
import { OWN_KERNEL_HINT, runTool } from '#kernel/assets/process.js';

export type AssetPhase = 'wait' | 'index' | 'download' | 'unpack' | 'build';

/** One step of the way, fit to be shown as a line; `percent` is there while something is transferred. */
export interface AssetProgress {
  phase: AssetPhase;
  message: string;
  percent?: number;
}

export interface GuestAssetsOptions {
  /** Which series of the stock kernel; `default` is the one that the system's own release calls current. */
  kernel?: KernelSeries;
  onProgress?: (progress: AssetProgress) => void;
  /** Default: `troupe` under XDG_CACHE_HOME or `~/.cache`. */
  cacheDir?: string;
  /** Look for a newer version even if the cache has one. */
  refresh?: boolean;
}

export interface GuestAssets {
  /** A bzImage. */
  kernelPath: string;
  /** A cpio archive, not compressed. */
  initrdPath: string;
  /** The kernel's release, as `uname -r` prints it. */
  version: string;
}

/** Which directories of the cache a series stands for. */
interface Selection {
  release: string;
  busybox: string;
}

/** A failure with an index older than this may be the index's fault. */
const STALE_INDEX_MS = 60_000;

type Report = (phase: AssetPhase, message: string, percent?: number) => void;

/** Rejects with TroupeError `missing-tool` or `asset-fetch-failed`; both say what to do. */
export async function ensureGuestAssets(options: GuestAssetsOptions = {}): Promise<GuestAssets> {
  const series = options.kernel ?? 'default';
  const cache = resolve(
    options.cacheDir ?? join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'troupe'),
  );
  const report: Report = (phase, message, percent) =>
    options.onProgress?.(percent === undefined ? { phase, message } : { phase, message, percent });
  const refresh = options.refresh === true;
  const cached = refresh ? undefined : await findCached(cache, series);
  if (cached) return cached;
  const onWait = (): void => report('wait', 'waiting for another process that fetches guest assets');
  try {
    await mkdir(cache, { recursive: true });
    return await withFileLock(join(cache, 'lock'), onWait, () => fillCache(cache, series, refresh, report));
  } catch (error) {
    await rmdir(cache).catch(() => {}); // when nothing was cached
    if (error instanceof TroupeError || (error as NodeJS.ErrnoException).code === undefined) throw error;
    const hint = 'set XDG_CACHE_HOME to a directory that can be written and has 300 MB free';
    throw new TroupeError('asset-fetch-failed', `cannot fill the cache: ${(error as Error).message}`, hint, {
      cause: error,
    });
  }
}

async function fillCache(
  cache: string,
  series: KernelSeries,
  refresh: boolean,
  report: Report,
): Promise<GuestAssets> {
  await removeLeftovers(cache);
  const known = refresh ? undefined : await readSelection(cache, series);
  const selection = known ?? (await fetchPieces(cache, series, report));
  if (!(await isThere(initrdPathOf(cache, selection)))) await buildInitrd(cache, selection, report);
  return assetsOf(cache, selection);
}

async function fetchPieces(cache: string, series: KernelSeries, report: Report): Promise<Selection> {
  const apt = await openApt(join(cache, 'apt'));
  try {
    return await fetchFromIndex(apt, cache, series, report);
  } catch (error) {
    // an archive drops the files of an older index
    if ((await apt.indexAgeMs()) < STALE_INDEX_MS) throw error;
    report('index', 'the package index is out of date, fetching it again');
    await apt.update((percent) => report('index', 'fetching the package index', percent));
    return fetchFromIndex(apt, cache, series, report);
  }
}

async function fetchFromIndex(
  apt: Apt,
  cache: string,
  series: KernelSeries,
  report: Report,
): Promise<Selection> {
  const kernel = await resolveKernel(apt, series, (message, percent) => report('index', message, percent));
  const busybox = await resolveBusybox(apt);
  const busyboxName = `busybox-${busybox.version.replace(/[^\w.+~-]/g, '_')}`;
  await providePiece(join(cache, 'busybox', busyboxName), async (into) => {
    const tree = await unpack(apt, busybox, into, report);
    await copyFile(
      join(tree, await firstThere(tree, ['bin/busybox', 'usr/bin/busybox'])),
      join(into, 'busybox'),
    );
    await chmod(join(into, 'busybox'), 0o755);
  });
  const program = join(cache, 'busybox', busyboxName, 'busybox');
  await providePiece(kernelDirectory(cache, kernel.release), async (into) => {
    const tree = await unpack(apt, kernel.image, into, report);
    await copyFile(join(tree, `boot/vmlinuz-${kernel.release}`), join(into, 'bzImage'));
    const root = await firstThere(tree, ['lib/modules', 'usr/lib/modules']);
    const modules = await collectModules(join(tree, root, kernel.release), WANTED_MODULES, program);
    await storeModules(join(into, 'modules'), modules);
  });
  const selection: Selection = { release: kernel.release, busybox: busyboxName };
  await writeWhole(selectionFile(cache, series), `${JSON.stringify(selection)}\n`);
  return selection;
}

/** Packages of a release with merged /usr have their files below `usr`. */
async function firstThere(tree: string, paths: readonly string[]): Promise<string> {
  for (const path of paths) if (await isThere(join(tree, path))) return path;
  throw new TroupeError('asset-fetch-failed', `a package holds none of ${paths.join(', ')}`, OWN_KERNEL_HINT);
}

/** What a run that was killed left; the caller holds the lock, so nobody is at work on it. */
async function removeLeftovers(cache: string): Promise<void> {
  for (const directory of ['kernel', 'busybox', 'initrd', '.']) {
    const names = await readdir(join(cache, directory)).catch(() => []);
    for (const name of names.filter((name) => name.includes('.partial-'))) {
      await rm(join(cache, directory, name), { recursive: true, force: true });
    }
  }
}

/** Unpacks a package into `tree` under `into` and returns that directory. */
async function unpack(apt: Apt, wanted: PackageVersion, into: string, report: Report): Promise<string> {
  const label = `${wanted.name} ${wanted.version}`;
  report('download', `downloading ${label}`, 0);
  const deb = await apt.download(wanted, (percent) => report('download', `downloading ${label}`, percent));
  report('unpack', `unpacking ${label}`);
  const tree = join(into, 'tree');
  const { code, stderr } = await runTool('dpkg-deb', ['-x', deb, tree]);
  if (code !== 0)
    throw new TroupeError('asset-fetch-failed', `cannot unpack ${label}: ${stderr.trim()}`, OWN_KERNEL_HINT);
  await rm(deb, { force: true });
  return tree;
}

/** Fills `directory` by way of a temporary one beside it, unless it is there. */
async function providePiece(directory: string, fill: (into: string) => Promise<void>): Promise<void> {
  if (await isThere(directory)) return;
  await mkdir(dirname(directory), { recursive: true });
  const staging = await mkdtemp(`${directory}.partial-`);
  try {
    await fill(staging);
    await rm(join(staging, 'tree'), { recursive: true, force: true });
    await chmod(staging, 0o755);
    await rename(staging, directory);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
}

async function storeModules(directory: string, modules: readonly KernelModule[]): Promise<void> {
  for (const { path, image } of modules) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), image);
  }
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'order'), modules.map(({ path }) => `${path}\n`).join(''));
}

async function loadModules(directory: string): Promise<KernelModule[]> {
  const order = await readFile(join(directory, 'order'), 'utf8');
  return Promise.all(
    order
      .split('\n')
      .filter(Boolean)
      .map(async (path) => ({ path, image: await readFile(join(directory, path)) })),
  );
}

async function buildInitrd(cache: string, selection: Selection, report: Report): Promise<void> {
  report('build', `building the initramfs for Linux ${selection.release}`);
  const program = join(cache, 'busybox', selection.busybox, 'busybox');
  const busybox = await readFile(program);
  const archive = buildInitramfs({
    release: selection.release,
    busybox,
    applets: readAppletNames(busybox),
    modules: await loadModules(join(kernelDirectory(cache, selection.release), 'modules')),
  });
  const path = initrdPathOf(cache, selection);
  await mkdir(dirname(path), { recursive: true });
  await writeWhole(path, archive);
}

/** What the cache holds, if it is all there. */
async function findCached(cache: string, series: KernelSeries): Promise<GuestAssets | undefined> {
  const selection = await readSelection(cache, series);
  return selection && (await isThere(initrdPathOf(cache, selection)))
    ? assetsOf(cache, selection)
    : undefined;
}

/** The pieces a series stands for, if both are in the cache; their initramfs may have yet to be built. */
async function readSelection(cache: string, series: KernelSeries): Promise<Selection | undefined> {
  const text = await readFile(selectionFile(cache, series), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const { release, busybox } = JSON.parse(text) as Partial<Selection>;
    if (typeof release !== 'string' || typeof busybox !== 'string') return undefined;
    const pieces = [
      join(kernelDirectory(cache, release), 'bzImage'),
      join(cache, 'busybox', busybox, 'busybox'),
    ];
    return (await Promise.all(pieces.map(isThere))).every(Boolean) ? { release, busybox } : undefined;
  } catch {
    return undefined; // damaged by hand: fetch again
  }
}

function assetsOf(cache: string, selection: Selection): GuestAssets {
  return {
    kernelPath: join(kernelDirectory(cache, selection.release), 'bzImage'),
    initrdPath: initrdPathOf(cache, selection),
    version: selection.release,
  };
}

function selectionFile(cache: string, series: KernelSeries): string {
  return join(cache, `selected-${series}.json`);
}

/** One directory for each choice of modules, since the package itself is not kept. */
function kernelDirectory(cache: string, release: string): string {
  const choice = createHash('sha256').update(WANTED_MODULES.join()).digest('hex').slice(0, 8);
  return join(cache, 'kernel', `${release}.${choice}`);
}

function initrdPathOf(cache: string, selection: Selection): string {
  return join(cache, 'initrd', `${selection.release}-${selection.busybox}-${recipeDigest()}.cpio`);
}

async function writeWhole(path: string, contents: string | Uint8Array): Promise<void> {
  const partial = `${path}.partial-${process.pid}`;
  await writeFile(partial, contents);
  await rename(partial, path);
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
