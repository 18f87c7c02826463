// The rows of the guest benchmark: what each measures, in what unit, what it counts for and what it is meant to reach beside QEMU TCG.

/** Rows of `compute` and `system` have a geometric mean of their own. */
export type RowGroup = 'compute' | 'system' | 'machine' | 'other';

export interface GuestRow {
  readonly name: string;
  readonly what: string;
  readonly group: RowGroup;
  readonly unit: string;
  readonly moreIsBetter: boolean;
  /** Whose figure it is: guest-bench's, or what the host saw of the machine. */
  readonly by: 'guest' | 'host';
  /** It keeps one vCPU busy and the others idle, so that processor time can stand for time. */
  readonly busy: boolean;
  /** Only for `machine` and `other`: at least this ratio to QEMU's speed, or less than this figure. */
  readonly goal?: { readonly ratio: number } | { readonly below: number };
}

export const GROUP_GOALS = {
  compute: { mean: 1.5, row: 1 },
  system: { mean: 1, row: 0.6 },
} as const;

const compute = (name: string, what: string, unit: string, moreIsBetter = true): GuestRow => ({
  name,
  what,
  group: 'compute',
  unit,
  moreIsBetter,
  by: 'guest',
  busy: true,
});
const system = (name: string, what: string, unit: string, busy: boolean): GuestRow => ({
  name,
  what,
  group: 'system',
  unit,
  moreIsBetter: false,
  by: 'guest',
  busy,
});
const machine = (name: string, what: string, unit: string, goal: GuestRow['goal']): GuestRow => ({
  name,
  what,
  group: 'machine',
  unit,
  moreIsBetter: false,
  by: 'host',
  busy: false,
  ...(goal === undefined ? {} : { goal }),
});

export const GUEST_ROWS: readonly GuestRow[] = [
  compute('integer', 'lists, matrices, a state machine, CRC', 'it/s'),
  compute('records', 'records, strings, procedures', 'k/s'),
  compute('sha256', 'SHA-256', 'MB/s'),
  compute('memcpy', 'libc memcpy', 'MB/s'),
  compute('memset', 'libc memset', 'MB/s'),
  compute('rep-movsb', 'rep movsb', 'MB/s'),
  compute('chase', 'pointer chase over 8 MiB', 'ns', false),
  compute('mandelbrot', 'Mandelbrot set, SSE2', 'M it/s'),
  compute('nbody', 'n-body, SSE2', 'k steps/s'),
  compute('matmul', 'matrix multiply, SSE2', 'Mflop/s'),
  compute('script', 'interpreter of a script language', 'runs/s'),
  compute('awk', 'busybox awk', 'turns/s'),
  system('getppid', 'getppid', 'us', true),
  system('fork', 'fork, exit, wait', 'ms', false),
  system('fork-exec', 'fork, exec, exit, wait', 'ms', false),
  system('page-fault', 'page fault', 'us', true),
  system('signal', 'signal and return', 'us', true),
  system('pipe', 'pipe round trip on one vCPU', 'us', false),
  system('pipe-across', 'pipe round trip across vCPUs', 'us', false),
  system('smc', 'call of self-modified code', 'us', true),
  machine('boot', 'boot to init, 2 vCPUs', 's', { ratio: 1 / 1.2 }),
  machine('idle', 'idle guest, % of a core per vCPU', '%', { below: 1 }),
  machine('rss', 'RSS of the idle 512 MiB guest', 'MB', { below: 250 }),
  {
    name: 'scaling',
    what: 'two threads beside one',
    group: 'other',
    unit: 'x',
    moreIsBetter: true,
    by: 'guest',
    busy: false,
    goal: { ratio: 1 },
  },
  {
    name: 'atomics',
    what: 'contended LOCK XADD',
    group: 'other',
    unit: 'M/s',
    moreIsBetter: true,
    by: 'guest',
    busy: false,
  },
  {
    name: 'clock',
    what: 'clock_gettime',
    group: 'other',
    unit: 'us',
    moreIsBetter: false,
    by: 'guest',
    busy: true,
  },
  {
    name: 'nbody-x87',
    what: 'n-body, x87',
    group: 'other',
    unit: 'k steps/s',
    moreIsBetter: true,
    by: 'guest',
    busy: true,
  },
];

/** The rows of these names, in the table's order; all when there are none. Throws RangeError with the name that is unknown. */
export function chooseRows(names: readonly string[]): GuestRow[] {
  const unknown = names.find((name) => !GUEST_ROWS.some((row) => row.name === name));
  if (unknown !== undefined) throw new RangeError(unknown);
  return GUEST_ROWS.filter((row) => names.length === 0 || names.includes(row.name));
}
