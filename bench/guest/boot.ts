// From the start of the process until the stock kernel runs /init: 2 vCPUs, 512 MB. The same kernel, initramfs and command
// line for both contestants. Goal: 20 s or less on a 2-core machine.
import { defaultCommandLine } from '#kernel/assets/command-line.js';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import { contestants, median, timeUntil } from '../compare/contestants.js';

const ROUNDS = 3;
const RUN_INIT = /Run \/init as init process/;

export async function benchBoot(): Promise<void> {
  const { kernelPath, initrdPath, version } = await ensureGuestAssets({});
  const run = {
    kernel: kernelPath,
    initrd: initrdPath,
    append: defaultCommandLine({ verbose: true }),
    vcpus: 2,
    memoryMib: 512,
  };
  for (const contestant of contestants()) {
    const times: number[] = [];
    for (let i = 0; i < ROUNDS; i++) times.push(await timeUntil(contestant.command(run), RUN_INIT));
    const all = times.map((ms) => (ms / 1000).toFixed(2)).join(', ');
    const seconds = (median(times) / 1000).toFixed(2);
    process.stdout.write(
      `  ${contestant.name.padEnd(10)} ${seconds.padStart(8)} s to /init of ${version} (${all})\n`,
    );
  }
}
