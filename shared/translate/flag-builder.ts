// Lazy arithmetic flags over the CC_* slots of the state page (see cpu-state.ts for their meaning). A result and a
// carry vector stand for all six flags, whatever the operation and width were, so that readers need no dispatch.

import type { CodeSink } from '#shared/wasm/code-sink.js';
import { CC_CARRY, CC_MISC, CC_RESULT } from '#shared/x86/cpu-state.js';
import type { ArithmeticKind, FlagName, OperandBits, Value } from './emitter.js';
import { ValueBuilder } from './value-builder.js';

const AF = 0x10;
const PF_INVERTED = 0x04;
const SF_INVERTED = 0x80;

interface Comparison {
  readonly kind: ArithmeticKind;
  readonly bits: OperandBits;
  readonly a: Value;
  readonly b: Value;
  readonly result: Value;
}

/** Adds state-page access and flags to a {@link ValueBuilder}. One parameter of the function is the state page. */
export class FlagBuilder extends ValueBuilder {
  protected readonly cpu: Value;
  /** Flag results are dead: the flag verbs write nothing. */
  protected flagsDead = false;
  #last: Comparison | undefined;

  constructor(code: CodeSink, cpuParameter = 1) {
    super(code);
    this.cpu = this.fromLocal(cpuParameter, 'i32');
  }

  getState(kind: 'u8' | 'u16' | 'i32' | 'i64' | 'f32' | 'f64' | 'v128', offset: number): Value {
    this.push(this.cpu);
    if (kind === 'u8') this.code.memory('i32.load8_u', offset);
    else if (kind === 'u16') this.code.memory('i32.load16_u', offset);
    else this.code.memory(`${kind}.load`, offset);
    return this.take(kind === 'u8' || kind === 'u16' ? 'i32' : kind);
  }

  setState(kind: 'u8' | 'u16' | 'i32' | 'i64' | 'f32' | 'f64' | 'v128', offset: number, value: Value): void {
    this.push(this.cpu);
    this.push(value);
    if (kind === 'u8') this.code.memory('i32.store8', offset);
    else if (kind === 'u16') this.code.memory('i32.store16', offset);
    else this.code.memory(`${kind}.store`, offset);
  }

  setFlags(kind: ArithmeticKind, bits: OperandBits, a: Value, b: Value, result: Value): void {
    if (this.flagsDead) return;
    const oldCarry = kind === 'inc' || kind === 'dec' ? this.getState('i32', CC_CARRY) : undefined;
    this.#setResult(bits, result);
    this.#last = { kind, bits, a, b, result };
    if (kind === 'logic') {
      this.setState('i32', CC_CARRY, this.i32(0));
      this.setState('i32', CC_MISC, this.i32(0));
      return;
    }
    const carry = this.#carryVector(kind, a, b, result);
    const top = this.#alignCarry(bits, carry);
    this.setState('i32', CC_CARRY, oldCarry === undefined ? top : this.#keepCarry(oldCarry, top));
    const auxiliary = this.xor(this.xor(this.toBits(a, 32), this.toBits(b, 32)), this.toBits(result, 32));
    this.setState('i32', CC_MISC, this.and(auxiliary, this.i32(AF)));
  }

  /** Carries (or borrows) out of each bit position. */
  #carryVector(kind: ArithmeticKind, a: Value, b: Value, result: Value): Value {
    const ones = a.type === 'i64' ? this.i64(-1) : this.i32(-1);
    if (kind === 'sub' || kind === 'dec') {
      const notA = this.xor(a, ones);
      return this.or(this.and(notA, b), this.and(this.or(notA, b), result));
    }
    return this.or(this.and(a, b), this.and(this.or(a, b), this.xor(result, ones)));
  }

