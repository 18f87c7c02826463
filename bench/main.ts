// `npm run bench [-- --turns N] [NAME…]`: Troupe beside QEMU TCG on this machine, in one run. boot: from the start of the process to the
// guest's init, 2 vCPUs, 512 MiB. integer-loop: guest instructions a second in a loop of known length. mailbox: messages between two threads. Installs nothing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultCommandLine } from '#kernel/assets/command-line.js';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import { alternate, median } from './compare/alternation.js';
import { contestants, qemuVersion, type Contestant } from './compare/contestants.js';
import {
  INSTRUCTIONS_PER_ITERATION,
  LOOP_ENDS,
  LOOP_STARTS,
  buildIntegerLoop,
} from './guest/integer-loop.js';
import { timeMarks } from './guest/timed-run.js';
import { benchMailbox } from './micro/mailbox.js';

const BENCHMARKS = ['mailbox', 'integer-loop', 'boot'] as const;
const BOOT_VCPUS = 2;
const BOOT_MEMORY_MIB = 512;
const RUN_TIMEOUT_MS = 300_000;
const PROBE_ITERATIONS = 2_000_000;
const LOOP_TARGET_SECONDS = 2;

interface Row {
  readonly what: string;
  readonly unit: string;
  /** Median of each contestant, in their order. */
  readonly values: readonly number[];
  readonly moreIsBetter: boolean;
}

async function benchBoot(contestants: readonly Contestant[], turns: number): Promise<Row[]> {
  const { kernelPath, initrdPath, version } = await ensureGuestAssets();
  const guest = {
    kernel: kernelPath,
    initrd: initrdPath,
    append: defaultCommandLine({ verbose: true, shell: true }),
    vcpus: BOOT_VCPUS,
    memoryMib: BOOT_MEMORY_MIB,
  };
  const marks = [/Run \/init as init process/, /Linux \S+ on 2 CPUs/];
  const runs = await alternate(contestants, turns, (contestant) =>
    timeMarks(contestant.command(guest), marks, RUN_TIMEOUT_MS),
  );
  const names = [`boot ${version} to init`, "boot to init's first line"];
  return names.map((what, mark) => ({
    what: `${what}, ${BOOT_VCPUS} vCPUs`,
    unit: 's',
    values: contestants.map((c) => median(runs.get(c)!.map((times) => times[mark]! / 1000))),
    moreIsBetter: false,
  }));
}

async function benchInteger(contestants: readonly Contestant[], turns: number): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-bench-'));
  const image = join(directory, 'integer-loop.bin');
  const rate = async (contestant: Contestant, iterations: number): Promise<number> => {
    writeFileSync(image, buildIntegerLoop(iterations));
    const marks = [new RegExp(LOOP_STARTS), new RegExp(LOOP_ENDS)];
    const [start, end] = await timeMarks(
      contestant.command({ kernel: image, append: '', vcpus: 1, memoryMib: 64 }),
      marks,
      RUN_TIMEOUT_MS,
    );
    return iterations / ((end! - start!) / 1000);
  };
  try {
    const lengths = new Map<Contestant, number>();
    for (const contestant of contestants)
      lengths.set(contestant, Math.ceil((await rate(contestant, PROBE_ITERATIONS)) * LOOP_TARGET_SECONDS));
    const runs = await alternate(contestants, turns, async (c) => [await rate(c, lengths.get(c)!)]);
    const millions = (perSecond: number): number => (perSecond * INSTRUCTIONS_PER_ITERATION) / 1e6;
    const values = contestants.map((c) => median(runs.get(c)!.map(([perSecond]) => millions(perSecond!))));
    return [{ what: 'integer loop', unit: 'M instructions/s', values, moreIsBetter: true }];
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function printRows(contestants: readonly Contestant[], rows: readonly Row[]): void {
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

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    options: { turns: { type: 'string', default: '3' } },
    allowPositionals: true,
  });
  const turns = Number(values.turns);
  const unknown = positionals.find((name) => !BENCHMARKS.some((known) => known === name));
  if (!Number.isInteger(turns) || turns < 1 || unknown !== undefined) {
    process.stderr.write(`usage: npm run bench [-- --turns N] [${BENCHMARKS.join('] [')}]\n`);
    return 2;
  }
  const version = qemuVersion();
  if (version === undefined)
    process.stdout.write('QEMU is not installed, so Troupe runs alone: apt-get install qemu-system-x86\n');
  const all = contestants();
  const processors = cpus();
  process.stdout.write(
    `Node ${process.version}, ${version ?? 'no QEMU'}\n${processors.length} × ${processors[0]?.model ?? 'unknown'}, ` +
      `load ${loadavg()[0]!.toFixed(1)}; medians of ${turns} turns in alternation\n`,
  );
  const wanted = (name: (typeof BENCHMARKS)[number]): boolean =>
    positionals.length === 0 || positionals.includes(name);
  const rows: Row[] = [];
  if (wanted('mailbox')) await benchMailbox();
  if (wanted('integer-loop')) rows.push(...(await benchInteger(all, turns)));
  if (wanted('boot')) rows.push(...(await benchBoot(all, turns)));
  if (rows.length > 0) printRows(all, rows);
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
