// `troupe run --stats engine`: the table at the end of a run.
import type { EngineStatistics } from '../index.js';

type Counts = EngineStatistics['vcpus'][number];
type Row = readonly [label: string, figure: (counts: Counts) => string];

const whole = (value: number): string => Math.round(value).toString();
const count =
  (name: keyof Counts) =>
  (counts: Counts): string =>
    whole(counts[name]);
const instructions = (c: Counts): number => c.instructionsInterpreted + c.instructionsCompiled;
const share = (part: number, all: number): string =>
  all === 0 ? '-' : `${((100 * part) / all).toFixed(1)} %`;

const ROWS: readonly Row[] = [
  ['guest instructions', (c) => whole(instructions(c))],
  ['  interpreted', (c) => share(c.instructionsInterpreted, instructions(c))],
  ['  compiled', (c) => share(c.instructionsCompiled, instructions(c))],
  ['blocks decoded', count('blocksDecoded')],
  ['  dropped', count('blocksDropped')],
  ['regions requested', count('regionsRequested')],
  ['  installed', count('regionsInstalled')],
  ['  formed elsewhere', count('regionsAdopted')],
  ['  live', count('regionsLive')],
  ['  evicted', count('regionsEvicted')],
  ['  late (the code had changed)', count('regionsLate')],
  ['  refused', count('regionsRefused')],
  ['  code, KiB', (c) => whole(c.regionBytes / 1024)],
  ['  ms on the vCPU', (c) => whole(c.regionMs)],
  ['TLB misses filled', count('tlbFills')],
  ['TLB flushes', count('tlbFlushes')],
  ['device accesses', count('mmioAccesses')],
  ['exceptions', count('exceptions')],
  ['interrupts', count('interrupts')],
  ['exits: block to find', count('exitsLookup')],
  ['  pending work', count('exitsPending')],
  ['  exception', count('exitsException')],
  ['  halt', count('exitsHalt')],
  ['  branch in a helper', count('exitsBranch')],
  ['  hot block', count('exitsHot')],
  ['  dropped code', count('exitsDropped')],
  ['  string to repeat', count('exitsRepeat')],
];

function totalOf(vcpus: readonly Counts[]): Counts {
  const names = Object.keys(vcpus[0]!) as (keyof Counts)[];
  const sum = (name: keyof Counts): number => vcpus.reduce((all, counts) => all + counts[name], 0);
  return Object.fromEntries(names.map((name) => [name, sum(name)])) as Counts;
}

/** Undefined: the machine ran on an engine that counts nothing. */
export function formatEngineStatistics(statistics: EngineStatistics | undefined): string {
  if (statistics === undefined) return 'engine statistics: KVM ran the guest; only the wasm engine counts\n';
  const { vcpus, compiler } = statistics;
  const several = vcpus.length > 1;
  const heads = ['engine statistics', ...vcpus.map((_, i) => `vcpu-${i}`), ...(several ? ['total'] : [])];
  const columns = several ? [...vcpus, totalOf(vcpus)] : vcpus;
  const table = [heads, ...ROWS.map(([label, figure]) => [label, ...columns.map(figure)])];
  const widths = heads.map((_, i) => Math.max(...table.map((cells) => cells[i]!.length)));
  const lines = table.map((cells) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
  );
  if (compiler !== undefined) {
    const { compiled, compileMs, loaded, reused } = compiler;
    const found = `${whole(reused)} requests found their code made, ${whole(loaded)} regions came from the translation cache`;
    lines.push(`compiler: ${whole(compiled)} regions compiled in ${whole(compileMs)} ms; ${found}`);
  }
  return `${lines.join('\n')}\n`;
}
