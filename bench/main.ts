// `npm run bench [-- NAME…]`: measures Troupe and, where QEMU is installed, QEMU TCG beside it, in one run on one machine.
// Figures of a machine that does something else at the same time mean little: the load is printed first.
import { loadavg, cpus } from 'node:os';
import { benchBoot } from './guest/boot.js';
import { benchIntegerLoop } from './guest/integer-loop.js';
import { benchMailbox } from './micro/mailbox.js';
import { qemuVersion } from './compare/contestants.js';

const BENCHES: Readonly<Record<string, () => Promise<void>>> = {
  mailbox: benchMailbox,
  'integer-loop': benchIntegerLoop,
  boot: benchBoot,
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  process.stderr.write(
    `bench: no benchmark ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}\n`,
  );
  process.exitCode = 2;
} else {
  const load = loadavg()[0]!.toFixed(1);
  const qemu = qemuVersion() ?? 'QEMU is not installed';
  process.stdout.write(`node ${process.version}, ${cpus().length} CPUs, load ${load}, ${qemu}\n`);
  for (const [name, bench] of Object.entries(BENCHES)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    process.stdout.write(`\n${name}\n`);
    await bench();
  }
}
