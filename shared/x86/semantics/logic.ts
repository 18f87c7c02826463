// AND OR XOR TEST NOT. Intel SDM vol. 2: CF and OF are cleared, AF is undefined (we clear it, as processors do).
import type { Emitter, Operands, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { AF } from '#shared/x86/rflags.js';

type Combine = (e: Emitter, a: Value, b: Value) => Value;

function logical(combine: Combine) {
  return (e: Emitter, op: Operands): void => {
    const b = op.read(1);
    const { old, value } = op.modify(0, (a) => combine(e, a, b));
    e.setFlags('logic', op.bits, old, b, value);
  };
}

function semTest(e: Emitter, op: Operands): void {
  const a = op.read(0);
  const b = op.read(1);
  e.setFlags('logic', op.bits, a, b, e.and(a, b));
}

function semNot(e: Emitter, op: Operands): void {
  op.modify(0, (a) => e.xor(a, e.constant(op.bits, -1)));
}

export const logicSemantics: SemanticsTable = {
  And: { sem: logical((e, a, b) => e.and(a, b)), undefinedFlags: AF, overwritesFlags: true },
  Or: { sem: logical((e, a, b) => e.or(a, b)), undefinedFlags: AF, overwritesFlags: true },
  Xor: { sem: logical((e, a, b) => e.xor(a, b)), undefinedFlags: AF, overwritesFlags: true },
  Test: { sem: semTest, undefinedFlags: AF, overwritesFlags: true },
  Not: { sem: semNot },
};
