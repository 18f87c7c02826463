// Makes a checkout runnable: installs dependencies when they do not match package-lock.json and builds when
// dist/ is stale. Says what it does on stderr, so that the output of a command run afterwards stays clean.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, isBuildStale } from './build.mjs';
import { ROOT, fail, requireNodeVersion, runNpm } from './process.mjs';

function readLock(path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, path), 'utf8')).packages ?? {};
  } catch {
    return undefined;
  }
}

/** Every package that the lock demands is there in its locked version (optional ones may be absent). */
function isInstalled() {
  const installed = readLock('node_modules/.package-lock.json');
  if (!installed) return false;
  return Object.entries(readLock('package-lock.json') ?? {}).every(
    ([path, wanted]) => path === '' || wanted.optional || installed[path]?.version === wanted.version,
  );
}

export function ensureInstalled() {
  requireNodeVersion();
  if (isInstalled()) return;
  process.stderr.write('troupe: installing dependencies (npm ci) …\n');
  const code = runNpm(['ci', '--include=dev', '--no-audit', '--no-fund'], { stdoutToStderr: true });
  if (code !== 0)
    fail('npm ci failed', 'Read its message above; behind a proxy, set the proxy or registry of npm.');
}

export function ensureReady() {
  ensureInstalled();
  if (!isBuildStale()) return;
  process.stderr.write('troupe: building …\n');
  const startedMs = Date.now();
  if (build({ stdoutToStderr: true }) !== 0)
    fail('the build failed', 'Read the messages of the compiler above.');
  process.stderr.write(`troupe: built in ${((Date.now() - startedMs) / 1000).toFixed(1)} s\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) ensureReady();
