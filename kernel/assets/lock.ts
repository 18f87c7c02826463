// A lock file that holds off other processes of this user while one of them fills the cache. The holder touches it
// every few seconds; a file that nobody has touched for long was left by a process that died, and is taken over.

import { open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleepMs } from 'node:timers/promises';

const TOUCH_PERIOD_MS = 2_000;
const ABANDONED_MS = 20_000;
const POLL_MS = 200;

/** Runs `body` while holding the lock at `path`; `onWait` is called once when another process has it. */
export async function withFileLock<T>(path: string, onWait: () => void, body: () => Promise<T>): Promise<T> {
  const mine = `${hostname()} ${process.pid} ${Math.random().toString(36).slice(2)}\n`;
  let waited = false;
  while (!(await tryCreate(path, mine))) {
    if (!waited) onWait();
    waited = true;
    await removeAbandoned(path);
    await sleepMs(POLL_MS);
  }
  const touch = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => {}), TOUCH_PERIOD_MS);
  try {
    return await body();
  } finally {
    clearInterval(touch);
    if ((await readFile(path, 'utf8').catch(() => '')) === mine) await rm(path, { force: true });
  }
}

async function tryCreate(path: string, contents: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx');
    await file.writeFile(contents);
    await file.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function removeAbandoned(path: string): Promise<void> {
  const contents = await readFile(path, 'utf8').catch(() => undefined);
  const touched = await stat(path).catch(() => undefined);
  if (contents === undefined || !touched) return;
  const [host, pid] = contents.split(' ');
  const died = host === hostname() && pid !== undefined && !isAlive(Number(pid));
  if (!died && Date.now() - touched.mtimeMs < ABANDONED_MS) return;
  // rename first: of two that judge the same file abandoned, one gets it, and what it got can be looked at again
  const aside = `${path}.${process.pid}`;
  if (
    !(await rename(path, aside).then(
      () => true,
      () => false,
    ))
  )
    return;
  if ((await readFile(aside, 'utf8').catch(() => '')) === contents) await rm(aside, { force: true });
  else await rename(aside, path).catch(() => {});
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
