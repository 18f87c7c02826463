// Sequences of instructions without memory operands, the last perhaps a conditional branch: what the decoder does across
// instructions (dead flags, fused pairs) must not show. Their forms leave no flag undefined and do not fault.

import iced from 'iced-x86';
import { SEMANTICS } from '#shared/x86/semantics/index.js';
import type { InstructionForm } from '#shared/translate/instruction-form.js';
import type { Case, CaseMode } from './case-record.js';
import { TRANSCENDENTAL_ULPS } from './comparison.js';
import { comparedForms } from './coverage.js';
import { encodeForm } from './encoding.js';
import { type CaseGenerator, decodesTo } from './generator.js';

const { CodeExt, OpCodeOperandKind } = iced;

const LONGEST = 6;
const FAULTING = /^(I?div|Ud\d|Int|Wait|Xlatb|Leave|Aam|Bound|Cmpxchg|Hlt|Pause|Prefetch|Reservednop|Emms)/;
/** Half of the sequences work on these alone, so that they depend on each other. */
const FLAG_MAKERS =
  /^(Add|Adc|Sub|Sbb|Cmp|Test|And|Or|Xor|Inc|Dec|Neg|Set|Cmov|Bt|Shl|Shr|Sar|Rol|Rcl|Lahf|Sahf|Cmc|Stc|Clc|J)/;

function isPlain(form: InstructionForm): boolean {
  const info = CodeExt.opCode(form.code);
  const entry = SEMANTICS[form.mnemonic]!;
  if ((entry.undefinedFlags ?? 0) !== 0 || entry.endsBlock === true || info.isStackInstruction) return false;
  if (FAULTING.test(form.mnemonic) || form.mnemonic in TRANSCENDENTAL_ULPS || form.repeatable || form.far)
    return false;
  for (let i = 0; i < info.opCount; i++) {
    const kind = OpCodeOperandKind[info.opKind(i)]!;
    if (!/^(r\d+_|al|cl|ax|dx|eax|rax|imm)/.test(kind)) return false;
  }
  return form.operands.every((o) => o.kind === 'gpr' || o.kind === 'immediate');
}

/** Makes sequence cases of one mode. */
export class SequenceGenerator {
  readonly #g: CaseGenerator;
  readonly #mode: CaseMode;
  readonly #plain: InstructionForm[];
  readonly #flagged: InstructionForm[];
  readonly #branches: InstructionForm[];

  constructor(g: CaseGenerator, mode: CaseMode) {
    this.#g = g;
    this.#mode = mode;
    const forms = comparedForms(mode);
    this.#plain = forms.filter(isPlain);
    this.#flagged = this.#plain.filter((form) => FLAG_MAKERS.test(form.mnemonic));
    this.#branches = forms.filter((form) => {
      const info = CodeExt.opCode(form.code);
      return /^J(?!mp|[er]?cxz)/.test(form.mnemonic) && /rel8/.test(form.name) && info.opCount === 1;
    });
  }

  make(): Case | undefined {
    const { prng } = this.#g;
    const pool = prng.below(2) === 0 ? this.#plain : this.#flagged;
    const first = pool[prng.below(pool.length)]!;
    const c = this.#g.make(first, this.#mode);
    if (c === undefined || CodeExt.opCode(first.code).opCount === 0) return undefined;
    const bytes: number[] = [];
    const length = 2 + prng.below(LONGEST - 1);
    for (let i = 0; i < length; i++) {
      const code = this.#encode(pool);
      if (code !== undefined) bytes.push(...code);
    }
    if (prng.below(2) === 0) {
      const branch = this.#branches[prng.below(this.#branches.length)]!;
      const encoded = encodeForm(prng, branch, this.#mode);
      if (decodesTo(branch, Uint8Array.from(encoded.bytes), this.#mode)) {
        encoded.bytes[encoded.branchAt] = 8 + prng.below(64);
        bytes.push(...encoded.bytes);
      }
    }
    if (bytes.length === 0) return undefined;
    return { ...c, form: 'sequence', code: Uint8Array.from(bytes), segments: false };
  }

  #encode(pool: readonly InstructionForm[]): readonly number[] | undefined {
    const { prng } = this.#g;
    const form = pool[prng.below(pool.length)]!;
    const encoded = encodeForm(prng, form, this.#mode);
    if (encoded.memory !== undefined || encoded.lock) return undefined;
    return decodesTo(form, Uint8Array.from(encoded.bytes), this.#mode) ? encoded.bytes : undefined;
  }
}
