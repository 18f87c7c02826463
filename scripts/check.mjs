// `npm run check`: everything that judges the tree without running it. All judges run, even after one has failed.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ensureInstalled } from './ensure-ready.mjs';
import { ROOT, runNode } from './process.mjs';

const FOLDERS = ['bin', 'scripts', 'shared', 'actors', 'kernel', 'native', 'bench', 'test'];
const JUDGES = [
  ['types', 'typescript/bin/tsc', ['--noEmit']],
  ['lint', 'eslint/bin/eslint.js', ['.', '--max-warnings', '0']],
  ['format', 'prettier/bin/prettier.cjs', ['--check', '.']],
  [
    'imports',
    'dependency-cruiser/bin/dependency-cruise.mjs',
    [
      '--config',
      '.dependency-cruiser.cjs',
      '--exclude',
      '(^|/)dist/|^test/architecture/fixture',
      ...FOLDERS.filter((name) => existsSync(join(ROOT, name))),
    ],
  ],
  ['unused', 'knip/bin/knip.js', []],
];

ensureInstalled();
const failed = JUDGES.filter(([name, tool, args]) => {
  process.stdout.write(`\n== ${name} ==\n`);
  return runNode(join(ROOT, 'node_modules', tool), args) !== 0;
}).map(([name]) => name);
process.stdout.write(failed.length === 0 ? '\ncheck passed\n' : `\ncheck failed: ${failed.join(', ')}\n`);
process.exitCode = failed.length === 0 ? 0 : 1;
