// How long a machine takes to boot: from the start of its process to the stock kernel's `Run /init` and to the first line of its init.
import { defaultCommandLine } from '#kernel/assets/command-line.js';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import { alternate, median } from '../compare/alternation.js';
import type { Contestant } from '../compare/contestants.js';
import type { Row } from '../compare/table.js';
import { RUN_TIMEOUT_MS, timeMarks } from './timed-run.js';

const VCPUS = 2;
const MEMORY_MIB = 512;

export async function benchBoot(contestants: readonly Contestant[], turns: number): Promise<Row[]> {
  const { kernelPath, initrdPath, version } = await ensureGuestAssets();
  const guest = {
    kernel: kernelPath,
    initrd: initrdPath,
    append: defaultCommandLine({ verbose: true, shell: true }),
    vcpus: VCPUS,
    memoryMib: MEMORY_MIB,
  };
  const marks = [/Run \/init as init process/, /Linux \S+ on 2 CPUs/];
  const runs = await alternate(contestants, turns, (contestant) =>
    timeMarks(contestant.command(guest), marks, RUN_TIMEOUT_MS),
  );
  const names = [`boot ${version} to init`, "boot to init's first line"];
  return names.map((what, mark) => ({
    what: `${what}, ${VCPUS} vCPUs`,
    unit: 's',
    values: contestants.map((c) => median(runs.get(c)!.map((times) => times[mark]! / 1000))),
    moreIsBetter: false,
  }));
}
