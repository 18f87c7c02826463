// Stock Debian kernels boot to a shell, bring every CPU up and say nothing of trouble. A boot of each kernel with 1, 2 and
// 4 vCPUs; TROUPE_BOOTS=N boots N times, through the combinations in turn (`npm test -- guest --full`: 20 times).
import { expect, test } from 'vitest';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import { TroupeError } from '#shared/base/error.js';
import { complaintsOf } from '../support/kernel-log.js';
import { runTroupe } from '../support/troupe-run.js';

const KERNELS = ['6.1', '6.12'] as const;
const COMBINATIONS = [2, 1, 4].flatMap((vcpus) => KERNELS.map((kernel) => ({ kernel, vcpus })));
const BOOTS = bootCount();
const BOOT_TIMEOUT_MS = 120_000;

/** Prints each answer behind its name; the log comes last. */
const QUESTIONS = [
  'echo "nproc=$(nproc)"',
  'echo "online=$(cat /sys/devices/system/cpu/online)"',
  'echo "clocksource=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"',
  'echo "release=$(uname -r)"',
  'echo log:',
  'dmesg',
].join('; ');

function bootCount(): number {
  const wanted = process.env['TROUPE_BOOTS'];
  if (wanted !== undefined) return Number(wanted);
  return process.env['TROUPE_TEST_FULL'] === '1' ? 20 : COMBINATIONS.length;
}

async function releaseOf(
  kernel: (typeof KERNELS)[number],
): Promise<{ release: string } | { missing: string }> {
  try {
    return { release: (await ensureGuestAssets({ kernel })).version };
  } catch (error) {
    if (error instanceof TroupeError) return { missing: error.message };
    throw error;
  }
}

const cases = Array.from({ length: BOOTS }, (_, index) => ({
  boot: index + 1,
  ...COMBINATIONS[index % COMBINATIONS.length]!,
}));

test.for(cases)(
  'boot $boot: Debian $kernel on $vcpus vCPUs',
  { timeout: BOOT_TIMEOUT_MS + 60_000 },
  async ({ kernel, vcpus }, context) => {
    const stock = await releaseOf(kernel);
    if ('missing' in stock) return context.skip(stock.missing);
    const run = await runTroupe(
      ['run', '--guest-kernel', kernel, '--smp', String(vcpus), '--verbose', '--exec', QUESTIONS],
      { timeoutMs: BOOT_TIMEOUT_MS },
    );
    const report = `stdout:\n${run.stdout.slice(-4000)}\nstderr:\n${run.stderr.slice(-4000)}`;
    expect(run.code, report).toBe(0);
    expect(run.stdout).toContain(`nproc=${vcpus}\n`);
    expect(run.stdout).toContain(`online=${vcpus === 1 ? '0' : `0-${vcpus - 1}`}\n`);
    expect(run.stdout).toMatch(/clocksource=(tsc|kvm-clock)\n/);
    expect(run.stdout).toContain(`release=${stock.release}\n`);
    const log = run.stdout.slice(run.stdout.indexOf('log:\n'));
    expect(log).toContain(`Linux version ${stock.release}`);
    expect(complaintsOf(log)).toEqual([]);
    expect(complaintsOf(run.stderr), 'the serial line').toEqual([]);
  },
);
