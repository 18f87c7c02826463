// The arguments of `npm run bench`. Every refusal is a TroupeError `bad-flag`.
import { parseArgs } from 'node:util';
import { ENGINE_TIERS, type EngineTier } from '#actors/vcpu/protocol.js';
import { TroupeError } from '#shared/base/error.js';
import { GUEST_ROWS, chooseRows, type GuestRow } from './guest/rows.js';

export const BENCHMARKS = ['mailbox', 'recovery', 'kvm', 'integer-loop', 'boot', 'guest'] as const;
export type Benchmark = (typeof BENCHMARKS)[number];
const SOLOISTS = ['troupe', 'qemu'] as const;

export interface BenchOptions {
  readonly benchmarks: readonly Benchmark[];
  readonly turns: number;
  readonly rows: readonly GuestRow[];
  readonly tier: EngineTier | undefined;
  readonly solo: (typeof SOLOISTS)[number] | undefined;
  readonly native: boolean;
  readonly warmUpMs: number;
  readonly measureMs: number;
  readonly byProcessorTime: boolean;
  readonly printInitrd: boolean;
  readonly help: boolean;
}

const OPTIONS = {
  turns: { type: 'string', default: '3' },
  only: { type: 'string', default: '' },
  tier: { type: 'string' },
  solo: { type: 'string' },
  native: { type: 'boolean', default: false },
  'warm-up': { type: 'string', default: '500' },
  measure: { type: 'string', default: '1000' },
  'processor-time': { type: 'boolean', default: false },
  'print-initrd': { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

export const BENCH_HELP = `usage: npm run bench [-- [${BENCHMARKS.join('] [')}] [options]]

Runs all benchmarks or those that are named, Troupe and QEMU TCG in alternation.

  --turns N          how often each runs; the tables show medians (default 3)
  --tier TIER        of Troupe's engine: ${ENGINE_TIERS.join(', ')} (default: what troupe run takes)
  --solo NAME        only one of them: ${SOLOISTS.join(', ')}
of guest:
  --only NAME,…      only these rows: ${GUEST_ROWS.map(({ name }) => name).join(' ')}
  --native           also on this machine itself, without a guest
  --measure MS       how long a row is measured (default 1000)
  --warm-up MS       how long it runs before (default 500)
  --processor-time   rows that keep one vCPU busy by the processor time that the machine's process got, for a host that has
                     other work; figures of an idle host need it not
  --print-initrd     print the path of an initramfs that holds guest-bench, and end
`;

function badFlag(message: string, hint: string): TroupeError {
  return new TroupeError('bad-flag', message, hint);
}

function oneOf<T extends string>(what: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((name) => name === value);
  if (found === undefined) throw badFlag(`${what} ${value} is not known`, `use one of ${allowed.join(', ')}`);
  return found;
}

function count(flag: string, text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1) throw badFlag(`${flag} ${text} is not a number over 0`, 'see --help');
  return value;
}

function rowsOf(text: string): GuestRow[] {
  try {
    return chooseRows(text.split(',').filter((name) => name !== ''));
  } catch (cause) {
    const names = GUEST_ROWS.map(({ name }) => name).join(', ');
    throw badFlag(`--only ${(cause as Error).message} is not a row`, `use some of ${names}`);
  }
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new TroupeError('bad-flag', text.split(/\. |\n/)[0]!, 'see npm run bench -- --help', { cause });
  }
}

/** Throws TroupeError `bad-flag`. */
export function parseBenchOptions(argv: readonly string[]): BenchOptions {
  const { values, positionals } = parse(argv);
  const named = positionals.map((name) => oneOf('benchmark', name, BENCHMARKS));
  return {
    benchmarks: named.length === 0 ? BENCHMARKS : named,
    turns: count('--turns', values.turns),
    rows: rowsOf(values.only),
    tier: values.tier === undefined ? undefined : oneOf('--tier', values.tier, ENGINE_TIERS),
    solo: values.solo === undefined ? undefined : oneOf('--solo', values.solo, SOLOISTS),
    native: values.native,
    warmUpMs: count('--warm-up', values['warm-up']),
    measureMs: count('--measure', values.measure),
    byProcessorTime: values['processor-time'],
    printInitrd: values['print-initrd'],
    help: values.help,
  };
}
