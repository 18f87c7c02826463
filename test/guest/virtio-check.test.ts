// virtio-blk, virtio-console and virtio-rng driven by a payload on both engines, while the devices and the vCPU are killed again and
// again: every sector is what was written, every line comes once and in order, and no interrupt is lost.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CONSOLE_NAME } from '#kernel/builder.js';
import { createPrng } from '#shared/base/prng.js';
import { buildGuestKernel, type GuestKernel } from '../support/guest-kernel.js';
import { missingKvm } from '../support/kvm.js';
import { startPayload, type PayloadMachine } from '../support/machine-move.js';
import { expectedDisk, expectedLines, VIRTIO_CHECK_DISK_BYTES } from '../support/virtio-check.js';

const ROUNDS = 100;
const SEED = 20;
const VICTIMS = ['virtio-blk-0', CONSOLE_NAME, 'virtio-rng-0', 'chipset', 'vcpu-0'];

let kernel: GuestKernel;
let directory: string;

beforeAll(() => {
  kernel = buildGuestKernel('virtio-check', 64, 'bare64');
  directory = mkdtempSync(join(tmpdir(), 'troupe-virtio-'));
});

afterAll(() => {
  if ('directory' in kernel) rmSync(kernel.directory, { recursive: true });
  rmSync(directory, { recursive: true });
});

/** Until the guest has ended; the number of kills. The next one waits until the victim's replacement answers: so the guest gets on. */
async function killOften({ machine }: PayloadMachine, ended: () => boolean): Promise<number> {
  const prng = createPrng(SEED);
  let kills = 0;
  while (!ended()) {
    await new Promise((resolve) => setTimeout(resolve, 10 + prng.below(30)));
    if (ended()) break;
    const victim = VICTIMS[prng.below(VICTIMS.length)]!;
    await machine.kill(victim);
    kills++;
    await machine.inspect(victim).catch(() => undefined);
  }
  return kills;
}

for (const accel of ['wasm', 'kvm'] as const) {
  test(`devices work and are replaced under ${accel}`, async (context) => {
    if ('missing' in kernel) return context.skip(kernel.missing);
    const missing = accel === 'kvm' ? missingKvm() : undefined;
    if (missing !== undefined) return context.skip(missing);
    const disk = join(directory, `${accel}.img`);
    writeFileSync(disk, new Uint8Array(VIRTIO_CHECK_DISK_BYTES));
    const payload = await startPayload({
      kernel: kernel.path,
      accel,
      vcpus: 1,
      disks: [{ path: disk }],
      append: `rounds=${ROUNDS}`,
      supervision: { intensity: 100_000 },
    });
    try {
      let ended = false;
      const exit = payload.wait().finally(() => (ended = true));
      const kills = await killOften(payload, () => ended);
      expect(await exit, payload.output()).toEqual({ kind: 'debug-exit', code: 1 });
      console.log(`virtio-check under ${accel}: ${kills} kills in ${ROUNDS} rounds`);
      expect(kills).toBeGreaterThan(5);
      expect(payload.terminal()).toBe(expectedLines(ROUNDS));
      expect(Buffer.compare(readFileSync(disk), expectedDisk(ROUNDS))).toBe(0);
    } finally {
      await payload.close();
    }
  });
}
