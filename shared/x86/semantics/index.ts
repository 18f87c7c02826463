// All instructions by iced-x86 mnemonic name. What has no row is #UD: it is undefined or not announced in CPUID.
import type { SemanticsEntry, SemanticsTable } from '#shared/translate/emitter.js';
import { arithmeticSemantics } from '#shared/x86/semantics/arithmetic.js';
import { bitSemantics } from '#shared/x86/semantics/bit.js';
import { conditionalSemantics } from '#shared/x86/semantics/conditional.js';
import { controlTransferSemantics } from '#shared/x86/semantics/control-transfer.js';
import { dataMovementSemantics } from '#shared/x86/semantics/data-movement.js';
import { decimalSemantics } from '#shared/x86/semantics/decimal.js';
import { flagSemantics } from '#shared/x86/semantics/flag.js';
import { hintSemantics } from '#shared/x86/semantics/hint.js';
import { logicSemantics } from '#shared/x86/semantics/logic.js';
import { multiplyDivideSemantics } from '#shared/x86/semantics/multiply-divide.js';
import { shiftSemantics } from '#shared/x86/semantics/shift.js';
import { stackSemantics } from '#shared/x86/semantics/stack.js';
import { stringSemantics } from '#shared/x86/semantics/string.js';
import { systemSemantics } from '#shared/x86/semantics/system.js';

/** Tables whose names do not clash with the string instructions'. */
const VECTOR_TABLES: readonly SemanticsTable[] = [];

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
  flagSemantics,
  decimalSemantics,
  hintSemantics,
  systemSemantics,
  stringSemantics,
];

/** MOVSD and CMPSD name a string instruction and an SSE2 one: the operands tell which. */
function eitherByOperands(text: SemanticsEntry, vector: SemanticsEntry): SemanticsEntry {
  return {
    ...text,
    sem: (e, op) => {
      const isVector = op.kind(0) === 'xmm' || op.kind(1) === 'xmm';
      (isVector ? vector : text).sem(e, op);
    },
  };
}

function merge(): Map<string, SemanticsEntry> {
  const all = new Map<string, SemanticsEntry>();
  for (const table of TABLES) {
    for (const [name, entry] of Object.entries(table)) {
      if (all.has(name)) throw new Error(`two meanings of ${name}`);
      all.set(name, entry);
    }
  }
  for (const table of VECTOR_TABLES) {
    for (const [name, entry] of Object.entries(table)) {
      const text = stringSemantics[name];
      all.set(name, text ? eitherByOperands(text, entry) : entry);
    }
  }
  return all;
}

/** Every instruction's meaning, by iced-x86 mnemonic name. */
export const SEMANTICS: ReadonlyMap<string, SemanticsEntry> = merge();
