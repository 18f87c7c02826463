// The table of the guest benchmark: medians, how many times QEMU's speed Troupe has, and the goals beside them.
import { median } from '../compare/alternation.js';
import { GROUP_GOALS, type GuestRow, type RowGroup } from './rows.js';

export interface Measured {
  readonly row: GuestRow;
  /** The values of all turns of each contestant, in the columns' order; none where it has no such row or failed. */
  readonly values: readonly (readonly number[])[];
}

/** Which columns are compared: Troupe's speed by QEMU's. */
export interface Comparison {
  readonly troupe: number;
  readonly qemu: number;
}

const GROUP_ORDER: readonly RowGroup[] = ['compute', 'system', 'machine', 'other'];
const NO_FIGURE = '—';

/** How many times theirs our speed is: over 1 is faster, whichever way the figure counts. */
export function speedRatio(row: GuestRow, ours: number, theirs: number): number {
  return row.moreIsBetter ? ours / theirs : theirs / ours;
}

export function geometricMean(ratios: readonly number[]): number {
  return Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
}

/** Lines of a Markdown table. Without a comparison it holds figures alone. */
export function guestTable(
  columns: readonly string[],
  measured: readonly Measured[],
  comparison: Comparison | undefined,
): string[] {
  const heads = ['row', 'measures', 'unit', ...columns];
  if (comparison !== undefined) heads.push('troupe / qemu', 'goal');
  const lines = [heads, heads.map(() => '---')];
  for (const group of GROUP_ORDER) {
    const rows = measured.filter(({ row }) => row.group === group);
    lines.push(...rows.map((entry) => tableRow(entry, comparison)));
    if (comparison !== undefined && (group === 'compute' || group === 'system')) {
      const mean = groupMean(rows, comparison);
      if (mean !== undefined) lines.push(meanRow(group, mean, columns.length));
    }
  }
  return lines.map((cells) => `| ${cells.join(' | ')} |`);
}

function medianOf(values: readonly number[] | undefined): number | undefined {
  return values === undefined || values.length === 0 ? undefined : median(values);
}

function ratioOf({ row, values }: Measured, { troupe, qemu }: Comparison): number | undefined {
  const ours = medianOf(values[troupe]);
  const theirs = medianOf(values[qemu]);
  return ours === undefined || theirs === undefined ? undefined : speedRatio(row, ours, theirs);
}

function tableRow(entry: Measured, comparison: Comparison | undefined): string[] {
  const { row, values } = entry;
  const figures = values.map((turns) => figure(medianOf(turns)));
  const cells = [row.name, row.what, row.unit, ...figures];
  if (comparison === undefined) return cells;
  const ratio = ratioOf(entry, comparison);
  const ours = medianOf(values[comparison.troupe]);
  return [...cells, ratio === undefined ? NO_FIGURE : ratio.toFixed(2), goalCell(row, ratio, ours)];
}

function goalCell(row: GuestRow, ratio: number | undefined, ours: number | undefined): string {
  if (row.group === 'compute' || row.group === 'system')
    return verdict(ratio, '≥', GROUP_GOALS[row.group].row);
  if (row.goal === undefined) return '';
  return 'ratio' in row.goal
    ? verdict(ratio, '≥', row.goal.ratio)
    : verdict(ours, '<', row.goal.below, row.unit);
}

function verdict(value: number | undefined, relation: '≥' | '<', bound: number, unit?: string): string {
  const goal = `${relation} ${Number(bound.toFixed(2))}${unit === undefined ? '' : ` ${unit}`}`;
  if (value === undefined) return goal;
  const met = relation === '≥' ? value >= bound : value < bound;
  return `${goal}: ${met ? 'met' : 'short'}`;
}

function groupMean(
  rows: readonly Measured[],
  comparison: Comparison,
): { ratio: number; rows: number } | undefined {
  const ratios = rows.map((entry) => ratioOf(entry, comparison)).filter((ratio) => ratio !== undefined);
  return ratios.length === 0 ? undefined : { ratio: geometricMean(ratios), rows: ratios.length };
}

function meanRow(
  group: 'compute' | 'system',
  mean: { ratio: number; rows: number },
  columns: number,
): string[] {
  return [
    `**${group}**`,
    `geometric mean of ${mean.rows} rows`,
    '',
    ...Array.from({ length: columns }, () => ''),
    `**${mean.ratio.toFixed(2)}**`,
    verdict(mean.ratio, '≥', GROUP_GOALS[group].mean),
  ];
}

/** Three significant digits, no exponents. */
function figure(value: number | undefined): string {
  if (value === undefined) return NO_FIGURE;
  return value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
}
