// Builds the C virtual machine monitor and the guests of the KVM benchmarks (programs/) with the host's gcc.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TroupeError } from '#shared/base/error.js';

const ROOT = new URL(import.meta.url.endsWith('.ts') ? '../../' : '../../../', import.meta.url);
const SOURCES = fileURLToPath(new URL('bench/kvm/programs', ROOT));
const MONITOR_FLAGS = '-std=gnu17 -O2 -Wall -Wextra -Werror -pthread'.split(' ');
const GUEST_FLAGS =
  '-m64 -nostdlib -static -Wl,-e,start -Wl,-Ttext=0x100000 -Wl,--build-id=none -Wl,-N -Wl,--no-warn-rwx-segments'.split(
    ' ',
  );
const INSTALL_HINT = 'apt-get install gcc libc6-dev binutils';

/** Guest-physical addresses that guest.S names; the words behind them are u32. */
export const HANDLED = 0x18_0000;
export const READY = 0x18_0004;
export const DOORBELL = 0xd000_0000;
export const VECTOR = 0x50;
/** Where the flat image lies and where in it its entry stands. */
export const LOAD_ADDRESS = 0x10_0000;
export const ENTRY_OFFSET = 28;

export type GuestLoop = 'out' | 'mmio-write' | 'mmio-read' | 'msi' | 'ring' | 'cycle';

/** Throws TroupeError `missing-tool`, or `bad-config` with what the tool says. */
function runTool(tool: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(tool, args, { encoding: 'utf8' });
  if (error !== undefined) throw new TroupeError('missing-tool', `${tool} is needed`, INSTALL_HINT);
  if (status !== 0) throw new TroupeError('bad-config', `${tool} failed:\n${stderr.trimEnd()}`, INSTALL_HINT);
}

/** The path of the C monitor, below `directory`. */
export function buildMonitor(directory: string): string {
  const path = join(directory, 'vmm');
  runTool('gcc', [...MONITOR_FLAGS, '-o', path, join(SOURCES, 'vmm.c')]);
  return path;
}

/** The path of a flat multiboot1 image that goes `turns` times round its loop. */
export function buildGuest(directory: string, loop: GuestLoop, turns: number): string {
  const path = join(directory, `${loop}.bin`);
  const define = `-DROW_${loop.toUpperCase().replace('-', '_')}`;
  runTool('gcc', [...GUEST_FLAGS, define, `-DTURNS=${turns}`, '-o', `${path}.elf`, join(SOURCES, 'guest.S')]);
  runTool('objcopy', ['-O', 'binary', `${path}.elf`, path]);
  return path;
}
