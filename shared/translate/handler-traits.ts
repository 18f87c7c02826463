// What forming a region needs to know of a handler, as one byte for each: how its instruction ends a block and what it does
// to the arithmetic flags. Found from the meanings when the interpreter is built, so that a vCPU need not load them.

import type { SemanticsEntry } from './emitter.js';
import { type HandlerShape, isIndirect } from './handler-shape.js';
import { findEffects } from './shape-effects.js';

/** All six flags are overwritten and none is read. */
export const TRAIT_KILLS_FLAGS = 1;
export const TRAIT_READS_FLAGS = 2;
/** Near JMP. */
export const TRAIT_JUMP = 4;
/** To a constant target or on to the next instruction. */
export const TRAIT_BRANCH = 8;
/** Near CALL. */
export const TRAIT_CALL = 16;
/** Near RET in 64-bit code. */
export const TRAIT_RETURN = 32;
/** A 64-bit region can hold it. */
export const TRAIT_LONG = 64;
/** With TRAIT_JUMP or TRAIT_CALL, in 64-bit code: the target is in a register or memory. */
export const TRAIT_INDIRECT = 128;

/** The byte for a shape. */
export function handlerTraits(shape: HandlerShape, entry: SemanticsEntry): number {
  const { modes, mnemonic, address } = shape;
  const legacy = address === 'legacy16' || address === 'legacy32';
  if (legacy || (modes !== undefined && modes.code !== 64)) return 0;
  const effects = findEffects(shape, entry);
  let traits = TRAIT_LONG;
  if (effects.readsFlags) traits |= TRAIT_READS_FLAGS;
  else if ((entry.overwritesFlags === true && !shape.flagsDead) || shape.fusedCondition !== undefined)
    traits |= TRAIT_KILLS_FLAGS;
  if (shape.fusedCondition !== undefined) return traits | TRAIT_BRANCH;
  if (mnemonic === 'Ret') return traits | TRAIT_RETURN;
  if (isIndirect(shape)) return traits | TRAIT_INDIRECT | (mnemonic === 'Call' ? TRAIT_CALL : TRAIT_JUMP);
  if (shape.far || !shape.operands.some((operand) => operand.kind === 'branch')) return traits;
  if (mnemonic === 'Jmp') return traits | TRAIT_JUMP;
  return traits | (mnemonic === 'Call' ? TRAIT_CALL : TRAIT_BRANCH);
}
