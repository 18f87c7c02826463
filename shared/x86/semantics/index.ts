// All instructions by iced-x86 mnemonic name. What has no row is #UD: it is undefined or not announced in CPUID.
import type { SemanticsEntry, SemanticsTable } from '#shared/translate/emitter.js';
import type { RoutineTable } from '#shared/translate/routine.js';
import { EVENT_ROUTINES } from '#shared/x86/routines/event-delivery.js';
import { FX_ROUTINES } from '#shared/x86/routines/fx-image.js';
import { MEMORY_MISS_ROUTINES } from '#shared/x86/routines/memory-miss.js';
import { PAGE_WALK_ROUTINES } from '#shared/x86/routines/page-walk.js';
import { STRING_ROUTINES } from '#shared/x86/routines/string-run.js';
import { X87_ROUTINES } from '#shared/x86/routines/x87-routines.js';
import { arithmeticSemantics } from '#shared/x86/semantics/arithmetic.js';
import { bitSemantics } from '#shared/x86/semantics/bit.js';
import { conditionalSemantics } from '#shared/x86/semantics/conditional.js';
import { controlTransferSemantics } from '#shared/x86/semantics/control-transfer.js';
import { dataMovementSemantics } from '#shared/x86/semantics/data-movement.js';
import { decimalSemantics } from '#shared/x86/semantics/decimal.js';
import { flagSemantics } from '#shared/x86/semantics/flag.js';
import { hintSemantics } from '#shared/x86/semantics/hint.js';
import { interruptReturnSemantics } from '#shared/x86/semantics/interrupt-return.js';
import { logicSemantics } from '#shared/x86/semantics/logic.js';
import { multiplyDivideSemantics } from '#shared/x86/semantics/multiply-divide.js';
import { shiftSemantics } from '#shared/x86/semantics/shift.js';
import { SSE_ROUTINES } from '#shared/x86/semantics/sse-rounding.js';
import { SSE_X87 } from '#shared/x86/semantics/sse-x87-table.js';
import { stackSemantics } from '#shared/x86/semantics/stack.js';
import { stringSemantics } from '#shared/x86/semantics/string.js';
import { systemCallSemantics } from '#shared/x86/semantics/system-call.js';
import { systemSemantics } from '#shared/x86/semantics/system.js';

const TABLES: readonly SemanticsTable[] = [
  arithmeticSemantics,
  logicSemantics,
  shiftSemantics,
  multiplyDivideSemantics,
  bitSemantics,
  dataMovementSemantics,
  conditionalSemantics,
  stackSemantics,
  controlTransferSemantics,
  interruptReturnSemantics,
  systemCallSemantics,
  flagSemantics,
  decimalSemantics,
  hintSemantics,
  systemSemantics,
  stringSemantics,
  SSE_X87,
];

function merge(): Record<string, SemanticsEntry> {
  const all: Record<string, SemanticsEntry> = {};
  for (const table of TABLES) {
    for (const [name, entry] of Object.entries(table)) {
      if (name in all) throw new Error(`two meanings of ${name}`);
      all[name] = entry;
    }
  }
  return all;
}

/** Every instruction's meaning, by iced-x86 mnemonic name (strings that share SSE2's: StringMovsd, StringCmpsd). */
export const SEMANTICS: SemanticsTable = merge();

/** The routines that meanings, slow memory paths and the run loop call, by name. */
export const ROUTINES: RoutineTable = {
  ...X87_ROUTINES,
  ...FX_ROUTINES,
  ...SSE_ROUTINES,
  ...PAGE_WALK_ROUTINES,
  ...MEMORY_MISS_ROUTINES,
  ...STRING_ROUTINES,
  ...EVENT_ROUTINES,
};
