// The memory model that guests see: litmus shapes, LOCK exclusion and modified code on 2 and 4 vCPUs (kernels/litmus.c).
// No outcome that x86 forbids may be seen, ever. TROUPE_LITMUS_ROUNDS sets the rounds of each shape; `npm test -- guest
// --full` runs 1,000,000 of each.
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildGuestKernel, type GuestKernel } from '../support/guest-kernel.js';
import { runTroupe } from '../support/troupe-run.js';

const FULL = process.env['TROUPE_TEST_FULL'] === '1';
const ROUNDS = Number(process.env['TROUPE_LITMUS_ROUNDS'] ?? (FULL ? 1_000_000 : 10_000));
/** A loaded host gives the CPUs of one guest few moments together. */
const TIMEOUT_MS = 120_000 + ROUNDS * 3;
/** Shapes, ways of exclusion and kinds of modified code; IRIW needs four CPUs. */
const TESTS = { 2: 22, 4: 23 };

let kernel: GuestKernel;

beforeAll(() => {
  kernel = buildGuestKernel('litmus', 64);
});

afterAll(() => {
  if ('directory' in kernel) rmSync(kernel.directory, { recursive: true });
});

const MACHINES = [
  { vcpus: 2, rounds: ROUNDS, how: 'as usual', tier: [] },
  { vcpus: 4, rounds: ROUNDS, how: 'as usual', tier: [] },
  // Everything is compiled, modified code too.
  { vcpus: 2, rounds: Math.ceil(ROUNDS / 20), how: 'all code compiled', tier: ['--tier', 'compiled'] },
  { vcpus: 4, rounds: Math.ceil(ROUNDS / 20), how: 'all code compiled', tier: ['--tier', 'compiled'] },
] as const;

test.for(MACHINES)(
  'no forbidden outcome on $vcpus vCPUs in $rounds rounds, $how',
  { timeout: TIMEOUT_MS + 10_000 },
  async ({ vcpus, rounds, tier }, context) => {
    if ('missing' in kernel) return context.skip(kernel.missing);
    const append = `rounds=${rounds} cpus=${vcpus}`;
    const machine = [...tier, '--memory', '64M', '--smp', String(vcpus), '--debug-exit', '--no-reboot'];
    const args = ['run', ...machine, '--kernel', kernel.path, '--append', append];
    const { code, stdout, stderr } = await runTroupe(args, { timeoutMs: TIMEOUT_MS });
    const report = `${stdout}${stderr}`;
    expect(report).toContain('litmus: done\n');
    const verdicts = [
      ...stdout.matchAll(/^(.+): rounds (\d+) forbidden (\d+)(?: relaxed (\d+) ones (\d+))?$/gm),
    ];
    expect(verdicts, report).toHaveLength(TESTS[vcpus]);
    expect(verdicts.filter(([, , , forbidden]) => forbidden !== '0')).toEqual([]);
    expect(code, report).toBe(1);
    // How often SB showed a store buffer depends on the host: printed, not judged.
    if (FULL) process.stdout.write(stdout);
  },
);
