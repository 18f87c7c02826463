// Which blocks of a region need the arithmetic flags that they are entered with. An edge to a block that does not need
// them computes none. Faults and interrupts are left aside: what they save of dead flags may be older.

import type { RegionBlock } from './region.js';

/** Instructions that neither read nor write arithmetic flags. */
const NO_FLAGS =
  /^(Mov|Movzx|Movsx|Movsxd|Lea|Push|Pop|Nop|Not|Bswap|Xchg|Movd|Movq|Movap[sd]|Movup[sd]|Movdq[au]|Movs[sd]|Cdqe|Cwde|Cdq|Cqo|Endbr64|Pause)$/;

/** Whether somebody may read the arithmetic flags that a block finds at its start, faults left aside. */
export function flagLiveness(
  blocks: readonly RegionBlock[],
  successors: readonly (readonly number[])[],
): boolean[] {
  const through = blocks.map((block, i) => scanFlags(block, successors[i]!.length));
  const live = through.map((state) => state === 'live');
  for (let changed = true; changed;) {
    changed = false;
    blocks.forEach((block, i) => {
      if (live[i] || through[i] !== 'through') return;
      const exits = [block.taken, block.next].filter((t) => t !== undefined).length > successors[i]!.length;
      if (exits || successors[i]!.some((s) => live[s])) {
        live[i] = true;
        changed = true;
      }
    });
  }
  return live;
}

function scanFlags(block: RegionBlock, successors: number): 'live' | 'dead' | 'through' {
  for (const { shape, entry } of block.instructions) {
    if (shape === undefined || entry === undefined) break;
    if (entry.overwritesFlags === true && !shape.flagsDead) return 'dead';
    if (shape.mnemonic === 'Jmp' && shape.operands[0]?.kind === 'branch') break;
    if (!NO_FLAGS.test(shape.mnemonic)) return 'live';
  }
  return successors === 0 ? 'live' : 'through';
}
