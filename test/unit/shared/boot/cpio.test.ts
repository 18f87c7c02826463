import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { writeCpio, type CpioEntry } from '#shared/boot/cpio.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** An independent reader of the format, after the table in the kernel's buffer-format.rst. */
function readMembers(archive: Uint8Array): { name: string; fields: number[]; data: Uint8Array }[] {
  const text = Buffer.from(archive);
  const members = [];
  for (let at = 0; at < text.length;) {
    expect(text.toString('latin1', at, at + 6)).toBe('070701');
    const fields = Array.from({ length: 13 }, (_, i) =>
      parseInt(text.toString('latin1', at + 6 + 8 * i, at + 14 + 8 * i), 16),
    );
    const nameBytes = fields[11]!;
    const name = text.toString('utf8', at + 110, at + 110 + nameBytes - 1);
    expect(text[at + 110 + nameBytes - 1]).toBe(0);
    const dataAt = Math.ceil((at + 110 + nameBytes) / 4) * 4;
    const data = text.subarray(dataAt, dataAt + fields[6]!);
    members.push({ name, fields, data });
    at = Math.ceil((dataAt + fields[6]!) / 4) * 4;
  }
  return members;
}

const SAMPLE: CpioEntry[] = [
  { kind: 'directory', path: 'bin', mode: 0o755 },
  { kind: 'file', path: 'bin/busybox', mode: 0o755, data: bytes('#!x\n') },
  { kind: 'symlink', path: 'bin/sh', target: 'busybox' },
  { kind: 'character-device', path: 'console', mode: 0o600, major: 5, minor: 1 },
];

describe('writeCpio', () => {
  it('gives each kind its file type, size and device number, and ends with the trailer', () => {
    const members = readMembers(writeCpio(SAMPLE, 7));
    expect(members.map(({ name }) => name)).toEqual([
      'bin',
      'bin/busybox',
      'bin/sh',
      'console',
      'TRAILER!!!',
    ]);
    expect(members.map(({ fields }) => fields[1])).toEqual([0o040755, 0o100755, 0o120777, 0o020600, 0]);
    expect(members[2]!.data.toString()).toBe('busybox');
    expect(members[3]!.fields.slice(9, 11)).toEqual([5, 1]);
    expect(members.slice(0, 4).map(({ fields }) => fields[5])).toEqual([7, 7, 7, 7]);
    expect(new Set(members.map(({ fields }) => fields[0])).size).toBe(5);
  });

  it('keeps any contents at any length', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.stringMatching(/^[a-zé]{1,12}$/), fc.uint8Array({ maxLength: 40 }))),
        (files) => {
          const unique = [...new Map(files)];
          const entries = unique.map(([path, data]): CpioEntry => ({
            kind: 'file',
            path,
            mode: 0o644,
            data,
          }));
          const members = readMembers(writeCpio(entries)).slice(0, -1);
          expect(members.map(({ name, data }) => [name, [...data]])).toEqual(
            unique.map(([n, d]) => [n, [...d]]),
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  it.each<[string, CpioEntry[]]>([
    ['an absolute path', [{ kind: 'directory', path: '/etc', mode: 0o755 }]],
    ['a path that climbs', [{ kind: 'directory', path: '../etc', mode: 0o755 }]],
    ['a repeated path', [SAMPLE[0]!, SAMPLE[0]!]],
    ['a member whose directory is not there', [SAMPLE[1]!]],
    ['the name of the trailer', [{ kind: 'directory', path: 'TRAILER!!!', mode: 0o755 }]],
  ])('refuses %s', (_, entries) => {
    expect(() => writeCpio(entries)).toThrow(RangeError);
  });

  const reader = [
    ['cpio', '-i'],
    ['busybox', 'cpio', '-i'],
  ].find(([tool]) => !spawnSync(tool!, ['--help']).error);

  it.skipIf(!reader)('is unpacked by the host’s cpio', () => {
    const directory = mkdtempSync(join(tmpdir(), 'troupe-cpio-'));
    try {
      const [tool, ...args] = reader!;
      const entries = SAMPLE.filter(({ kind }) => kind !== 'character-device'); // making one needs root
      execFileSync(tool!, args, {
        cwd: directory,
        input: writeCpio(entries),
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      expect(readFileSync(join(directory, 'bin/busybox'), 'utf8')).toBe('#!x\n');
      expect(statSync(join(directory, 'bin/busybox')).mode & 0o777).toBe(0o755);
      expect(readlinkSync(join(directory, 'bin/sh'))).toBe('busybox');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
