// The guest benchmark: Troupe, QEMU TCG and, when asked for, this machine itself run the same static program in turns; the first two in a
// guest of the same kernel, initramfs, memory and vCPUs, booted anew each turn.
import { spawnSync } from 'node:child_process';
import { loadavg } from 'node:os';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import type { Command, Contestant } from '../compare/contestants.js';
import { benchCommandLine, ensureBenchInitramfs } from './bench-initramfs.js';
import { IDLE_SECONDS, runGuest, type RunResult } from './guest-run.js';
import { ensureGuestProgram } from './program.js';
import { guestTable, type Comparison } from './report.js';
import type { GuestRow } from './rows.js';

const VCPUS = 2;
const MEMORY_MIB = 512;
/** A guest's clock may differ from the host's by this share; one that is further off was calibrated wrongly at boot. */
const CLOCK_TOLERANCE = 0.02;

export interface GuestBenchOptions {
  readonly turns: number;
  readonly rows: readonly GuestRow[];
  readonly contestants: readonly Contestant[];
  /** Also run the program on this machine itself. */
  readonly native: boolean;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Judge rows that keep one vCPU busy by the processor time that their machine got. */
  readonly byProcessorTime: boolean;
}

interface Column {
  readonly name: string;
  readonly command: Command;
  /** Benchmarks that it is told to run. */
  readonly names: readonly string[];
  readonly results: RunResult[];
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** Where an initramfs with the benchmarks lies, built if need be. */
export async function benchInitramfs(): Promise<{ kernel: string; initrd: string; program: string }> {
  const assets = await ensureGuestAssets({ onProgress: ({ message }) => say(`troupe: ${message}`) });
  const program = ensureGuestProgram();
  const initrd = ensureBenchInitramfs(assets.initrdPath, program);
  return { kernel: assets.kernelPath, initrd, program: program.path };
}

/** Prints the table; returns the exit code: 1 when a result was wrong or missing. */
export async function benchGuest(options: GuestBenchOptions): Promise<number> {
  const columns = await makeColumns(options);
  for (let turn = 1; turn <= options.turns; turn++) {
    for (const column of columns) {
      const where = `${column.name} ${turn}/${options.turns}`;
      const onProgress = (text: string): void => say(`${where}: ${text}`);
      const { command, names } = column;
      column.results.push(await runGuest({ command, names, vcpus: VCPUS, onProgress }));
    }
  }
  printTable(options, columns);
  return printDoubts(columns) ? 1 : 0;
}

async function makeColumns(options: GuestBenchOptions): Promise<Column[]> {
  const { kernel, initrd, program } = await benchInitramfs();
  const { warmUpMs, measureMs, rows } = options;
  const names = rows.filter(({ by }) => by === 'guest').map(({ name }) => name);
  const idleSeconds = rows.some(({ name }) => name === 'idle' || name === 'rss') ? IDLE_SECONDS : 0;
  const append = benchCommandLine({ names, warmUpMs, measureMs, idleSeconds });
  const run = { kernel, initrd, append, vcpus: VCPUS, memoryMib: MEMORY_MIB };
  const columns: Column[] = options.contestants.map((contestant) => ({
    name: contestant.name,
    command: contestant.command(run),
    names,
    results: [],
  }));
  if (options.native) columns.push(nativeColumn(program, names, options));
  return columns;
}

function nativeColumn(program: string, names: readonly string[], options: GuestBenchOptions): Column {
  const hasBusybox = spawnSync('busybox').error === undefined;
  if (!hasBusybox && names.includes('awk')) say('native awk is left out: apt-get install busybox-static');
  const runnable = names.filter((name) => hasBusybox || name !== 'awk');
  const times = ['--warm-up', String(options.warmUpMs), '--measure', String(options.measureMs)];
  return { name: 'native', command: [program, ...times, ...runnable], names: runnable, results: [] };
}

function printTable(options: GuestBenchOptions, columns: readonly Column[]): void {
  const measured = options.rows.map((row) => ({
    row,
    values: columns.map(({ results }) =>
      results.map((run) => valueOf(row, run, options)).filter((value) => value !== undefined),
    ),
  }));
  const names = columns.map(({ name }) => name);
  const lines = guestTable(names, measured, comparisonOf(names));
  process.stdout.write(`\n${lines.join('\n')}\n\n`);
  process.stdout.write(`host load ${loadavg()[0]!.toFixed(1)} at the end\n`);
  const computing = options.rows.filter(({ group }) => group === 'compute').map(({ name }) => name);
  for (const column of columns) process.stdout.write(`${column.name}: ${runText(column, computing)}\n`);
}

/** A machine that was kept from the processor would have been so much faster without. */
function valueOf(row: GuestRow, run: RunResult, options: GuestBenchOptions): number | undefined {
  if (row.by === 'guest' && isClockOff(run)) return undefined;
  const value = run.values.get(row.name);
  const cores = Math.min(run.cores.get(row.name) ?? 1, 1);
  if (value === undefined || !row.busy || !options.byProcessorTime) return value;
  return row.moreIsBetter ? value / cores : value * cores;
}

function isClockOff({ clockRatio }: RunResult): boolean {
  return clockRatio !== undefined && Math.abs(clockRatio - 1) > CLOCK_TOLERANCE;
}

/** Troupe's name may carry a tier. */
function comparisonOf(names: readonly string[]): Comparison | undefined {
  const troupe = names.findIndex((name) => name.startsWith('troupe'));
  const qemu = names.findIndex((name) => name.startsWith('qemu'));
  return troupe < 0 || qemu < 0 ? undefined : { troupe, qemu };
}

/** How the turns of one column went: by their clocks, and by the processor time that compute rows got. */
function runText({ results }: Column, computing: readonly string[]): string {
  const clocks = results.map(({ clockRatio }) => clockRatio?.toFixed(3) ?? 'not compared');
  const clockText = `guest clock by the host's ${clocks.join(' ')}`;
  const cores = results.map((run) =>
    computing.map((name) => run.cores.get(name)).filter((used) => used !== undefined),
  );
  if (cores.some((turn) => turn.length === 0)) return clockText;
  const lowest = cores.map((turn) => Math.min(...turn).toFixed(2));
  return `${clockText}; least share of a core that a compute row got ${lowest.join(' ')}`;
}

/** On stderr: what makes figures worthless. Returns whether there is any. */
function printDoubts(columns: readonly Column[]): boolean {
  const doubts = columns.flatMap(({ name, results }) =>
    results.flatMap((run, turn) => {
      const { failures, clockRatio } = run;
      const speed = clockRatio?.toFixed(3);
      const clock = isClockOff(run)
        ? [`the guest's clock ran at ${speed} of the host's, so its figures do not count`]
        : [];
      return [...failures, ...clock].map((what) => `${name}, turn ${turn + 1}: ${what}`);
    }),
  );
  if (doubts.length > 0) say(`\nFAILED\n${doubts.join('\n')}`);
  return doubts.length > 0;
}
