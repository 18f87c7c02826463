// The tables read back as an operating system does: by pointer, length and checksum. iasl, where installed, takes them
// apart and compiles the DSDT again.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import * as platform from '#shared/acpi/platform.js';
import { type AcpiTables, buildAcpiTables } from '#shared/acpi/tables.js';
import { hasProgram } from '../../../support/guest-kernel.js';
import { ramOf } from '../../../support/ram.js';

function placed(tables: AcpiTables) {
  const memory = ramOf(0x10_0000);
  for (const { gpa, bytes } of tables.blobs) memory.copyIn(gpa, bytes);
  const tableAt = (gpa: number) => {
    const bytes = memory.slice(gpa, memory.readU32(gpa + 4))!;
    return {
      gpa,
      bytes,
      view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
      signature: text(bytes, 0, 4),
    };
  };
  const xsdt = tableAt(memory.readAddress(tables.rsdp + 24));
  const listed = Array.from({ length: (xsdt.bytes.length - 36) / 8 }, (_, i) =>
    tableAt(Number(xsdt.view.getBigUint64(36 + i * 8, true))),
  );
  const find = (signature: string) => listed.find((table) => table.signature === signature)!;
  const fadt = find('FACP');
  const dsdt = tableAt(Number(fadt.view.getBigUint64(140, true)));
  return { memory, xsdt, listed, fadt, dsdt, madt: find('APIC'), mcfg: find('MCFG'), tableAt };
}

const text = (bytes: Uint8Array, at: number, length: number): string =>
  String.fromCharCode(...bytes.slice(at, at + length));
const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => total + byte, 0) & 0xff;

describe.each([1, 2, 254, 255, 256, 1024])('%i vCPUs', (vcpus) => {
  const tables = buildAcpiTables({ vcpus });
  const { memory, xsdt, listed, fadt, dsdt, madt, mcfg } = placed(tables);

  test('blobs lie in the reserved area and do not overlap', () => {
    const sorted = [...tables.blobs].sort((a, b) => a.gpa - b.gpa);
    sorted.reduce((end, { gpa, bytes }) => {
      expect(gpa).toBeGreaterThanOrEqual(end);
      return gpa + bytes.length;
    }, platform.ACPI_BASE);
    expect(sorted.at(-1)!.gpa + sorted.at(-1)!.bytes.length).toBeLessThanOrEqual(0x10_0000);
  });

  test('every checksum is right and the RSDP can be found by a scan', () => {
    expect(tables.rsdp % 16).toBe(0);
    const rsdp = memory.slice(tables.rsdp, 36)!;
    expect(text(rsdp, 0, 8)).toBe('RSD PTR ');
    expect(sum(rsdp.subarray(0, 20))).toBe(0);
    expect(sum(rsdp)).toBe(0);
    for (const table of [xsdt, dsdt, ...listed]) expect(sum(table.bytes)).toBe(0);
    expect(listed.map((table) => table.signature)).toEqual(['FACP', 'APIC', 'MCFG']);
    expect(dsdt.signature).toBe('DSDT');
  });

  test('MADT lists every vCPU once, by xAPIC below 255 and by x2APIC from there', () => {
    const xapic: number[] = [];
    const x2apic: number[] = [];
    const overrides: number[][] = [];
    for (let at = 44; at < madt.bytes.length; at += madt.bytes[at + 1]!) {
      const type = madt.bytes[at]!;
      if (type === 0) {
        xapic.push(madt.bytes[at + 3]!);
        expect(madt.bytes[at + 2]).toBe(madt.bytes[at + 3]);
        expect(madt.view.getUint32(at + 4, true)).toBe(1);
      } else if (type === 9) {
        x2apic.push(madt.view.getUint32(at + 4, true));
        expect(madt.view.getUint32(at + 8, true)).toBe(1);
        expect(madt.view.getUint32(at + 12, true)).toBe(madt.view.getUint32(at + 4, true));
      } else if (type === 1) {
        expect(madt.view.getUint32(at + 4, true)).toBe(0xfec0_0000);
        expect(madt.view.getUint32(at + 8, true)).toBe(0);
      } else if (type === 2) {
        overrides.push([
          madt.bytes[at + 3]!,
          madt.view.getUint32(at + 4, true),
          madt.view.getUint16(at + 8, true),
        ]);
      }
    }
    expect([...xapic, ...x2apic]).toEqual(Array.from({ length: vcpus }, (_, id) => id));
    expect(xapic.length).toBe(Math.min(vcpus, 255));
    expect(overrides).toEqual([[0, 2, 0], [9, 9, 0x0d]]); // prettier-ignore
  });

  test('FADT names the ports of the platform, twice', () => {
    expect(fadt.bytes.length).toBe(276);
    const gas = (at: number) => [
      fadt.bytes[at],
      fadt.bytes[at + 1],
      Number(fadt.view.getBigUint64(at + 4, true)),
    ];
    expect(fadt.view.getUint32(56, true)).toBe(platform.PM1_EVT_BLOCK);
    expect(fadt.view.getUint32(64, true)).toBe(platform.PM1_CNT_BLOCK);
    expect(fadt.view.getUint32(76, true)).toBe(platform.PM_TMR_BLOCK);
    expect(gas(148)).toEqual([1, 32, platform.PM1_EVT_BLOCK]);
    expect(gas(172)).toEqual([1, 16, platform.PM1_CNT_BLOCK]);
    expect(gas(208)).toEqual([1, 32, platform.PM_TMR_BLOCK]);
    expect(gas(116)).toEqual([1, 8, 0xcf9]);
    expect(fadt.bytes[128]).toBe(6);
    expect(fadt.view.getUint16(46, true)).toBe(9);
    expect(fadt.view.getUint32(112, true) & (1 << 20)).toBe(0); // not hardware-reduced
    expect(fadt.view.getUint32(112, true) & (1 << 10)).not.toBe(0); // the reset register counts
    expect(fadt.view.getUint16(109, true) & 2).toBe(0); // no 8042
    const facs = fadt.view.getUint32(36, true);
    expect(facs % 64).toBe(0);
    expect(text(memory.slice(facs, 4)!, 0, 4)).toBe('FACS');
  });

  test('MCFG is bus 0 at the ECAM base', () => {
    expect(mcfg.bytes.length).toBe(60);
    expect(mcfg.view.getBigUint64(44, true)).toBe(BigInt(platform.ECAM_BASE));
    expect([...mcfg.bytes.subarray(52, 56)]).toEqual([0, 0, 0, 0]);
  });
});

