import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { FAILPOINTS } from '#shared/ipc/failpoint-catalogue.js';

const ROOT = new URL('../../../../', import.meta.url);

it('is what docs/failpoints.md shows (npm run docs:failpoints)', async () => {
  const script = new URL('scripts/failpoints.mjs', ROOT).href;
  const { formatFailpoints } = (await import(script)) as { formatFailpoints(table: unknown): string };
  expect(readFileSync(new URL('docs/failpoints.md', ROOT), 'utf8')).toBe(formatFailpoints(FAILPOINTS));
});

it('lists no point that the code does not pass', () => {
  const sources = ['shared', 'actors'].flatMap((folder) => {
    const root = fileURLToPath(new URL(folder, ROOT));
    const names = readdirSync(root, { recursive: true, encoding: 'utf8' });
    return names.filter((n) => n.endsWith('.ts') && !n.endsWith('catalogue.ts')).map((n) => `${root}/${n}`);
  });
  const text = sources.map((path) => readFileSync(path, 'utf8')).join('\n');
  const passed = (name: string): boolean => new RegExp(`(failpoint|pass)\\('${name}'\\)`).test(text);
  expect(Object.keys(FAILPOINTS).filter((name) => !passed(name))).toEqual([]);
});
