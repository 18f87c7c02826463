// Puts the initramfs together: busybox with a symlink for each of its applets, `/init`, and the kernel modules of
// virtio devices and a few file systems with the `modules.dep` that busybox modprobe reads. The archive is not
// compressed: it lies in the host's page cache anyway, and inflating it is work for the guest's processor.

import { createHash } from 'node:crypto';
import { writeCpio, type CpioEntry } from '#shared/boot/cpio.js';
import {
  INIT_SCRIPT,
  LSPCI_SCRIPT,
  powerScript,
  PROFILE_SCRIPT,
  RUN_SCRIPT,
  SERVE_SCRIPT,
} from '#kernel/assets/init.js';
import { readModuleInfo } from '#kernel/assets/modinfo.js';

/** Drivers that `/init` may ask for; what they depend on comes along. Those built into the kernel are skipped. */
export const WANTED_MODULES = [
  'virtio_pci',
  'virtio_console',
  'virtio_blk',
  'virtio_rng',
  'virtio_net',
  'virtio_balloon',
  'virtio_mem',
  'vmw_vsock_virtio_transport',
  'virtiofs',
  'ext4',
  'crc32c_generic',
  'crc32c_intel',
  'vfat',
  'nls_cp437',
  'nls_ascii',
  'isofs',
  'loop',
  'overlay',
] as const;

/** Applets that are wrapped, see {@link powerScript}. */
const POWER_APPLETS = ['poweroff', 'halt', 'reboot'] as const;

/** A kernel module: `path` under `/lib/modules/<release>/`, without a compression suffix, and the ELF object. */
export interface KernelModule {
  path: string;
  image: Uint8Array;
}

export interface InitramfsParts {
  release: string;
  busybox: Uint8Array;
  /** Names from `busybox --list`. */
  applets: readonly string[];
  /** In an order in which each follows those it depends on. */
  modules: readonly KernelModule[];
}

/** The archive's bytes: the same for the same parts. */
export function buildInitramfs(parts: InitramfsParts): Uint8Array {
  return writeCpio([...skeleton(), ...programs(parts), ...moduleTree(parts)]);
}

/** Text of `modules.dep` as modprobe(8) reads it: each line names a module and all it needs, the first needed last. */
export function modulesDep(modules: readonly KernelModule[]): string {
  const infos = modules.map((module) => ({ path: module.path, info: readModuleInfo(module.image) }));
  const byName = new Map(infos.map((entry) => [entry.info.name, entry]));
  const lines = infos.map(({ path, info }) => {
    const needed: string[] = [];
    const visit = (names: readonly string[]): void => {
      for (const name of names) {
        const entry = byName.get(name);
        if (!entry || needed.includes(entry.path)) continue;
        visit(entry.info.depends);
        if (!needed.includes(entry.path)) needed.push(entry.path);
      }
    };
    visit([...info.softDepends, ...info.depends]);
    return `${path}:${needed
      .reverse()
      .map((needs) => ` ${needs}`)
      .join('')}`;
  });
  return lines.map((line) => `${line}\n`).join('');
}

function skeleton(): CpioEntry[] {
  const directories = [
    'bin',
    'dev',
    'etc',
    'lib',
    'mnt',
    'proc',
    'root',
    'run',
    'sbin',
    'sys',
    'tmp',
    'usr',
    'usr/bin',
    'usr/sbin',
    'var',
  ];
  return [
    ...directories.map((path) => directory(path, path === 'tmp' ? 0o1777 : path === 'root' ? 0o700 : 0o755)),
    // the kernel opens /dev/console for PID 1 before PID 1 can mount devtmpfs
    { kind: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { kind: 'character-device', path: 'dev/null', mode: 0o666, major: 1, minor: 3 },
    text('etc/passwd', 'root::0:0:root:/root:/bin/sh\n'),
    text('etc/group', 'root:x:0:\n'),
    text('etc/hosts', '127.0.0.1 localhost troupe\n'),
    text('etc/hostname', 'troupe\n'),
    text('etc/profile', PROFILE_SCRIPT),
    { kind: 'symlink', path: 'etc/mtab', target: '/proc/mounts' },
  ];
}

function programs(parts: InitramfsParts): CpioEntry[] {
  const own = new Set<string>([...POWER_APPLETS, 'lspci', 'busybox', 'sh', 'modprobe', 'init', 'linuxrc']);
  return [
    { kind: 'file', path: 'bin/busybox', mode: 0o755, data: parts.busybox },
    { kind: 'symlink', path: 'bin/sh', target: 'busybox' },
    { kind: 'symlink', path: 'sbin/modprobe', target: '../bin/busybox' }, // where the kernel looks for it
    ...parts.applets
      .filter((applet) => !own.has(applet))
      .map((applet): CpioEntry => ({ kind: 'symlink', path: `bin/${applet}`, target: 'busybox' })),
    ...scripts(),
  ];
}

function scripts(): CpioEntry[] {
  return [
    ...POWER_APPLETS.map((applet) => text(`sbin/${applet}`, powerScript(applet), 0o755)),
    text('bin/lspci', LSPCI_SCRIPT, 0o755),
    text('init', INIT_SCRIPT, 0o755),
    text('sbin/troupe-serve', SERVE_SCRIPT, 0o755),
    text('sbin/troupe-run', RUN_SCRIPT, 0o755),
  ];
}

function moduleTree(parts: InitramfsParts): CpioEntry[] {
  const root = `lib/modules/${parts.release}`;
  const directories = new Set<string>(['lib/modules', root]);
  for (const { path } of parts.modules) {
    const steps = path.split('/').slice(0, -1);
    steps.forEach((_, i) => directories.add(`${root}/${steps.slice(0, i + 1).join('/')}`));
  }
  return [
    ...[...directories].sort().map((path) => directory(path)),
    ...parts.modules.map(({ path, image }): CpioEntry => ({
      kind: 'file',
      path: `${root}/${path}`,
      mode: 0o644,
      data: image,
    })),
    text(`${root}/modules.dep`, modulesDep(parts.modules)),
  ];
}

function directory(path: string, mode = 0o755): CpioEntry {
  return { kind: 'directory', path, mode };
}

function text(path: string, contents: string, mode = 0o644): CpioEntry {
  return { kind: 'file', path, mode, data: new TextEncoder().encode(contents) };
}

/** Changes with whatever of ours goes into an archive besides its parts. */
export function recipeDigest(): string {
  const recipe = JSON.stringify([skeleton(), scripts(), WANTED_MODULES], (_, value: unknown) =>
    value instanceof Uint8Array ? new TextDecoder().decode(value) : value,
  );
  return createHash('sha256').update(recipe).digest('hex').slice(0, 12);
}
