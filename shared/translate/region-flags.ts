// Arithmetic flags of a compiled region: they stay symbolic (what made them) along straight-line code until something
// needs them, so that conditions compare operands and flags that nobody reads are never computed. At joins and on ways out
// they are in the lazy flag locals.

import { CC_CARRY } from '#shared/x86/cpu-state.js';
import type { ArithmeticKind, FlagName, Label, OperandBits, Value } from './emitter.js';
import { RegionState } from './region-state.js';

interface Arithmetic {
  readonly form: 'arithmetic';
  readonly kind: ArithmeticKind;
  readonly bits: OperandBits;
  readonly a: Value;
  readonly b: Value;
  readonly result: Value;
  /** No carry in: orders compare the operands. */
  readonly plain: boolean;
  /** INC and DEC: the carry flag that stays, i32. */
  readonly carry: Value | undefined;
}

/** SF, ZF, PF by a result, the others given. */
interface Resulting {
  readonly form: 'result';
  readonly bits: OperandBits;
  readonly result: Value;
  readonly flags: { readonly cf?: Value; readonly of?: Value; readonly af?: Value };
}

/** All six given. */
interface Explicit {
  readonly form: 'explicit';
  readonly flags: Readonly<Record<FlagName, Value>>;
}

type Symbolic = Arithmetic | Resulting | Explicit;

const PLAIN_SUB = new Set(['Cmp', 'Sub', 'Neg', 'Cmpxchg']);
const FLAG_NAMES: readonly FlagName[] = ['cf', 'pf', 'af', 'zf', 'sf', 'of'];

export abstract class RegionFlags extends RegionState {
  #symbolic: Symbolic | undefined;

  protected override dropFlags(): void {
    this.#symbolic = undefined;
  }

  protected override onOneWay(work: () => void): void {
    const symbolic = this.#symbolic;
    work();
    this.#symbolic = symbolic;
  }

  protected override commitFlags(): void {
    const flags = this.#symbolic;
    if (flags === undefined) return;
    this.#symbolic = undefined;
    const dead = this.flagsDead;
    this.flagsDead = false;
    if (flags.form === 'arithmetic') {
      if (flags.carry !== undefined) this.setState('i32', CC_CARRY, this.shl(flags.carry, this.i32(31)));
      super.setFlags(flags.kind, flags.bits, flags.a, flags.b, flags.result);
    } else if (flags.form === 'result') super.setResultFlags(flags.bits, flags.result, flags.flags);
    else super.writeFlags(flags.flags);
    this.flagsDead = dead;
    this.forgetFlags();
  }

  override setFlags(kind: ArithmeticKind, bits: OperandBits, a: Value, b: Value, result: Value): void {
    if (this.shape.flagsDead) return;
    const carry = kind === 'inc' || kind === 'dec' ? this.getFlag('cf') : undefined;
    const plain = kind === 'sub' && PLAIN_SUB.has(this.shape.mnemonic);
    this.#symbolic = { form: 'arithmetic', kind, bits, a, b, result, plain, carry };
  }

  override setResultFlags(
    bits: OperandBits,
    result: Value,
    flags: { cf?: Value; of?: Value; af?: Value } = {},
  ): void {
    if (this.shape.flagsDead) return;
    this.#symbolic = { form: 'result', bits, result, flags };
  }

  override writeFlags(flags: Partial<Record<FlagName, Value>>): void {
    if (this.shape.flagsDead) return;
    if (FLAG_NAMES.every((name) => flags[name] !== undefined)) {
      this.#symbolic = { form: 'explicit', flags: flags as Record<FlagName, Value> };
      return;
    }
    this.commitFlags();
    super.writeFlags(flags);
    this.forgetFlags();
  }

  override writeArithmeticFlags(image: Value): void {
    this.#symbolic = undefined;
    super.writeArithmeticFlags(image);
    this.forgetFlags();
  }

  override getFlag(flag: FlagName): Value {
    const known = this.#knownFlag(flag);
    if (known !== undefined) return known;
    this.commitFlags();
    return super.getFlag(flag);
  }

