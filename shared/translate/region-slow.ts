// The slow memory paths as regions call them: `(cpu, linear address, distance of RIP from the region's start, argument) →
// EXIT_`. One of each in the interpreter's module, so that an access in a region is little code.

import { CodeWriter } from '#shared/wasm/code-writer.js';
import { BLOCK_RIP, RIP, SLOW_ADDRESS } from '#shared/x86/cpu-state.js';
import type { SlowImports } from './memory-builder.js';

export const REGION_SLOW_PATHS = [
  'read',
  'write',
  'modifyBegin',
  'modifyEnd',
] as const satisfies readonly (keyof SlowImports)[];

/** Export of the interpreter's module that calls a record's handler: a region's way to other code. */
export const REGION_DISPATCH = 'dispatch';

/** Export that goes on at RIP when the jump cache's first way does not know it. */
export const REGION_SECOND_WAY = 'second-way';

/** The export's name. */
export const regionSlowName = (path: keyof SlowImports): string => `region-${path}`;

/** Body of a slow path around the import that an interpreter handler calls. */
export function regionSlowBody(slowImport: number): number[] {
  const code = new CodeWriter(4);
  code.get(0);
  code.get(1);
  code.memory('i64.store', SLOW_ADDRESS);
  code.get(0);
  code.get(0);
  code.memory('i64.load', BLOCK_RIP);
  code.get(2);
  code.operator('i64.extend_i32_s');
  code.operator('i64.add');
  code.memory('i64.store', RIP);
  code.i32Const(0);
  code.get(3);
  code.call(slowImport);
  return code.finish();
}
