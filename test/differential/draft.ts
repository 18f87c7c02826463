// A case in the making, and where in memory its operand goes.

import type { Prng } from '#shared/base/prng.js';
import { type InstructionForm, isStringForm } from '#shared/translate/instruction-form.js';
import { type Case, type CaseMode, DATA, DATA_BYTES, DATA_WRITABLE } from './case-record.js';
import type { EncodedInstruction } from './encoding.js';
import type { ElementKind } from './values.js';

/** A case in the making. */
export interface Draft {
  readonly form: InstructionForm;
  readonly encoded: EncodedInstruction;
  readonly kind: ElementKind;
  readonly case: Case;
  /** Linear address of the memory operand. */
  target: bigint | undefined;
}

/** A linear address for an operand of `bytes`. */
export function pickTarget(prng: Prng, bytes: number, mode: CaseMode): bigint {
  const choice = prng.below(32);
  const inside = DATA_WRITABLE - 0x200 - bytes;
  if (choice < 16) return BigInt(DATA + 0x100 + (prng.below(inside) & ~15));
  if (choice < 22) return BigInt(DATA + 0x100 + prng.below(inside));
  const boundary = (page: number): bigint =>
    BigInt(DATA + page * 4096 - 1 - prng.below(Math.max(bytes - 1, 1)));
  if (choice < 25) return boundary(1);
  if (choice === 25) return boundary(2);
  // Not into the unmapped page: which of two pages that both fault is reported is not defined.
  if (choice === 26 || choice === 27) return boundary(0);
  if (choice === 28) return BigInt(DATA + DATA_WRITABLE + prng.below(4096 - bytes));
  if (choice === 29 || mode !== 64) return BigInt(DATA + DATA_BYTES + prng.below(4096));
  if (choice === 30) return (1n << 47n) - BigInt(prng.below(bytes + 8));
  return BigInt.asUintN(64, (BigInt(prng.u32()) << 32n) | BigInt(prng.u32()));
}

/** Puts bytes at a linear address, as far as it lies in the data pages. */
export function patchBytes(draft: Draft, address: bigint, bytes: Uint8Array): void {
  const at = Number(BigInt.asIntN(53, address)) - DATA;
  const skip = Math.max(0, -at);
  const length = Math.min(bytes.length, DATA_BYTES - at);
  if (length <= skip || draft.case.patches.length > 6) return;
  draft.case.patches.push({ at: at + skip, bytes: bytes.slice(skip, length) });
}

/** Size of a form's memory operand; 8 for those without. */
export function operandBytes(form: InstructionForm): number {
  const memory = form.operands.find((o) => o.memoryBits !== undefined);
  if (memory !== undefined && memory.memoryBits! > 0) return memory.memoryBits! / 8;
  if (isStringForm(form.name)) return form.bits / 8;
  return 8;
}