  #knownFlag(flag: FlagName): Value | undefined {
    const flags = this.#symbolic;
    if (flags === undefined) return undefined;
    if (flags.form === 'explicit') return flags.flags[flag];
    if (flag === 'zf') return this.eqz(narrow(this, flags.result, flags.bits, false));
    if (flags.form === 'result')
      return flag === 'cf' || flag === 'of' ? (flags.flags[flag] ?? this.i32(0)) : undefined;
    if (flag !== 'cf') return undefined;
    if (flags.carry !== undefined) return flags.carry;
    if (flags.kind === 'logic') return this.i32(0);
    if (!flags.plain) return undefined;
    return this.ltU(narrow(this, flags.a, flags.bits, false), narrow(this, flags.b, flags.bits, false));
  }

  override condition(cc: number): Value {
    const direct = this.#direct(cc & 14);
    if (direct !== undefined) return (cc & 1) === 0 ? direct : this.eqz(direct);
    this.commitFlags();
    this.forgetFlags();
    return super.condition(cc);
  }

  /** The even condition codes that need no flag words. */
  #direct(cc: number): Value | undefined {
    const flags = this.#symbolic;
    if (flags === undefined) return undefined;
    if (flags.form === 'explicit') return this.#fromFlags(cc, flags.flags);
    const { bits } = flags;
    const zero = this.constant(bits, 0);
    const result = (signed: boolean): Value => narrow(this, flags.result, bits, signed);
    if (cc === 4) return this.eqz(result(false));
    if (cc === 8) return this.ltS(result(true), zero);
    if (flags.form === 'result') {
      if (cc === 0) return flags.flags.of ?? this.i32(0);
      if (cc === 2) return flags.flags.cf ?? this.i32(0);
      if (cc === 6) return this.or(flags.flags.cf ?? this.i32(0), this.eqz(result(false)));
      return undefined;
    }
    if (cc === 2 && flags.carry !== undefined) return flags.carry;
    if (flags.kind === 'logic') {
      if (cc === 0 || cc === 2) return this.i32(0);
      if (cc === 6) return this.eqz(result(false));
      if (cc === 12) return this.ltS(result(true), zero);
      return cc === 14 ? this.leS(result(true), zero) : undefined;
    }
    return flags.plain ? this.#compare(cc, flags) : undefined;
  }

  #compare(cc: number, { a, b, bits }: Arithmetic): Value | undefined {
    const signed = cc >= 12;
    const x = narrow(this, a, bits, signed);
    const y = narrow(this, b, bits, signed);
    switch (cc) {
      case 2:
        return this.ltU(x, y);
      case 6:
        return this.leU(x, y);
      case 12:
        return this.ltS(x, y);
      case 14:
        return this.leS(x, y);
      default:
        return undefined;
    }
  }

  #fromFlags(cc: number, flags: Readonly<Record<FlagName, Value>>): Value {
    switch (cc) {
      case 0:
        return flags.of;
      case 2:
        return flags.cf;
      case 4:
        return flags.zf;
      case 6:
        return this.or(flags.cf, flags.zf);
      case 8:
        return flags.sf;
      case 10:
        return flags.pf;
      case 12:
        return this.xor(flags.sf, flags.of);
      default:
        return this.or(this.xor(flags.sf, flags.of), flags.zf);
    }
  }

  // Control flow within an instruction's meaning: flags are in the locals at its joins.

  override if(condition: Value, then: () => void, otherwise?: () => void): void {
    if (this.constantOf(condition) !== undefined) {
      super.branchOn(condition, then, otherwise);
      return;
    }
    this.commitFlags();
    const committed = (work: () => void) => (): void => {
      work();
      this.commitFlags();
    };
    super.branchOn(condition, committed(then), otherwise && committed(otherwise));
  }

  override branch(label: Label): void {
    this.commitFlags();
    super.branch(label);
  }

  override branchIf(label: Label, condition: Value): void {
    this.commitFlags();
    super.branchIf(label, condition);
  }

  override block(body: (end: Label) => void): void {
    this.commitFlags();
    super.block((end) => {
      body(end);
      this.commitFlags();
    });
  }

  override loop(body: (again: Label) => void): void {
    this.commitFlags();
    super.loop((again) => {
      body(again);
      this.commitFlags();
    });
  }
}

/** A value as its operand size sees it. */
function narrow(e: RegionFlags, value: Value, bits: OperandBits, signed: boolean): Value {
  if (bits >= 32) return value;
  return signed ? e.signExtend(value, bits) : e.zeroExtend(value, bits);
}
