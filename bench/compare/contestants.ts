// The two that run the same guest: Troupe and QEMU with its translator (TCG), as commands whose serial line is their stdout.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { EngineTier } from '#actors/vcpu/protocol.js';

const TROUPE = fileURLToPath(new URL('../../../bin/troupe.js', import.meta.url));
const QEMU = 'qemu-system-x86_64';

/** One guest to run: the same for both. */
export interface GuestRun {
  readonly kernel: string;
  readonly initrd?: string;
  readonly append: string;
  readonly vcpus: number;
  readonly memoryMib: number;
}

export type Command = readonly [program: string, ...args: string[]];

export interface Contestant {
  readonly name: string;
  command(run: GuestRun): Command;
}

/** Troupe's own engine, also where there is KVM, with a tier of it or with the one that it takes by itself. */
export function troupe(tier?: EngineTier): Contestant {
  return {
    name: tier === undefined ? 'troupe' : `troupe ${tier}`,
    command: (run) => [
      process.execPath,
      TROUPE,
      'run',
      ...['--kernel', run.kernel, '--append', run.append, '--debug-exit', '--no-reboot'],
      ...(run.initrd === undefined ? [] : ['--initrd', run.initrd]),
      ...['--smp', String(run.vcpus), '--memory', `${run.memoryMib}M`, '--accel', 'wasm'],
      ...(tier === undefined ? [] : ['--tier', tier]),
    ],
  };
}

const QEMU_MACHINE = [
  ...['-accel', 'tcg,thread=multi', '-nodefaults', '-display', 'none', '-monitor', 'none'],
  ...['-serial', 'stdio', '-no-reboot', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
];

export const qemu: Contestant = {
  name: 'qemu tcg',
  command: (run) => [
    QEMU,
    ...QEMU_MACHINE,
    ...['-kernel', run.kernel, '-append', run.append],
    ...(run.initrd === undefined ? [] : ['-initrd', run.initrd]),
    ...['-smp', String(run.vcpus), '-m', String(run.memoryMib)],
  ],
};

export function qemuVersion(): string | undefined {
  const run = spawnSync(QEMU, ['--version'], { encoding: 'utf8' });
  return run.status === 0 ? run.stdout.split('\n')[0] : undefined;
}
