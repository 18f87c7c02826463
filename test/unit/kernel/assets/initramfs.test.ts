import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { tmpdir } from 'node:os';
import { afterAll, describe, expect, it } from 'vitest';
import { readAppletNames } from '#kernel/assets/busybox.js';
import { buildInitramfs, modulesDep } from '#kernel/assets/initramfs.js';
import { collectModules } from '#kernel/assets/kernel-modules.js';
import { readModuleInfo } from '#kernel/assets/modinfo.js';

/** An ELF64 object with nothing but section names and `.modinfo`. */
function moduleImage(strings: readonly string[]): Uint8Array {
  const names = Buffer.from('\0.shstrtab\0.modinfo\0');
  const modinfo = Buffer.from(strings.map((text) => `${text}\0`).join(''));
  const image = Buffer.alloc(64 + names.length + modinfo.length + 3 * 64);
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(image);
  const sections = 64 + names.length + modinfo.length;
  image.writeBigUInt64LE(BigInt(sections), 0x28);
  image.writeUInt16LE(3, 0x3c);
  image.writeUInt16LE(1, 0x3e);
  names.copy(image, 64);
  modinfo.copy(image, 64 + names.length);
  const section = (index: number, name: number, offset: number, size: number): void => {
    image.writeUInt32LE(name, sections + index * 64);
    image.writeBigUInt64LE(BigInt(offset), sections + index * 64 + 0x18);
    image.writeBigUInt64LE(BigInt(size), sections + index * 64 + 0x20);
  };
  section(1, 1, 64, names.length);
  section(2, 11, 64 + names.length, modinfo.length);
  return image;
}

const module = (name: string, depends: string, ...more: string[]) =>
  moduleImage(['license=GPL', `depends=${depends}`, ...more, `name=${name}`]);

const FILES: Record<string, Uint8Array> = {
  'kernel/virtio/virtio_ring.ko': module('virtio_ring', ''),
  'kernel/virtio/virtio.ko': module('virtio', 'virtio_ring'),
  'kernel/virtio/virtio_pci.ko': module('virtio_pci', 'virtio,virtio_ring'),
  'kernel/char/virtio-rng.ko': module('virtio_rng', 'virtio', 'softdep=pre: entropy-source post: late'),
  'kernel/char/entropy-source.ko': module('entropy_source', ''),
  'kernel/char/late.ko': module('late', 'virtio_rng'),
};

describe('kernel modules', () => {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-modules-'));
  for (const [path, image] of Object.entries(FILES)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), image);
  }
  afterAll(() => rmSync(directory, { recursive: true }));

  it('come with what they need, each after its needs, and built-in ones are passed over', async () => {
    const modules = await collectModules(directory, ['virtio_rng', 'ext4', 'virtio-pci'], '/nonexistent');
    expect(modules.map(({ path }) => path.replace(/.*\//, ''))).toEqual([
      'entropy-source.ko',
      'virtio_ring.ko',
      'virtio.ko',
      'virtio-rng.ko',
      'virtio_pci.ko',
    ]);
    expect(modulesDep(modules).split('\n')).toContain(
      'kernel/char/virtio-rng.ko: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko kernel/char/entropy-source.ko',
    );
  });

  it('of a damaged package are refused', () => {
    expect(() =>
      readModuleInfo(Buffer.from('not ELF at all, but long enough to hold a header of sixty-four bytes')),
    ).toThrow(/ELF64/);
    expect(() => readModuleInfo(moduleImage([]).subarray(0, 60))).toThrow();
  });
});

describe('readAppletNames', () => {
  it('finds the sorted table among other bytes', () => {
    const decoy = 'x[\0[[\0zebra\0ant\0\0';
    const binary = Buffer.from(`\x7fELF${decoy}garbage [\0[[\0ash\0cat\0sh\0\0more\0`, 'latin1');
    expect(readAppletNames(binary)).toEqual(['[', '[[', 'ash', 'cat', 'sh']);
    expect(() => readAppletNames(Buffer.from(decoy, 'latin1'))).toThrow(/busybox/);
  });
});

describe('buildInitramfs', () => {
  const parts = {
    release: '6.1.0-test',
    busybox: Buffer.from('busybox'),
    applets: ['[', 'ash', 'lspci', 'poweroff', 'sh'],
    modules: [{ path: 'kernel/virtio/virtio_ring.ko', image: FILES['kernel/virtio/virtio_ring.ko']! }],
  };

  it('gives the same bytes for the same parts, and our own programs in place of applets', () => {
    const archive = Buffer.from(buildInitramfs(parts));
    expect(archive.equals(Buffer.from(buildInitramfs(parts)))).toBe(true);
    const text = archive.toString('latin1');
    for (const path of [
      'init',
      'bin/[',
      'bin/sh',
      'bin/lspci',
      'sbin/poweroff',
      'dev/console',
      'sbin/modprobe',
    ]) {
      expect(text.split(`00000000${path}\0`).length, path).toBe(2);
    }
    expect(text).not.toContain('00000000bin/poweroff\0');
    expect(text).toContain('00000000lib/modules/6.1.0-test/kernel/virtio/virtio_ring.ko\0');
  });
});