test('more vCPUs than fit are refused', () => {
  expect(() => buildAcpiTables({ vcpus: 4000 })).toThrow(/do not fit/);
});

test('another RSDP address moves all tables', () => {
  const tables = buildAcpiTables({ vcpus: 2, rsdpGpa: 0xf_0010 });
  expect(tables.rsdp).toBe(0xf_0010);
  expect(Math.min(...tables.blobs.map((blob) => blob.gpa))).toBe(0xf_0010);
  expect(placed(tables).fadt.view.getUint32(36, true) % 64).toBe(0);
});

test('iasl takes every table apart and compiles the DSDT again', (context) => {
  if (!hasProgram('iasl', '-v')) return context.skip('iasl (acpica-tools) is not installed');
  const directory = mkdtempSync(join(tmpdir(), 'troupe-acpi-'));
  try {
    const pciHighWindow = { base: 2 ** 34, bytes: 2 ** 30 };
    const { listed, dsdt, xsdt, memory, fadt, tableAt } = placed(
      buildAcpiTables({ vcpus: 300, pciHighWindow }),
    );
    expect(memory.ramBytes).toBe(0x10_0000);
    for (const table of [...listed, dsdt, xsdt, tableAt(fadt.view.getUint32(36, true))]) {
      const path = join(directory, `${table.signature}.dat`);
      writeFileSync(path, table.bytes);
      const run = spawnSync('iasl', ['-d', path], { encoding: 'utf8' });
      expect(`${run.stdout}${run.stderr}`).not.toMatch(/error|warning|unknown|invalid|exceed/i);
      expect(run.status).toBe(0);
    }
    const compiled = spawnSync('iasl', [join(directory, 'DSDT.dsl')], { encoding: 'utf8' });
    expect(compiled.stdout).toContain('0 Errors, 0 Warnings');
  } finally {
    rmSync(directory, { recursive: true });
  }
});
