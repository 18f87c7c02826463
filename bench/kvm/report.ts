// The tables of the KVM benchmarks.

/** Troupe beside a C program that does the same: the goal is the most that Troupe may take of C's time. */
export interface KvmRow {
  readonly name: string;
  readonly what: string;
  readonly unit: string;
  readonly troupe: number;
  readonly bare: number;
  readonly goal: number;
}

export function tableLine(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |\n`;
}

/** Lines of a Markdown table. */
export function kvmTable(rows: readonly KvmRow[]): string {
  const heads = ['row', 'measures', 'unit', 'troupe', 'C', 'troupe / C', 'goal'];
  const lines = rows.map(({ name, what, unit, troupe, bare, goal }) => {
    const ratio = troupe / bare;
    const verdict = `≤ ${goal}: ${ratio <= goal ? 'met' : 'short'}`;
    return tableLine([name, what, unit, troupe.toFixed(2), bare.toFixed(2), ratio.toFixed(2), verdict]);
  });
  return tableLine(heads) + tableLine(heads.map(() => '---')) + lines.join('');
}