  /** The vector's top bits as CC_CARRY wants them. */
  #alignCarry(bits: OperandBits, carry: Value): Value {
    return bits === 64 ? this.wrap(this.shrU(carry, this.i64(32))) : this.shl(carry, this.i32(32 - bits));
  }

  /** INC and DEC leave CF: bit 31 from the old word, bit 30 so that OF is the new one. */
  #keepCarry(oldCarry: Value, top: Value): Value {
    const overflow = this.and(this.xor(top, this.shl(top, this.i32(1))), this.i32(0x80000000));
    const kept = this.and(oldCarry, this.i32(0x80000000));
    return this.or(kept, this.shrU(this.xor(kept, overflow), this.i32(1)));
  }

  #setResult(bits: OperandBits, result: Value): void {
    const wide = bits === 64 ? result : this.extendS(this.signExtend(result, bits));
    this.setState('i64', CC_RESULT, wide);
  }

  setResultFlags(bits: OperandBits, result: Value, flags: { cf?: Value; of?: Value; af?: Value } = {}): void {
    if (this.flagsDead) return;
    this.#last = undefined;
    this.#setResult(bits, result);
    this.setState('i32', CC_CARRY, this.#carryWord(flags.cf ?? this.i32(0), flags.of ?? this.i32(0)));
    this.setState('i32', CC_MISC, flags.af === undefined ? this.i32(0) : this.shl(flags.af, this.i32(4)));
  }

  #carryWord(cf: Value, of: Value): Value {
    return this.or(this.shl(cf, this.i32(31)), this.shl(this.xor(cf, of), this.i32(30)));
  }

  writeFlags(flags: Partial<Record<FlagName, Value>>): void {
    if (this.flagsDead) return;
    if (
      flags.pf === undefined &&
      flags.af === undefined &&
      flags.zf === undefined &&
      flags.sf === undefined
    ) {
      const word = this.#carryWord(flags.cf ?? this.getFlag('cf'), flags.of ?? this.getFlag('of'));
      this.#last = undefined;
      this.setState('i32', CC_CARRY, word);
      return;
    }
    const all = (['cf', 'pf', 'af', 'zf', 'sf', 'of'] as const).map(
      (name) => flags[name] ?? this.getFlag(name),
    );
    this.#writeAll(all[0]!, all[1]!, all[2]!, all[3]!, all[4]!, all[5]!);
  }

  #writeAll(cf: Value, pf: Value, af: Value, zf: Value, sf: Value, of: Value): void {
    this.#last = undefined;
    // A result of 0 has ZF = PF = 1, a result of 1 has neither.
    this.setState('i64', CC_RESULT, this.extendU(this.xor(zf, this.i32(1))));
    this.setState('i32', CC_CARRY, this.#carryWord(cf, of));
    const parity = this.shl(this.xor(pf, zf), this.i32(2));
    const misc = this.or(this.or(parity, this.shl(af, this.i32(4))), this.shl(sf, this.i32(7)));
    this.setState('i32', CC_MISC, misc);
  }

  getFlag(flag: FlagName): Value {
    const bit = (word: Value, n: number): Value => this.and(this.shrU(word, this.i32(n)), this.i32(1));
    switch (flag) {
      case 'cf':
        return this.shrU(this.getState('i32', CC_CARRY), this.i32(31));
      case 'of': {
        const carry = this.getState('i32', CC_CARRY);
        return this.shrU(this.xor(carry, this.shl(carry, this.i32(1))), this.i32(31));
      }
      case 'zf':
        return this.eqz(this.getState('i64', CC_RESULT));
      case 'sf': {
        const high = this.getState('i32', CC_RESULT + 4);
        return this.xor(this.shrU(high, this.i32(31)), bit(this.getState('i32', CC_MISC), 7));
      }
      case 'pf': {
        const odd = this.popcnt(this.getState('u8', CC_RESULT));
        return this.and(
          this.xor(this.xor(odd, this.i32(1)), this.shrU(this.getState('i32', CC_MISC), this.i32(2))),
          this.i32(1),
        );
      }
      case 'af':
        return bit(this.getState('i32', CC_MISC), 4);
    }
  }

  condition(cc: number): Value {
    const direct = this.#directCondition(cc >> 1);
    const positive = direct ?? this.#slotCondition(cc >> 1);
    return (cc & 1) === 0 ? positive : this.xor(positive, this.i32(1));
  }

  /** A condition on a comparison that this very code made needs no flags. */
  #directCondition(pair: number): Value | undefined {
    const last = this.#last;
    if (last === undefined) return undefined;
    const narrow = (v: Value, signed: boolean): Value =>
      last.bits >= 32 ? v : signed ? this.signExtend(v, last.bits) : this.zeroExtend(v, last.bits);
    if (pair === 2) return this.eqz(narrow(last.result, false));
    if (pair === 4) return this.ltS(narrow(last.result, true), this.constant(last.bits, 0));
    if (last.kind === 'logic') {
      if (pair === 0 || pair === 1) return this.i32(0);
      if (pair === 3) return this.eqz(narrow(last.result, false));
      if (pair === 6) return this.ltS(narrow(last.result, true), this.constant(last.bits, 0));
      if (pair === 7) return this.leS(narrow(last.result, true), this.constant(last.bits, 0));
      return undefined;
    }
    return undefined;
  }

  /** After a plain CMP or SUB (no borrow in), orders compare the operands. Called by the fusing tiers only. */
  protected compareCondition(cc: number): Value | undefined {
    const last = this.#last;
    if (last?.kind !== 'sub') return undefined;
    const signed = cc >> 1 === 6 || cc >> 1 === 7;
    const narrow = (v: Value): Value =>
      last.bits >= 32 ? v : signed ? this.signExtend(v, last.bits) : this.zeroExtend(v, last.bits);
    switch (cc) {
      case 2:
        return this.ltU(narrow(last.a), narrow(last.b));
      case 3:
        return this.geU(narrow(last.a), narrow(last.b));
      case 6:
        return this.leU(narrow(last.a), narrow(last.b));
      case 7:
        return this.gtU(narrow(last.a), narrow(last.b));
      case 12:
        return this.ltS(narrow(last.a), narrow(last.b));
      case 13:
        return this.geS(narrow(last.a), narrow(last.b));
      case 14:
        return this.leS(narrow(last.a), narrow(last.b));
      case 15:
        return this.gtS(narrow(last.a), narrow(last.b));
      default:
        return undefined;
    }
  }

  #slotCondition(pair: number): Value {
    switch (pair) {
      case 0:
        return this.getFlag('of');
      case 1:
        return this.getFlag('cf');
      case 2:
        return this.getFlag('zf');
      case 3:
        return this.or(this.getFlag('cf'), this.getFlag('zf'));
      case 4:
        return this.getFlag('sf');
      case 5:
        return this.getFlag('pf');
      case 6:
        return this.xor(this.getFlag('sf'), this.getFlag('of'));
      default:
        return this.or(this.xor(this.getFlag('sf'), this.getFlag('of')), this.getFlag('zf'));
    }
  }

  readArithmeticFlags(): Value {
    let image = this.getFlag('cf');
    const shifts: readonly (readonly [FlagName, number])[] = [['pf', 2], ['af', 4], ['zf', 6], ['sf', 7], ['of', 11]]; // prettier-ignore
    for (const [name, shift] of shifts) image = this.or(image, this.shl(this.getFlag(name), this.i32(shift)));
    return image;
  }

  writeArithmeticFlags(image: Value): void {
    const bit = (n: number): Value => this.and(this.shrU(image, this.i32(n)), this.i32(1));
    this.#writeAll(bit(0), bit(2), bit(4), bit(6), bit(7), bit(11));
  }

  /** Forgets what the flags came from, at a point that several paths reach. */
  protected forgetFlags(): void {
    this.#last = undefined;
  }
}

