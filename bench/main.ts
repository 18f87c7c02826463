// `npm run bench [-- NAME… OPTIONS]`: Troupe beside QEMU TCG and C programs on this machine, in one run. options.ts says what there is. Installs nothing.
import { cpus, loadavg } from 'node:os';
import { TroupeError } from '#shared/base/error.js';
import { cleanUpOnSignals } from './compare/children.js';
import { qemu, qemuVersion, troupe, type Contestant } from './compare/contestants.js';
import { printRows, type Row } from './compare/table.js';
import { benchBoot } from './guest/boot-time.js';
import { benchGuest, benchInitramfs } from './guest/guest-bench.js';
import { benchInteger } from './guest/integer-rate.js';
import { benchKvm } from './kvm/kvm-bench.js';
import { benchMailbox } from './micro/mailbox.js';
import { benchRecovery } from './recovery/disk-kills.js';
import { BENCH_HELP, parseBenchOptions, type BenchOptions } from './options.js';

const QEMU_HINT = 'apt-get install qemu-system-x86';

function contestantsOf({ solo, tier }: BenchOptions, version: string | undefined): Contestant[] {
  if (solo === 'troupe') return [troupe(tier)];
  if (version === undefined) {
    if (solo === 'qemu') throw new TroupeError('missing-tool', 'QEMU is not installed', QEMU_HINT);
    process.stdout.write(`QEMU is not installed, so Troupe runs alone: ${QEMU_HINT}\n`);
    return [troupe(tier)];
  }
  return solo === 'qemu' ? [qemu] : [troupe(tier), qemu];
}

function printMachine(turns: number, version: string | undefined): void {
  const processors = cpus();
  process.stdout.write(
    `Node ${process.version}, ${version ?? 'no QEMU'}\n${processors.length} × ${processors[0]?.model ?? 'unknown'}, ` +
      `load ${loadavg()[0]!.toFixed(1)}; medians of ${turns} turns in alternation\n`,
  );
}

async function runBenchmarks(options: BenchOptions): Promise<number> {
  const { benchmarks, turns } = options;
  const version = qemuVersion();
  const contestants = contestantsOf(options, version);
  printMachine(turns, version);
  const rows: Row[] = [];
  if (benchmarks.includes('mailbox')) await benchMailbox();
  if (benchmarks.includes('recovery')) await benchRecovery(turns);
  if (benchmarks.includes('kvm')) await benchKvm(turns);
  if (benchmarks.includes('integer-loop')) rows.push(...(await benchInteger(contestants, turns)));
  if (benchmarks.includes('boot')) rows.push(...(await benchBoot(contestants, turns)));
  if (rows.length > 0) printRows(contestants, rows);
  return benchmarks.includes('guest') ? benchGuest({ ...options, contestants }) : 0;
}

async function main(argv: readonly string[]): Promise<number> {
  const options = parseBenchOptions(argv);
  if (options.help) process.stdout.write(BENCH_HELP);
  else if (options.printInitrd) process.stdout.write(`${(await benchInitramfs()).initrd}\n`);
  else return runBenchmarks(options);
  return 0;
}

cleanUpOnSignals();
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof TroupeError)) throw error;
  process.stderr.write(`troupe: ${error.message}\n${error.hint === undefined ? '' : `  ${error.hint}\n`}`);
  process.exitCode = 2;
}
