// Every handler shape that the announced instruction forms can have: the interpreter module holds one handler for
// each. The decoder asks `shapeOf` for the shape of an instruction at hand, so that both use one rule.

import type { SemanticsEntry, SemanticsTable } from './emitter.js';
import type { AddressForm, HandlerShape, OperandShape } from './handler-shape.js';
import { type InstructionForm, instructionForms } from './instruction-form.js';

/** What an instruction adds to its form. */
export interface ShapeVariant {
  /** Absent: the operand that may be memory is a register. */
  readonly address: AddressForm | undefined;
  readonly lock: boolean;
  readonly repeat: 'none' | 'rep' | 'repne';
  readonly code: 16 | 32 | 64;
  readonly addressBits: 16 | 32 | 64;
  readonly stackBits: 16 | 32 | 64;
  readonly flagsDead: boolean;
  readonly fusedCondition: number | undefined;
}

/** Meanings that depend on the address size though they have no memory operand in the record. */
const ADDRESS_SIZED =
  /^(String)?(Movs|Cmps|Stos|Lods|Scas|Ins|Outs)[bwdq]$|^(Loop|J\w?cxz|Jrcxz|Xlat|Maskmov)/;
const FUSED_MNEMONICS = new Set(['Cmp', 'Test']);

export function isFusible(form: InstructionForm): boolean {
  return FUSED_MNEMONICS.has(form.mnemonic);
}

/** The shape of one variant of a form. */
export function shapeOf(form: InstructionForm, entry: SemanticsEntry, variant: ShapeVariant): HandlerShape {
  const memory = form.operands.findIndex(
    (o) => o.memoryBits !== undefined && (o.kind === 'memory' || variant.address !== undefined),
  );
  const operands = form.operands.map((o, i): OperandShape =>
    i === memory ? { kind: 'memory', bits: o.memoryBits! } : { kind: o.kind, bits: o.registerBits! },
  );
  const exchange = form.mnemonic === 'Xchg' && memory >= 0;
  return {
    mnemonic: form.mnemonic,
    operands,
    bits: form.bits,
    far: form.far,
    address: memory >= 0 ? variant.address : undefined,
    lock: variant.lock || exchange,
    repeat: variant.repeat,
    modes:
      entry.modeSensitive === true
        ? {
            code: variant.code,
            address: ADDRESS_SIZED.test(form.mnemonic) ? variant.addressBits : variant.code,
            stack: variant.stackBits,
          }
        : undefined,
    flagsDead: variant.flagsDead,
    fusedCondition: variant.fusedCondition,
  };
}

function addressForms(form: InstructionForm): (AddressForm | undefined)[] {
  const memory = form.operands.find((o) => o.memoryBits !== undefined);
  if (memory === undefined) return [undefined];
  const forms: (AddressForm | undefined)[] = memory.kind === 'memory' ? [] : [undefined];
  if (form.modes.includes(64)) forms.push('base', 'full', 'wrapped');
  if (form.modes.includes(32) || form.modes.includes(16)) forms.push('legacy32', 'legacy16');
  if (/_(moffs)\d/.test(form.name)) forms.push('absolute');
  return forms;
}

function modeCombinations(
  form: InstructionForm,
  entry: SemanticsEntry,
): Pick<ShapeVariant, 'code' | 'addressBits' | 'stackBits'>[] {
  if (entry.modeSensitive !== true) return [{ code: 64, addressBits: 64, stackBits: 64 }];
  const sized = ADDRESS_SIZED.test(form.mnemonic);
  const combinations: Pick<ShapeVariant, 'code' | 'addressBits' | 'stackBits'>[] = [];
  for (const code of form.modes) {
    const addresses = !sized ? [code] : code === 64 ? ([64, 32] as const) : ([32, 16] as const);
    for (const addressBits of addresses)
      for (const stackBits of code === 64 ? ([64] as const) : ([32, 16] as const))
        combinations.push({ code, addressBits, stackBits });
  }
  return combinations;
}

function* variantsOf(form: InstructionForm, entry: SemanticsEntry): Generator<ShapeVariant> {
  const repeats = form.repeatable ? (['none', 'rep', 'repne'] as const) : (['none'] as const);
  for (const address of addressForms(form))
    for (const modes of modeCombinations(form, entry)) {
      if (
        entry.modeSensitive === true &&
        address !== undefined &&
        address.startsWith('legacy') === (modes.code === 64)
      )
        continue;
      for (const repeat of repeats) {
        const plain: ShapeVariant = {
          address,
          lock: false,
          repeat,
          ...modes,
          flagsDead: false,
          fusedCondition: undefined,
        };
        const locks = form.lockable && address !== undefined ? [false, true] : [false];
        for (const lock of locks) {
          yield { ...plain, lock };
          if (entry.overwritesFlags === true) yield { ...plain, lock, flagsDead: true };
        }
        if (isFusible(form) && (address === undefined || address === 'base' || address === 'full'))
          for (let cc = 0; cc < 16; cc++) yield { ...plain, fusedCondition: cc };
      }
    }
}

/** All shapes (with repetitions) of all announced forms that `table` gives a meaning. */
export function* allShapes(table: SemanticsTable): Generator<{ shape: HandlerShape; entry: SemanticsEntry }> {
  for (const form of instructionForms().values()) {
    const entry = table[form.mnemonic];
    if (entry === undefined) continue;
    for (const variant of variantsOf(form, entry)) yield { shape: shapeOf(form, entry, variant), entry };
  }
}
