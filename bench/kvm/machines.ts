// Machines of Troupe on KVM as the benchmarks need them: as a command, and in this process.
import { fileURLToPath } from 'node:url';
import { buildMachine, type BuiltMachine } from '#kernel/builder.js';
import { Machine } from '#kernel/machine.js';
import { resolveConfig } from '#kernel/machine-config.js';
import { silentLogger } from '#shared/ipc/log.js';
import type { Command } from '../compare/contestants.js';

const TROUPE = fileURLToPath(new URL('../../../bin/troupe.js', import.meta.url));
const MEMORY = '16M';

/** COM1 is its stdout. */
export function troupeOnKvm(image: string): Command {
  return [process.execPath, TROUPE, 'run', '--kernel', image, '--accel', 'kvm', '--memory', MEMORY];
}

export interface RunningMachine {
  readonly built: BuiltMachine;
  stop(): Promise<void>;
}

export async function startOnKvm(image: string): Promise<RunningMachine> {
  const config = resolveConfig({ kernel: image, accel: 'kvm', memory: MEMORY, console: 'none' });
  const built = await buildMachine(config);
  const machine = new Machine(built, silentLogger);
  await machine.start();
  return { built, stop: async () => machine.stop() };
}
