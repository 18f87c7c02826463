// What tells one interpreter handler from another: the mnemonic, the kinds and widths of its operands, how its
// memory operand is addressed, and the prefixes and modes that change its meaning. Two instructions with the same
// shape share a handler; everything else about them is in their operation records.

import type { OperandBits } from './emitter.js';

/**
 * How a memory operand's address is found.
 * - base: 64-bit, base register + displacement, no segment base (also RIP-relative)
 * - full: 64-bit, base + index × scale + displacement + segment base
 * - wrapped: as full, wrapped to 32 bits before the segment base is added (67h in 64-bit mode)
 * - absolute: 64-bit offset in the immediate field (moffs)
 * - legacy32, legacy16: wrapped to 32 or 16 bits, checked against the segment's limits
 */
export type AddressForm = 'base' | 'full' | 'wrapped' | 'absolute' | 'legacy32' | 'legacy16';

export type OperandKind =
  'gpr' | 'memory' | 'immediate' | 'xmm' | 'mmx' | 'st' | 'segment' | 'control' | 'debug' | 'branch';

export interface OperandShape {
  readonly kind: OperandKind;
  readonly bits: OperandBits;
}

export interface HandlerShape {
  readonly mnemonic: string;
  readonly operands: readonly OperandShape[];
  readonly bits: OperandBits;
  /** A far transfer. */
  readonly far: boolean;
  readonly address: AddressForm | undefined;
  readonly lock: boolean;
  readonly repeat: 'none' | 'rep' | 'repne';
  /** Absent when the meaning depends on none of them. */
  readonly modes:
    { readonly code: 16 | 32 | 64; readonly address: 16 | 32 | 64; readonly stack: 16 | 32 | 64 } | undefined;
  /** The arithmetic flags are overwritten before anything can read them. */
  readonly flagsDead: boolean;
  /** Condition code of a Jcc fused behind it. */
  readonly fusedCondition: number | undefined;
}

/** A near JMP or CALL of 64-bit code that takes its target from a register or memory. */
export function isIndirect({ mnemonic, far, bits, operands }: HandlerShape): boolean {
  if (far || bits !== 64 || (mnemonic !== 'Jmp' && mnemonic !== 'Call')) return false;
  return operands[0]?.kind === 'gpr' || operands[0]?.kind === 'memory';
}

const KIND_LETTER: Readonly<Record<OperandKind, string>> = {
  gpr: 'r',
  memory: 'm',
  immediate: 'i',
  xmm: 'x',
  mmx: 'q',
  st: 't',
  segment: 's',
  control: 'c',
  debug: 'd',
  branch: 'j',
};

/** A shape's name: unique, and readable in profiles. */
export function shapeName(shape: HandlerShape): string {
  const operands = shape.operands.map((o) => KIND_LETTER[o.kind] + String(o.bits)).join(',');
  const parts = [`${shape.mnemonic}/${shape.bits} ${operands}`.trim()];
  if (shape.address !== undefined) parts.push(shape.address);
  if (shape.far) parts.push('far');
  if (shape.lock) parts.push('lock');
  if (shape.repeat !== 'none') parts.push(shape.repeat);
  if (shape.modes !== undefined)
    parts.push(`${shape.modes.code}-${shape.modes.address}-${shape.modes.stack}`);
  if (shape.flagsDead) parts.push('flagless');
  if (shape.fusedCondition !== undefined) parts.push(`j${shape.fusedCondition}`);
  return parts.join(' ');
}
