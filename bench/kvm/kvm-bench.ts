// `npm run bench -- kvm`: the KVM engine beside C programs that do the same on the same /dev/kvm, and ways for a doorbell.
import { isKvmError, loadAddon } from '#native/addon.js';
import { KVM_DEVICE, KvmSystem } from '#native/kvm-system.js';
import { withTemporaryDirectory } from '../compare/children.js';
import { benchDoorbells } from './doorbells.js';
import { benchExits } from './exit-rate.js';
import { benchMessages } from './message-latency.js';
import { buildMonitor } from './programs.js';
import { kvmTable } from './report.js';

/** Fewer turns say too little of latencies. */
const LEAST_TURNS = 5;

/** Says so and does nothing where there is no KVM. Throws TroupeError `missing-tool`. */
export async function benchKvm(wantedTurns: number): Promise<void> {
  const missing = missingKvm();
  if (missing !== undefined) {
    process.stdout.write(`\nkvm: left out, since ${missing}\n`);
    return;
  }
  const turns = Math.max(wantedTurns, LEAST_TURNS);
  await withTemporaryDirectory(async (directory) => {
    const monitor = buildMonitor(directory);
    const rows = [
      ...(await benchExits(directory, monitor, turns)),
      ...(await benchMessages(directory, monitor, turns)),
    ];
    process.stdout.write(`\nkvm: medians of ${turns} turns in alternation\n\n${kvmTable(rows)}`);
    await benchDoorbells(directory, turns);
  });
}

function missingKvm(): string | undefined {
  const addon = loadAddon();
  if ('missing' in addon) return addon.missing;
  try {
    KvmSystem.open().close();
    return undefined;
  } catch (error) {
    if (isKvmError(error)) return `${KVM_DEVICE} says ${error.code}: ${error.hint}`;
    throw error;
  }
}
