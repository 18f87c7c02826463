// Builds the native addon (native/) into dist/native when a C++ compiler, Node's headers and Linux on x86-64 are there;
// says in one line why not where they are not, and the machine then runs on the wasm engine alone. Runs at `npm ci`, `npm
// start`, `npm test` and `npm run build`; a hash beside the binary tells a fresh one. `--prebuild` makes the file that a
// release carries, prebuilds/linux-x64/troupe-native.node, and fails when it cannot.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from './process.mjs';

const NATIVE = join(ROOT, 'native');
const BUILT = join(NATIVE, 'build/Release/troupe_native.node');
const OUTPUT = join(ROOT, 'dist/native/troupe-native.node');
const STAMP = join(ROOT, 'dist/native/.troupe-native');
const PREBUILD = join(ROOT, 'prebuilds/linux-x64/troupe-native.node');
const BUILD_LIMIT_MS = 5 * 60_000;

function hashInputs() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch} napi8\0`);
  const sources = readdirSync(join(NATIVE, 'src'))
    .sort()
    .map((name) => join(NATIVE, 'src', name));
  for (const file of [join(NATIVE, 'binding.gyp'), ...sources]) hash.update(readFileSync(file)).update('\0');
  return hash.digest('hex');
}

function has(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Why the addon cannot be built here, or undefined. */
function findLack() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'KVM needs Linux on x86-64';
  if (!has(process.env.CXX ?? 'g++')) return 'there is no C++ compiler (apt-get install g++ make python3)';
  if (!has('make')) return 'there is no make (apt-get install make)';
  if (!has('python3')) return 'there is no python3, which node-gyp needs (apt-get install python3)';
  return undefined;
}

/** Node's headers as its packages install them, beside the binary: then node-gyp need not fetch any. */
function localHeaders() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

function runNodeGyp() {
  const require = createRequire(import.meta.url);
  let tool;
  try {
    tool = require.resolve('node-gyp/bin/node-gyp.js');
  } catch {
    return { status: 1, output: 'node-gyp is not installed' };
  }
  const args = [tool, 'rebuild', '--directory', NATIVE, ...localHeaders()];
  const result = spawnSync(process.execPath, args, {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: BUILD_LIMIT_MS,
    maxBuffer: 1 << 26,
    env: { ...process.env, npm_config_loglevel: 'warn' },
  });
  return { status: result.status ?? 1, output: `${result.stdout ?? ''}${result.stderr ?? ''}` };
}

function say(text) {
  process.stderr.write(`troupe: ${text}\n`);
}

function publish(target) {
  mkdirSync(dirname(target), { recursive: true });
  rmSync(target, { force: true }); // a process that has it mapped keeps the old file
  copyFileSync(BUILT, target);
}

/**
 * True when a fresh addon is there afterwards. What could not be built is remembered and tried again only with `retry`;
 * what was skipped for a lack of tools is built when they are there.
 */
export function buildNative({ retry = false } = {}) {
  const hash = hashInputs();
  const [was, state] = existsSync(STAMP) ? readFileSync(STAMP, 'utf8').trim().split(' ') : [];
  if (was === hash) {
    if (state === 'built' && existsSync(OUTPUT)) return true;
    if (state === 'failed' && !retry) return false;
    if (state === 'skipped' && !retry && findLack() !== undefined) return false;
  }
  mkdirSync(dirname(OUTPUT), { recursive: true });
  const note = (state) => writeFileSync(STAMP, `${hash} ${state}\n`);
  const lack = findLack();
  if (lack !== undefined) {
    say(`the KVM addon is not built: ${lack}; machines run on the wasm engine`);
    rmSync(OUTPUT, { force: true });
    note('skipped');
    return false;
  }
  say('building the KVM addon …');
  const { status, output } = runNodeGyp();
  if (status !== 0) {
    const lines = output.trimEnd().split('\n').slice(-30).join('\n');
    say(
      `the KVM addon could not be built; machines run on the wasm engine. The end of node-gyp's output:\n${lines}`,
    );
    rmSync(OUTPUT, { force: true });
    note('failed');
    return false;
  }
  publish(OUTPUT);
  note('built');
  return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const prebuild = process.argv.includes('--prebuild');
  const built = buildNative({ retry: true });
  if (prebuild && built) publish(PREBUILD);
  process.exitCode = prebuild && !built ? 1 : 0;
}
