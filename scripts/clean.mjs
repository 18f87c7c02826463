// Removes what builds and tests leave in the tree. Keeps node_modules and the user's cache of guest assets.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './process.mjs';

for (const folder of ['dist', 'coverage', '.tmp', 'native/build', 'prebuilds'])
  rmSync(join(ROOT, folder), { recursive: true, force: true });
