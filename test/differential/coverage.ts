// Which instruction forms are compared with the host, in which modes; the others with the reason why not.

import iced from 'iced-x86';
import { SEMANTICS } from '#shared/x86/semantics/index.js';
import { type InstructionForm, instructionForms } from '#shared/translate/instruction-form.js';
import type { CaseMode } from './case-record.js';

const { CodeExt } = iced;

/** Mnemonics that a user program on the host cannot show, beyond those whose semantics say `notOnHost`. */
const NOT_COMPARED: Readonly<Record<string, string>> = {
  Into: 'a trap through the IDT',
};

const DECODED_AS_OTHER = /^(Prefetch\w*_m8|Endbr\d+|Nop_rm\d+)$/;

/** Why `form` is not compared in `mode`; undefined when it is. */
export function exclusion(form: InstructionForm, mode: CaseMode): string | undefined {
  if (!form.modes.includes(mode)) return `does not exist in ${mode}-bit code`;
  const info = CodeExt.opCode(form.code);
  if (info.fwait) return 'FWAIT and its successor decode as two instructions';
  if (mode === 64 && !info.intelDecoder64) return 'only AMD processors decode it in 64-bit code';
  if (DECODED_AS_OTHER.test(form.name)) return 'decodes as a reserved NOP: the decoder is told to';
  if (form.name === 'Ud0') return 'decodes as UD0 with operands'; // what Intel processors do
  const entry = SEMANTICS[form.mnemonic];
  if (entry === undefined) return 'no meaning: #UD by design';
  return entry.notOnHost ?? NOT_COMPARED[form.mnemonic];
}

export function comparedForms(mode: CaseMode): InstructionForm[] {
  return [...instructionForms().values()].filter((form) => exclusion(form, mode) === undefined);
}
