// iced-x86, required rather than imported: before an import Node parses the whole package for names, four times what
// loading it costs, and every thread that decodes waits for it.

import { createRequire } from 'node:module';
import type iced from 'iced-x86';

export const ICED = createRequire(import.meta.url)('iced-x86') as typeof iced;
