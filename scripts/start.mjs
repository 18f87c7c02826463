// `npm start -- ARGS`: installs and builds what is missing, then is `troupe run ARGS` in this same process.
import { fileURLToPath } from 'node:url';
import { ensureReady } from './ensure-ready.mjs';

ensureReady();
const entry = new URL('../bin/troupe.js', import.meta.url);
process.argv.splice(1, 1, fileURLToPath(entry), 'run');
await import(entry.href);
