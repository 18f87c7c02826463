// The table of the benchmarks that have one figure for each contestant.
import type { Contestant } from './contestants.js';

export interface Row {
  readonly what: string;
  readonly unit: string;
  /** Median of each contestant, in their order. */
  readonly values: readonly number[];
  readonly moreIsBetter: boolean;
}

/** Troupe beside QEMU where both ran. */
export function printRows(contestants: readonly Contestant[], rows: readonly Row[]): void {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  const heads = ['', 'unit', ...contestants.map(({ name }) => name)];
  if (contestants.length > 1) heads.push('troupe is');
  process.stdout.write(`\n${line(heads)}${line(heads.map(() => '---'))}`);
  for (const { what, unit, values, moreIsBetter } of rows) {
    const [ours, theirs] = values;
    const digits = unit === 's' ? 2 : 1;
    const cells = [what, unit, ...values.map((value) => value.toFixed(digits))];
    if (theirs !== undefined) {
      const times = moreIsBetter ? ours! / theirs : theirs / ours!;
      cells.push(times >= 1 ? `${times.toFixed(2)} × faster` : `${(1 / times).toFixed(2)} × slower`);
    }
    process.stdout.write(line(cells));
  }
}
