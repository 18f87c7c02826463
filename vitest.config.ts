// Test projects. Tests run the sources: `#shared/x.js` is taken to shared/x.ts by an alias. It is not done by the condition
// `source`, because vitest would hand that on to every worker a test starts, and workers cannot run TypeScript: they
// resolve the same names to dist/, so `npm test` builds first. Projects that boot guests run one file at a time.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('.', import.meta.url));
const alias = [{ find: /^#(shared|actors|kernel|native)\/(.*)\.js$/, replacement: `${root}$1/$2.ts` }];

function project(name: string, timeoutMs: number, fileParallelism: boolean, globalSetup: string[] = []) {
  return {
    resolve: { alias },
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      environment: 'node',
      pool: 'forks' as const,
      fileParallelism,
      globalSetup,
      testTimeout: timeoutMs,
      hookTimeout: timeoutMs,
    },
  };
}

export default defineConfig({
  test: {
    projects: [
      project('unit', 20_000, true),
      project('architecture', 120_000, true),
      project('differential', 600_000, false),
      project('integration', 300_000, false, ['test/support/region-cache.ts']),
      project('guest', 600_000, false, ['test/support/region-cache.ts']),
    ],
  },
});
