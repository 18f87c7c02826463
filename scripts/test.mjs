// `npm test [-- PROJECT… [--full]]`: installs and builds what is missing, runs the vitest projects one after another and
// ends with the line `N passed, N failed`. A run that breaks outside of a test (a file that cannot be loaded, an
// unhandled rejection) counts as one failed. --full lifts the bounds of `npm test` (TROUPE_TEST_FULL=1 for the tests).
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureReady } from './ensure-ready.mjs';
import { ROOT, fail, runNode } from './process.mjs';

const PROJECTS = ['unit', 'architecture', 'differential', 'integration', 'guest'];
const REPORTS = join(ROOT, '.tmp/test-reports');

function runProject(project, env) {
  const report = join(REPORTS, `${project}.json`);
  process.stdout.write(`\n== ${project} ==\n`);
  const code = runNode(
    join(ROOT, 'node_modules/vitest/vitest.mjs'),
    [
      'run',
      '--project',
      project,
      '--passWithNoTests',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    { env },
  );
  const counts = existsSync(report)
    ? JSON.parse(readFileSync(report, 'utf8'))
    : { numPassedTests: 0, numFailedTests: 0 };
  const { numPassedTests: passed, numFailedTests: failed } = counts;
  return { passed, failed: code !== 0 && failed === 0 ? 1 : failed };
}

const args = process.argv.slice(2);
const full = args.includes('--full');
const wanted = args.filter((arg) => arg !== '--full');
const unknown = wanted.find((project) => !PROJECTS.includes(project));
if (unknown) fail(`no test project '${unknown}'`, `Projects: ${PROJECTS.join(', ')}.`);

ensureReady();
rmSync(REPORTS, { recursive: true, force: true });
mkdirSync(REPORTS, { recursive: true });
const results = PROJECTS.filter((project) => wanted.length === 0 || wanted.includes(project)).map((project) =>
  runProject(project, full ? { TROUPE_TEST_FULL: '1' } : {}),
);
const passed = results.reduce((sum, result) => sum + result.passed, 0);
const failed = results.reduce((sum, result) => sum + result.failed, 0);
process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
