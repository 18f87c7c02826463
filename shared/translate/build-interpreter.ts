// Build step: generates the interpreter module and its index beside the compiled sources
// (dist/shared/translate/interpreter.wasm and interpreter.json).

import { writeFileSync } from 'node:fs';
import { ROUTINES, SEMANTICS } from '#shared/x86/semantics/index.js';
import { buildInterpreterModule } from './interpreter-module.js';

const { bytes, shapes, helpers, traits } = buildInterpreterModule(SEMANTICS, ROUTINES);
writeFileSync(new URL('interpreter.wasm', import.meta.url), bytes);
writeFileSync(new URL('interpreter.json', import.meta.url), JSON.stringify({ shapes, helpers, traits }));
process.stdout.write(
  `interpreter: ${shapes.length} handlers, ${helpers.length} helpers, ${bytes.length} bytes\n`,
);
