// The stock initramfs with a second archive behind it, which the kernel unpacks over the first: the benchmark program, and a PID 1
// that runs it. With the stock /init the same file serves `troupe run --initrd … --exec 'guest-bench NAME'`.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createHash } from 'node:crypto';
import { writeCpio } from '#shared/boot/cpio.js';
import { defaultCommandLine } from '#kernel/assets/command-line.js';
import { PROGRAM_NAME, type GuestProgram } from './program.js';

const INIT_PATH = 'sbin/bench-init';

/** Its lines are those of guest-lines.ts. It loads no drivers, since the machines that are compared differ in devices. */
const INIT_SCRIPT = `#!/bin/sh
echo guest up
export PATH=/bin:/sbin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
idle=0 names= options=
read -r line </proc/cmdline
for word in $line; do
  case $word in
    bench.idle=*) idle=\${word#*=} ;;
    bench.warm-up=*) options="$options --warm-up \${word#*=}" ;;
    bench.measure=*) options="$options --measure \${word#*=}" ;;
    bench.names=*) names=\${word#*=} ;;
  esac
done
if [ $idle -gt 0 ]; then
  echo guest idle
  sleep $idle
fi
[ -n "$names" ] && ${PROGRAM_NAME} $options $(echo $names | tr , ' ')
echo guest done
busybox poweroff -f
`;

/** Path of an initramfs that holds the program besides what the stock one holds. */
export function ensureBenchInitramfs(stockPath: string, program: GuestProgram): string {
  const archive = writeCpio([
    ...['bin', 'sbin'].map((path) => ({ kind: 'directory', path, mode: 0o755 }) as const),
    { kind: 'file', path: `bin/${PROGRAM_NAME}`, mode: 0o755, data: readFileSync(program.path) },
    { kind: 'file', path: INIT_PATH, mode: 0o755, data: new TextEncoder().encode(INIT_SCRIPT) },
  ]);
  const digest = createHash('sha256').update(archive).digest('hex').slice(0, 8);
  const path = join(program.directory, `${digest}-${basename(stockPath)}`);
  if (existsSync(path)) return path;
  const partial = `${path}.partial-${process.pid}`;
  writeFileSync(partial, Buffer.concat([readFileSync(stockPath), archive]));
  renameSync(partial, path);
  return path;
}

export interface GuestWork {
  /** Of guest-bench; may be empty. */
  readonly names: readonly string[];
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** How long the guest shall do nothing before it works. */
  readonly idleSeconds: number;
}

/** The kernel command line that has a guest do this work. */
export function benchCommandLine(work: GuestWork): string {
  const words = [
    `rdinit=/${INIT_PATH}`,
    `bench.warm-up=${work.warmUpMs}`,
    `bench.measure=${work.measureMs}`,
    `bench.idle=${work.idleSeconds}`,
    `bench.names=${work.names.join(',')}`,
  ];
  return `${defaultCommandLine()} ${words.join(' ')}`;
}
