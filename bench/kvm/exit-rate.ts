// What an exit costs when TypeScript serves it, beside the bare C loop: the same guest image, the same marks on COM1, timed the same way.
import { alternate, median } from '../compare/alternation.js';
import type { Command } from '../compare/contestants.js';
import { RUN_TIMEOUT_MS, timeMarks } from '../guest/timed-run.js';
import { troupeOnKvm } from './machines.js';
import { buildGuest, type GuestLoop } from './programs.js';
import type { KvmRow } from './report.js';

const EXITS = 40_000;
const MARKS = [/</, />/];
const GOAL = 1.3;

const LOOPS = [
  { loop: 'out', name: 'exit-out', what: 'exit for OUT, to the next instruction' },
  { loop: 'mmio-write', name: 'exit-mmio-write', what: 'exit for a store to MMIO' },
  { loop: 'mmio-read', name: 'exit-mmio-read', what: 'exit for a load from MMIO' },
] as const satisfies readonly { loop: GuestLoop; name: string; what: string }[];

/** Microseconds an exit. */
async function timeExits(command: Command): Promise<number> {
  const [start, end] = await timeMarks(command, MARKS, RUN_TIMEOUT_MS);
  return ((end! - start!) * 1000) / EXITS;
}

export async function benchExits(directory: string, monitor: string, turns: number): Promise<KvmRow[]> {
  const rows: KvmRow[] = [];
  for (const { loop, name, what } of LOOPS) {
    const image = buildGuest(directory, loop, EXITS);
    const troupe = troupeOnKvm(image);
    const bare: Command = [monitor, 'exits', image];
    const runs = await alternate([troupe, bare], turns, async (command) => [await timeExits(command)]);
    const [ours, theirs] = [troupe, bare].map((command) => median(runs.get(command)!.flat()));
    rows.push({ name, what, unit: 'µs', troupe: ours!, bare: theirs!, goal: GOAL });
  }
  return rows;
}
