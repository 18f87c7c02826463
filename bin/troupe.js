#!/usr/bin/env node
// The `troupe` command. In a checkout that was never built it installs and builds first; an installed package
// always carries dist/.
import { existsSync } from 'node:fs';

const entry = new URL('../dist/kernel/cli/main.js', import.meta.url);
const scripts = new URL('../scripts/ensure-ready.mjs', import.meta.url);

if (!existsSync(entry) && existsSync(scripts)) (await import(scripts.href)).ensureReady();
if (existsSync(entry)) {
  await import(entry.href);
} else {
  process.stderr.write(
    'troupe: dist/kernel/cli/main.js is missing; build it with: npm ci && npm run build\n',
  );
  process.exitCode = 2;
}
