// `npm run bench -- ARGS`: installs and builds what is missing, then runs the benchmarks of bench/.
import { join } from 'node:path';
import { ensureReady } from './ensure-ready.mjs';
import { ROOT, runNode } from './process.mjs';

ensureReady();
process.exitCode = runNode(join(ROOT, 'dist/bench/main.js'), process.argv.slice(2));
