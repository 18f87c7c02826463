// Bundles what processes and threads start with: a thread that loads a hundred small modules takes four times as long to
// start as one that loads five files. The outputs take the place of the compiled entries in dist/; what they share lies in
// dist/chunks.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { rolldown } from 'rolldown';
import { ROOT } from './process.mjs';

const DIST = join(ROOT, 'dist');
const CHUNKS = 'chunks';
const PROCESSES = ['kernel/index', 'kernel/cli/main', 'kernel/child-main', 'kernel/supervision/worker-main'];
/** Holds what a thread is told at its start; test actors load it by its own place. */
const THREAD = 'shared/ipc/actor';
const ENGINES = ['actors/vcpu/engine-wasm/vcpu-engine', 'actors/vcpu/engine-kvm/vcpu-engine'];

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

const distRoot = ({ fileName }) => {
  const up = posix.relative(posix.dirname(fileName), '') || '.';
  return `const DIST_ROOT = new URL('${up}/', import.meta.url);`;
};

rmSync(join(DIST, CHUNKS), { recursive: true, force: true });
const entries = [...PROCESSES, THREAD, ...ENGINES, ...actorEntries()].filter((name) =>
  existsSync(join(ROOT, `${name}.ts`)),
);
const build = await rolldown({
  input: Object.fromEntries(entries.map((name) => [name, join(ROOT, `${name}.ts`)])),
  platform: 'node',
  cwd: ROOT,
  // Packages stay where npm put them.
  external: /^[^./#]/,
  resolve: { conditionNames: ['source', 'node', 'import'] },
  plugins: [keepPlaces],
});
try {
  await build.write({
    dir: DIST,
    format: 'esm',
    sourcemap: true,
    entryFileNames: '[name].js',
    chunkFileNames: `${CHUNKS}/[name]-[hash].js`,
    intro: distRoot,
  });
} finally {
  await build.close();
}
