// `npm run chaos:nightly [-- --hours H --strikes N --faults N --kinds K,K --seconds S --seed N --report DIR]`: installs and builds what is
// missing, then runs guests under the whole kill matrix.
import { ensureReady } from './ensure-ready.mjs';

ensureReady();
const { nightlyMain } = await import(new URL('../dist/kernel/chaos/nightly.js', import.meta.url));
process.exitCode = await nightlyMain(process.argv.slice(2));
