// Writes docs/failpoints.md out of the table in shared/ipc/failpoint-catalogue.ts. Run by `npm run docs:failpoints`; a unit test
// tells when the page is behind the code.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from './process.mjs';

export const FAILPOINTS_PAGE = join(ROOT, 'docs/failpoints.md');

export function formatFailpoints(failpoints) {
  const rows = Object.entries(failpoints).map(([name, { kinds, where }]) => [
    `\`${name}\``,
    kinds === 'all' ? 'all' : kinds.join(', '),
    where,
  ]);
  const heads = ['point', 'actors', 'what has happened, and what has not'];
  const widths = heads.map((head, i) =>
    Math.max(...[head, ...rows.map((row) => row[i])].map((cell) => cell.length)),
  );
  const line = (cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |\n`;
  return (
    '# Failpoints\n\nWhere a fault can strike, in the order in which an actor comes by. Made from\n' +
    '`shared/ipc/failpoint-catalogue.ts` by `npm run docs:failpoints`; [Testing with faults](testing-with-faults.md)\n' +
    'says how to use them.\n\n' +
    line(heads) +
    `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |\n` +
    rows.map(line).join('')
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { FAILPOINTS } = await import(new URL('../dist/shared/ipc/failpoint-catalogue.js', import.meta.url));
  writeFileSync(FAILPOINTS_PAGE, formatFailpoints(FAILPOINTS));
}
