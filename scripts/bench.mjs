// `npm run bench -- ARGS`: installs and builds what is missing, then runs the benchmarks of bench/ in this same process, so that a
// signal reaches the one that cleans up.
import { ensureReady } from './ensure-ready.mjs';

ensureReady();
await import('../dist/bench/main.js');
