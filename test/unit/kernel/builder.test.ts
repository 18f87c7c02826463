import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { VcpuParams } from '#actors/vcpu/protocol.js';
import { buildMachine } from '#kernel/builder.js';
import { resolveConfig } from '#kernel/machine-config.js';
import { ACPI_BASE } from '#shared/acpi/platform.js';
import { TroupeError } from '#shared/base/error.js';
import { GuestMemory } from '#shared/memory/guest-memory.js';
import { buildPvhKernel } from '../../support/kernel-image.js';

const directory = mkdtempSync(join(tmpdir(), 'troupe-builder-'));
const kernel = join(directory, 'kernel');
const disk = join(directory, 'disk.img');
writeFileSync(kernel, buildPvhKernel(0x10_0000, new Uint8Array([0xf4])));
writeFileSync(disk, new Uint8Array(4096));
afterAll(() => rmSync(directory, { recursive: true }));

describe('buildMachine', () => {
  it('places the kernel and the firmware tables, and starts only the boot vCPU', async () => {
    const built = await buildMachine(resolveConfig({ kernel, vcpus: 3, memory: '32M', debugExit: true }));
    const ram = new GuestMemory(built.memory, built.layout.ram);
    expect(built.kernelKind).toBe('pvh');
    expect(ram.readU8(0x10_0000)).toBe(0xf4);
    expect(Buffer.from(ram.slice(ACPI_BASE, 8)!).toString()).toBe('RSD PTR ');
    const params = built.vcpus.map((v) => v.seed.params as VcpuParams);
    expect(params.map((p) => p.index)).toEqual([0, 1, 2]);
    expect(params.map((p) => p.initial !== undefined)).toEqual([true, false, false]);
    expect(params[0]!.initial!.rip).toBe(0x10_0000);
    expect(params.every((p) => p.debugExit)).toBe(true);
    for (const actor of [...built.devices, ...built.vcpus]) {
      expect(built.layout.actors[actor.name]).toBe(actor.layout);
      expect(actor.entry.pathname).toMatch(new RegExp(`/dist/actors/${actor.seed.kind}/main\\.cjs$`));
    }
    for (const window of built.layout.windows) {
      expect(built.devices.map((d) => d.name)).toContain(window.actor);
    }
  });

  it.each([
    ['a kernel that is not there', { kernel: join(directory, 'none') }, 'file-unreadable', /no such file/],
    ['a kernel that is a directory', { kernel: directory }, 'file-unreadable', /is a directory/],
    ['a kernel that is none', { kernel: disk }, 'bad-kernel', /./],
    ['a missing initrd', { kernel, initrd: '/nope' }, 'file-unreadable', /initrd/],
    ['a missing disk', { kernel, disks: [{ path: '/nope' }] }, 'file-unreadable', /disk \/nope/],
    [
      'a disk that is a directory',
      { kernel, disks: [{ path: directory }] },
      'file-unreadable',
      /is a directory/,
    ],
  ])('refuses %s', async (_name, options, code, message) => {
    const error = await buildMachine(resolveConfig({ memory: '32M', ...options })).then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(TroupeError);
    expect((error as TroupeError).code).toBe(code);
    expect((error as TroupeError).message).toMatch(message);
    expect((error as TroupeError).hint).toBeTruthy();
  });
});
