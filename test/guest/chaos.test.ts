// A bounded share of what `npm run chaos:nightly` does: guests with the self-checking workload under faults of every restartable
// kind, drawn by a seed that is printed. And that the workload itself finds what it looks for: a disk that lies.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import { chaos } from '#kernel/chaos/chaos.js';
import { runNightly } from '#kernel/chaos/nightly.js';
import { Session } from '#kernel/session.js';
import { TroupeError } from '#shared/base/error.js';

const NIGHTLY = fileURLToPath(new URL('../../scripts/chaos-nightly.mjs', import.meta.url));
const TROUPE = fileURLToPath(new URL('../../bin/troupe.js', import.meta.url));
const SEED = Number(process.env['TROUPE_CHAOS_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
/** Of the share of the matrix. */
const SHARE_MS = 60_000;

const PLAN = `
duration: 10s
heartbeat: 200ms
faults:
  - 'virtio-blk-0: crash at used.written every 200'
  - 'virtio-blk-0: throw at request.executed 0.2%'
  - 'virtio-blk-0: hang at inflight.set after 500'
  - 'virtio-console: crash at output.posted every 300'
  - 'virtio-rng: oom every 6s'
  - 'chipset: crash every 2s'
  - 'vcpu-0: crash every 4s'
  - 'vcpu-1: hang at 3s'
  - '*: corrupt 0.5%'
  - '*: duplicate 0.5%'
  - '*: drop 0.5%'
`;

let folder: string;
let missing: string | undefined;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-chaos-test-'));
  try {
    await ensureGuestAssets();
  } catch (error) {
    if (!(error instanceof TroupeError)) throw error;
    missing = error.message;
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('chaos', () => {
  it.for([
    ['troupe chaos', [TROUPE, 'chaos', '--plan', 'endless.yaml']],
    ['npm run chaos:nightly', [NIGHTLY, '--kinds', 'uart']],
  ] as const)(
    '%s ends on Ctrl-C with 130 and leaves nothing behind but what it reported',
    async ([name, args], { skip }) => {
      if (missing !== undefined) skip(missing);
      writeFileSync(
        join(folder, 'endless.yaml'),
        "duration: 10m\nfaults:\n  - 'virtio-rng: crash every 1s'\n",
      );
      const place = mkdtempSync(join(folder, 'tmp-'));
      const child = spawn(process.execPath, [...args, '--report', 'endless'], {
        ...{ cwd: folder, stdio: 'ignore' },
        env: { ...process.env, TMPDIR: place },
      });
      const isBooting = (): boolean => readdirSync(place).some((entry) => entry.startsWith('troupe-chaos-'));
      await vi.waitUntil(isBooting, { timeout: 60_000, interval: 100 });
      await delay(3000); // somewhere in its boot
      child.kill('SIGINT');
      expect(await once(child, 'exit'), name).toEqual([130, null]);
      expect(readdirSync(place)).toEqual([]);
    },
  );

  it('refuses a fault of nobody before its guest has booted', async ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const planPath = join(folder, 'nobody.yaml');
    writeFileSync(planPath, "duration: 10s\nfaults:\n  - 'virtio-blk-7: crash every 1s'\n");
    const exec = vi.spyOn(Session.prototype, 'exec');
    try {
      const run = chaos({ planPath, reportFolder: join(folder, 'nobody') });
      await expect(run).rejects.toThrow('there is no actor virtio-blk-7');
      expect(exec).not.toHaveBeenCalled();
    } finally {
      exec.mockRestore();
    }
  });

  it('a guest checks itself under faults of every restartable actor, and the report tells', async ({
    skip,
  }) => {
    if (missing !== undefined) skip(missing);
    console.log(`chaos: TROUPE_CHAOS_SEED=${SEED}`);
    const planPath = join(folder, 'plan.yaml');
    writeFileSync(planPath, PLAN);
    const reportFolder = join(folder, 'report');
    const { summary, runs } = await chaos({ planPath, seed: SEED, reportFolder });
    expect(runs.map((run) => run.failures)).toEqual([[]]);
    const { lines, writes, flushes } = runs[0]!.counts;
    console.log(
      `chaos: ${summary.faults} faults, ${summary.restarts} recoveries, ${summary.messagesMended} messages made good; ` +
        `${writes} writes, ${flushes} flushes, ${lines} lines`,
    );
    for (const what of ['vcpu-0 crash', 'vcpu-1 hang', 'chipset crash', 'virtio-rng-0 oom'])
      expect(summary.faultsBy[what], what).toBeGreaterThan(0);
    expect(summary.restarts).toBeGreaterThanOrEqual(summary.exits - 2); // the last may be under way
    const junit = readFileSync(join(reportFolder, 'junit.xml'), 'utf8');
    expect(junit).toMatch(/<testsuite name="troupe chaos" tests="1" failures="0"/);
    expect(readFileSync(join(reportFolder, 'index.html'), 'utf8')).toContain(`seed ${SEED}`);
    expect(JSON.parse(readFileSync(join(reportFolder, 'report.json'), 'utf8'))).toMatchObject({
      summary: { passed: 1 },
    });
  });

  it('a share of the kill matrix leaves no guest an error', async ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const result = await runNightly({
      seed: SEED,
      withinMs: SHARE_MS,
      strikes: 10,
      faults: 1000,
      seconds: 10,
      reportFolder: join(folder, 'matrix'),
      say: (line) => console.log(`chaos: ${line}`),
    });
    expect(result.failures).toEqual([]);
    expect(result.faults).toBeGreaterThan(0);
  });
});