/** The six flags of a state page as an RFLAGS image, for code outside the generated. `i32` views the page, `base` is its index. */
export function readArithmeticFlags(i32: Int32Array, base: number): number {
  const low = i32[base + CC_RESULT / 4]!;
  const high = i32[base + CC_RESULT / 4 + 1]!;
  const carry = i32[base + CC_CARRY / 4]!;
  const misc = i32[base + CC_MISC / 4]!;
  let parity = low & 0xff;
  parity ^= parity >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  const cf = carry >>> 31;
  const pf = (~parity & 1) ^ ((misc & PF_INVERTED) >> 2);
  const zf = (low | high) === 0 ? 1 : 0;
  const sf = (high >>> 31) ^ ((misc & SF_INVERTED) >> 7);
  const of = (carry ^ (carry << 1)) >>> 31;
  return cf | (pf << 2) | (misc & AF) | (zf << 6) | (sf << 7) | (of << 11);
}

/** Sets the six flags of a state page from an RFLAGS image. */
export function writeArithmeticFlags(i32: Int32Array, base: number, image: number): void {
  const cf = image & 1;
  const zf = (image >> 6) & 1;
  const of = (image >> 11) & 1;
  i32[base + CC_RESULT / 4] = zf ^ 1;
  i32[base + CC_RESULT / 4 + 1] = 0;
  i32[base + CC_CARRY / 4] = (cf << 31) | ((cf ^ of) << 30);
  i32[base + CC_MISC / 4] = (image & AF) | (image & SF_INVERTED) | ((((image >> 2) & 1) ^ zf) << 2);
}
