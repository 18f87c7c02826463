// Build step: generates the interpreter module and its index beside the compiled sources
// (dist/shared/translate/interpreter.wasm and interpreter.json).

import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { ROUTINES, SEMANTICS } from '#shared/x86/semantics/index.js';
import { buildInterpreterModule } from './interpreter-module.js';

const { bytes, shapes, helpers, traits } = buildInterpreterModule(SEMANTICS, ROUTINES);
writeFileSync(new URL('interpreter.wasm', import.meta.url), bytes);
const index = { shapes, helpers, traits, engineVersion: hashEngine() };
writeFileSync(new URL('interpreter.json', import.meta.url), JSON.stringify(index));
process.stdout.write(
  `interpreter: ${shapes.length} handlers, ${helpers.length} helpers, ${bytes.length} bytes\n`,
);

/** What decides which code a region becomes and what it may count on: everything built that translates or runs regions. */
function hashEngine(): string {
  const hash = createHash('sha256').update(bytes);
  for (const folder of ['shared', 'actors/compiler', 'actors/vcpu']) {
    const root = new URL(`../../${folder}/`, import.meta.url);
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.js'),
    );
    for (const name of files.sort())
      hash.update(`${folder}/${name}\0`).update(readFileSync(new URL(name, root)));
  }
  return hash.digest('hex');
}
