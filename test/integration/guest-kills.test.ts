// A real guest while its devices are killed 50 times each at random moments: a disk is copied to another and summed, random
// numbers are drawn, and the console is flooded. The guest sees no I/O error, the sums match, nothing printed is lost
// or doubled. TROUPE_SEED replays other moments; the full run copies 256 MB, the bounded one 32 MB.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { launch, type Vm } from '#kernel/index.js';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import { createPrng } from '#shared/base/prng.js';
import { TroupeError } from '#shared/base/error.js';

const SEED = Number(process.env['TROUPE_SEED'] ?? 1);
const FULL = process.env['TROUPE_TEST_FULL'] === '1';
const DISK_MB = FULL ? 256 : 32;
const KILLS = 50;
const TIMEOUT_MS = FULL ? 1_200_000 : 280_000;
const VICTIMS = ['virtio-blk-0', 'virtio-blk-1', 'virtio-console-0', 'virtio-rng-0'];

/** Work goes on until the file appears that says that the kills are over. */
const COMMAND = [
  'stop() { [ "$(dd if=/dev/vdc bs=4 count=1 iflag=direct 2>/dev/null)" = stop ]; }',
  '(while ! stop; do dd if=/dev/hwrng of=/dev/null bs=512 count=16 2>/dev/null || echo rng failed >&2; done) &',
  '(while ! stop; do dd if=/dev/vda of=/dev/vdb bs=1M conv=fsync 2>/dev/null || echo copy failed >&2; done',
  ' dd if=/dev/vda of=/dev/vdb bs=1M conv=fsync 2>/dev/null; echo 3 >/proc/sys/vm/drop_caches',
  ' sha256sum /dev/vdb >&2) & copy=$!',
  'n=1; while kill -0 $copy 2>/dev/null; do seq $n $((n + 499)); n=$((n + 500)); done',
  'wait; dmesg | grep -iE "i/o error|blk_update_request|hung|lockup|stall" >&2; exit 0',
].join('\n');

let vm: Vm | undefined;
let folder: string | undefined;
afterEach(async () => {
  await vm?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

it(
  `a guest goes on while its devices are killed ${KILLS} times each, seed ${SEED}`,
  { timeout: TIMEOUT_MS + 60_000 },
  async (context) => {
    try {
      await ensureGuestAssets({});
    } catch (error) {
      if (error instanceof TroupeError) return context.skip(error.message);
      throw error;
    }
    const prng = createPrng(SEED);
    folder = mkdtempSync(join(tmpdir(), 'troupe-guest-kills-'));
    const [source, copy, flag] = ['source.img', 'copy.img', 'flag.img'].map((name) => join(folder!, name));
    const content = new Uint8Array(DISK_MB * 2 ** 20);
    prng.fill(content);
    writeFileSync(source!, content);
    writeFileSync(copy!, new Uint8Array(content.length));
    writeFileSync(flag!, new Uint8Array(4096));
    const sum = createHash('sha256').update(content).digest('hex');
    vm = await launch({
      disks: [{ path: source!, readonly: true }, { path: copy! }, { path: flag!, readonly: true }],
      supervision: { intensity: 1000 },
      logLevel: 'error',
    });
    const running = vm.exec(COMMAND, { timeoutMs: TIMEOUT_MS });
    const kills = VICTIMS.flatMap((victim) => Array.from({ length: KILLS }, () => victim));
    while (kills.length > 0) {
      await new Promise((resolve) => setTimeout(resolve, prng.float() * 150));
      await vm.kill(kills.splice(prng.below(kills.length), 1)[0]!);
    }
    const generations = (await vm.actors()).filter((a) => VICTIMS.includes(a.name)).map((a) => a.generation);
    writeFileSync(flag!, 'stop');
    const { exitCode, stdout, stderr } = await running;
    expect(stderr).toBe(`${sum}  /dev/vdb\n`);
    expect(exitCode).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(
      lines.findIndex((line, i) => line !== String(i + 1)),
      'first wrong line',
    ).toBe(-1);
    expect(lines.length).toBeGreaterThan(500);
    expect(generations).toEqual(VICTIMS.map(() => KILLS + 1));
    await vm.stop();
    expect(Buffer.compare(readFileSync(copy!), content)).toBe(0);
  },
);
