// Where in a region the arithmetic flags are needed: what nobody reads before it is overwritten is never computed. Faults and
// interrupts are left aside: what they save of dead flags may be older.

import type { RegionBlock } from './region.js';
import { NODE_NEXT_FLAGS_DEAD, NODE_TAKEN_FLAGS_DEAD } from './region-request.js';

export interface FlagLiveness {
  /** Whether somebody may read the flags that a block finds at its start. */
  atStart(block: number): boolean;
  /** Whether its instruction, or what follows, may read the flags of before it. */
  before(block: number, instruction: number): boolean;
}

/** `successors`: of each block, those that it may go on with inside the region. */
export function flagLiveness(
  blocks: readonly RegionBlock[],
  successors: readonly (readonly number[])[],
): FlagLiveness {
  const leavesLive = blocks.map((block, i) => exitNeedsFlags(block, successors[i]!));
  const live = blocks.map((block) => block.instructions.map(() => false));
  const atStart = (block: number): boolean => live[block]![0] === true;
  for (let changed = true; changed;) {
    changed = false;
    for (let i = blocks.length - 1; i >= 0; i--) {
      const before = atStart(i);
      scan(blocks[i]!, live[i]!, leavesLive[i]! || successors[i]!.some(atStart));
      if (atStart(i) !== before) changed = true;
    }
  }
  return { atStart, before: (block, instruction) => live[block]![instruction] === true };
}

function scan({ instructions }: RegionBlock, live: boolean[], atEnd: boolean): void {
  let needed = atEnd;
  for (let i = instructions.length - 1; i >= 0; i--) {
    const known = instructions[i]!.known;
    if (known !== undefined) {
      const { effects, entry, shape } = known;
      if (effects.readsFlags) needed = true;
      else if (shape.fusedCondition !== undefined || (entry.overwritesFlags === true && !shape.flagsDead))
        needed = false;
    }
    live[i] = needed;
  }
}

/** Whether a way out of the region may lead to a reader. */
function exitNeedsFlags(block: RegionBlock, successors: readonly number[]): boolean {
  const dead = (node: number, bit: number): boolean => successors.includes(node) || (block.bits & bit) !== 0;
  const last = block.instructions.at(-1)?.known?.shape;
  if (last === undefined) return !dead(block.next, NODE_NEXT_FLAGS_DEAD);
  const branches =
    last.fusedCondition !== undefined ||
    last.operands.some((operand) => operand.kind === 'branch' && !last.far);
  if (!branches) return true;
  if (!dead(block.taken, NODE_TAKEN_FLAGS_DEAD)) return true;
  const jumps = last.mnemonic === 'Jmp' || last.mnemonic === 'Call';
  return !jumps && !dead(block.next, NODE_NEXT_FLAGS_DEAD);
}
