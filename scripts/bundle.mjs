// Bundles what processes and threads start with: a thread that loads a hundred small modules takes many times as long to start as
// one that loads three files. Processes are ES modules, in the place of the compiled entries in dist/. Threads are CommonJS (.cjs):
// Node's loader of ES modules alone takes a thread 10 ms to start. What they share lies in dist/chunks.
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { rolldown } from 'rolldown';
import { ROOT } from './process.mjs';

const DIST = join(ROOT, 'dist');
const CHUNKS = 'chunks';
const PROCESSES = ['kernel/index', 'kernel/cli/main', 'kernel/child-main'];
/** Holds what a thread is told at its start: there must be one of it, also for actors that are ES modules. */
const THREAD = 'shared/ipc/actor';
const ENGINES = ['actors/vcpu/engine-wasm/vcpu-engine', 'actors/vcpu/engine-kvm/vcpu-engine'];
/** A file for what devices load, with all below it; one for what the vCPUs and the compiler load beside that. */
const CHUNK_GROUPS = [
  {
    name: 'devices',
    test: /\/(actors\/(?!vcpu|compiler)[^/]+\/(?!main)|shared\/ipc\/actor\.ts|native\/interrupt-wire\.ts)/,
    priority: 1,
  },
  { name: 'engine', test: /\/shared\//, minShareCount: 2 },
];

/** `main` is what a thread runs, `actor` what one loads that waits to become one. */
function actorEntries() {
  return readdirSync(join(ROOT, 'actors')).flatMap((kind) =>
    ['main', 'actor'].map((name) => `actors/${kind}/${name}`),
  );
}

/** A bundled module finds what lies beside its own source in dist/, as if it had not been moved. */
const keepPlaces = {
  name: 'keep-places',
  transform(code, id) {
    if (!code.includes('import.meta.url')) return null;
    const place = relative(ROOT, id).replace(/\.ts$/, '.js');
    const there = `new URL(${JSON.stringify(place)}, DIST_ROOT).href`;
    return { code: code.replaceAll('import.meta.url', there), map: null };
  },
};

const upFrom = ({ fileName }) => posix.relative(posix.dirname(fileName), '') || '.';
const FORMATS = {
  esm: {
    extension: 'js',
    // Packages stay where npm put them.
    external: /^[^./#]/,
    intro: (chunk) => `const DIST_ROOT = new URL('${upFrom(chunk)}/', import.meta.url);`,
  },
  cjs: {
    extension: 'cjs',
    // Comlink is what every thread loads.
    external: /^(?!comlink$)[^./#]/,
    intro: (chunk) =>
      `const DIST_ROOT = require('node:url').pathToFileURL(require('node:path').join(__dirname, '${upFrom(chunk)}/'));`,
    codeSplitting: { groups: CHUNK_GROUPS },
  },
};

async function bundle(format, names) {
  const { extension, external, intro, codeSplitting } = FORMATS[format];
  const entries = names.filter((name) => existsSync(join(ROOT, `${name}.ts`)));
  const build = await rolldown({
    input: Object.fromEntries(entries.map((name) => [name, join(ROOT, `${name}.ts`)])),
    platform: 'node',
    cwd: ROOT,
    external,
    resolve: { conditionNames: ['source', 'node', 'import'] },
    plugins: [keepPlaces],
  });
  try {
    await build.write({
      dir: DIST,
      format,
      sourcemap: true,
      entryFileNames: `[name].${extension}`,
      chunkFileNames: `${CHUNKS}/[name]-[hash].${extension}`,
      intro,
      codeSplitting,
    });
  } finally {
    await build.close();
  }
}

rmSync(join(DIST, CHUNKS), { recursive: true, force: true });
await bundle('esm', PROCESSES);
await bundle('cjs', ['kernel/supervision/worker-main', THREAD, ...ENGINES, ...actorEntries()]);
writeFileSync(join(DIST, `${THREAD}.js`), `export * from './${posix.basename(THREAD)}.cjs';\n`);
