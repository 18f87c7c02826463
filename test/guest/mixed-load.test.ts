// A guest of two vCPUs under a mixed load that checks itself against the host (support/mixed-load.ts): every line is what it must
// be, the kernel's log reports no trouble, and no actor was taken for one that hangs. TROUPE_MIXED_SECONDS sets how long (20), TROUPE_MIXED_SEED the first round.
import { expect, test } from 'vitest';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import { launch } from '#kernel/index.js';
import { complaintsOf } from '../support/kernel-log.js';
import { makeRound } from '../support/mixed-load.js';

const SECONDS = Number(process.env['TROUPE_MIXED_SECONDS'] ?? 20);
const SEED = Number(process.env['TROUPE_MIXED_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
/** A round takes a second or two of a whole core. */
const ROUND_TIMEOUT_MS = 120_000;

/** Of a round that does not end. */
const STATE = 'ps -o pid,ppid,stat,args; tail -n +1 /load/out*; cat /proc/interrupts; dmesg | tail -n 20';

test(
  `mixed load for ${SECONDS} s is computed as on the host`,
  { timeout: SECONDS * 1000 + 2 * ROUND_TIMEOUT_MS },
  async (context) => {
    const missing = await ensureGuestAssets().then(
      () => undefined,
      (error: Error) => error.message,
    );
    if (missing !== undefined) return context.skip(missing);
    const vm = await launch({ vcpus: 2, accel: 'wasm' });
    const exits: string[] = [];
    vm.on('actor:exit', ({ actor, message }) => exits.push(`${actor}: ${message}`));
    try {
      const endMs = performance.now() + SECONDS * 1000;
      let rounds = 0;
      for (; rounds === 0 || performance.now() < endMs; rounds++) {
        const { script, stdin, expected } = makeRound(SEED + rounds);
        const said = await vm
          .exec(script, { stdin, timeoutMs: ROUND_TIMEOUT_MS })
          .catch(async (error: unknown) => {
            const { stdout } = await vm.exec(STATE, { timeoutMs: ROUND_TIMEOUT_MS });
            throw new Error(`TROUPE_MIXED_SEED=${SEED + rounds}: ${String(error)}\n${stdout}`);
          });
        const where = `TROUPE_MIXED_SEED=${SEED + rounds}, after ${rounds} rounds`;
        expect({ stdout: said.stdout, exitCode: said.exitCode }, where).toEqual({
          stdout: expected,
          exitCode: 0,
        });
      }
      const { stdout } = await vm.exec('dmesg', { timeoutMs: ROUND_TIMEOUT_MS });
      expect(stdout).toContain('Linux version');
      expect(complaintsOf(stdout)).toEqual([]);
      expect(exits).toEqual([]);
      console.log(`mixed load: ${rounds} rounds from TROUPE_MIXED_SEED=${SEED}`);
    } finally {
      await vm.stop();
    }
  },
);
