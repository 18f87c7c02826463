// Builds dist/: compiles TypeScript, removes outputs whose source is gone, runs the interpreter generator, bundles the entries. A hash of all
// inputs in dist/.stamp tells a fresh build from a stale one.
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
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildNative } from './build-native.mjs';
import { ROOT, runNode } from './process.mjs';

const SOURCE_FOLDERS = ['shared', 'actors', 'kernel', 'native', 'bench'];
const SETTINGS = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'scripts/build.mjs',
  'scripts/build-native.mjs',
  'scripts/bundle.mjs',
];
const DIST = join(ROOT, 'dist');
/** What is no TypeScript and lies beside the code that reads it. */
const ASSETS = ['verifier.c', 'verifier-devices.c', 'verifier.h'].map((name) => `kernel/chaos/${name}`);
/** What node-gyp leaves behind. */
const NATIVE_BUILD = join(ROOT, 'native/build');
const STAMP = join(DIST, '.stamp');
const BUNDLER = join(ROOT, 'scripts/bundle.mjs');
const GENERATORS = [
  'shared/virtio/routines/build-blk-service.js',
  'shared/translate/build-interpreter.js',
].map((name) => join(DIST, name));

function listFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => !file.startsWith(NATIVE_BUILD))
    .sort();
}

function hashSources() {
  const hash = createHash('sha256').update(process.versions.modules);
  const sources = SOURCE_FOLDERS.flatMap((folder) => listFiles(join(ROOT, folder)));
  for (const file of [...SETTINGS.map((name) => join(ROOT, name)), ...sources]) {
    hash
      .update(`${relative(ROOT, file)}\0`)
      .update(readFileSync(file))
      .update('\0');
  }
  return hash.digest('hex');
}

export function isBuildStale() {
  return !existsSync(STAMP) || readFileSync(STAMP, 'utf8') !== hashSources();
}

function removeOrphans() {
  for (const folder of SOURCE_FOLDERS) {
    for (const file of listFiles(join(DIST, folder))) {
      const source = relative(DIST, file).replace(/\.(js|js\.map|d\.ts)$/, '.ts');
      if (source.endsWith('.ts') && !existsSync(join(ROOT, source))) rmSync(file);
    }
  }
}

/** Returns the exit code of the first step that failed, or 0. */
export function build(options) {
  const hash = hashSources();
  rmSync(STAMP, { force: true });
  mkdirSync(DIST, { recursive: true });
  const code = runNode(join(ROOT, 'node_modules/typescript/bin/tsc'), ['-p', 'tsconfig.build.json'], options);
  if (code !== 0) return code;
  removeOrphans();
  for (const name of ASSETS) copyFileSync(join(ROOT, name), join(DIST, name));
  buildNative(); // the wasm engine does without
  for (const step of [...GENERATORS, BUNDLER]) {
    const failed = runNode(step, [], options);
    if (failed !== 0) return failed;
  }
  writeFileSync(STAMP, hash);
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = build();
