// CMOVcc SETcc Jcc, each by its condition code as encoded. Intel SDM vol. 1 appendix B.
import type { SemanticsEntry, SemanticsTable } from '#shared/translate/emitter.js';

/** iced-x86's suffixes in encoding order. */
const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];

const table: Record<string, SemanticsEntry> = {};
for (const [cc, suffix] of CONDITIONS.entries()) {
  table[`Cmov${suffix}`] = {
    sem: (e, op) => {
      const source = op.read(1);
      // Written either way: a 32-bit destination is zero-extended even when nothing moves.
      op.write(0, e.select(e.condition(cc), source, op.read(0)));
    },
  };
  table[`Set${suffix}`] = { sem: (e, op) => op.write(0, e.condition(cc)) };
  table[`J${suffix}`] = { sem: (e) => e.jumpDirectIf(e.condition(cc)), endsBlock: true };
}

export const conditionalSemantics: SemanticsTable = table;
