// The slow memory paths, functions of the interpreter's module, so that an access is little code. First comes a routine that fills
// the TLB (shared/x86/routines/memory-miss.ts), then, when that will not do, TypeScript. Regions call theirs with `(cpu, linear
// address, distance of RIP from the region's start, argument) → EXIT_`.

import type { CodeBody } from '#shared/wasm/code-sink.js';
import { CodeWriter } from '#shared/wasm/code-writer.js';
import { BLOCK_RIP, EXIT_NONE, RIP, SLOW_ADDRESS } from '#shared/x86/cpu-state.js';
import type { SlowImports } from './memory-builder.js';
import { RECORD_IP_OFFSET } from './op-record.js';

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

/** The routine that tries each path first; it gives an EXIT_ value, or −1 to call the import. */
export const MISS_ROUTINES: Readonly<Record<keyof SlowImports, string>> = {
  read: 'missRead',
  write: 'missWrite',
  modifyBegin: 'missModifyBegin',
  modifyEnd: 'missModifyEnd',
};

/** Calls the routine, leaves when that was all, makes RIP architectural by `syncIp`, and leaves when the access faults. */
function tryMiss(code: CodeWriter, linear: number, argument: number, miss: number, syncIp: () => void): void {
  const status = code.local('i32');
  code.get(0);
  code.get(linear);
  code.get(argument);
  code.call(miss);
  code.tee(status);
  code.operator('i32.eqz');
  code.if();
  code.i32Const(EXIT_NONE);
  code.return();
  code.end();
  code.get(0);
  code.get(0);
  code.memory('i64.load', BLOCK_RIP);
  syncIp();
  code.operator('i64.add');
  code.memory('i64.store', RIP);
  code.get(status);
  code.i32Const(0);
  code.operator('i32.gt_s');
  code.if();
  code.get(status);
  code.return();
  code.end();
  code.get(0);
  code.get(linear);
  code.memory('i64.store', SLOW_ADDRESS);
}

/** Body of a slow path for regions, around the import. */
export function regionSlowBody(slowImport: number, miss: number): CodeBody {
  const code = new CodeWriter(4);
  tryMiss(code, 1, 3, miss, () => {
    code.get(2);
    code.operator('i64.extend_i32_s');
  });
  code.i32Const(0);
  code.get(3);
  code.call(slowImport);
  return code.finish();
}

/**
 * Body of a slow path for handlers, `(cpu, record, linear address, argument) → EXIT_`. RIP may lack the wrapping of narrower modes: there
 * the routines do nothing, and the import sets it once more.
 */
export function handlerSlowBody(slowImport: number, miss: number): CodeBody {
  const code = new CodeWriter(4);
  tryMiss(code, 2, 3, miss, () => {
    code.get(1);
    code.memory('i64.load16_u', RECORD_IP_OFFSET);
  });
  code.get(1);
  code.get(3);
  code.call(slowImport);
  return code.finish();
}
