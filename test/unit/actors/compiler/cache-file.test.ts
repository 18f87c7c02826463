// The translation cache's file against a model: the map of what was appended. Whatever happens to the bytes, what is read back
// is a module that was appended under that key, or nothing.
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { CacheFile, type CachedRegion } from '#actors/compiler/cache-file.js';

const VERSION = 'ab'.repeat(32);
const root = mkdtempSync(join(tmpdir(), 'troupe-cache-'));
let folder = root;
let count = 0;
const path = (): string => join(folder, `${VERSION.slice(0, 32)}.bin`);
const LIMIT = 1 << 16;

beforeEach(() => freshFolder());
afterAll(() => rmSync(root, { recursive: true, force: true }));

function freshFolder(): void {
  folder = join(root, String(count++));
}

function open(engineVersion = VERSION, limitBytes = LIMIT) {
  const complaints: string[] = [];
  const complain = (reason: string): void => void complaints.push(reason);
  let beats = 0;
  const beat = (): void => void beats++;
  const opened = CacheFile.open({ folder, engineVersion, limitBytes, complain, beat });
  return { ...opened, complaints, beats: () => beats };
}

const keys = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => Buffer.from(b).toString('hex'));
const described = fc.record({
  key: keys,
  index: fc.integer({ min: -1, max: 63 }),
  links: fc.nat(500),
  head: fc.nat(0xffff_ffff),
});
const appended = fc
  .record({
    bytes: fc.uint8Array({ maxLength: 300 }),
    each: fc.uniqueArray(fc.tuple(described, fc.uint8Array({ maxLength: 40 })), {
      minLength: 1,
      maxLength: 5,
      selector: ([region]) => region.key,
    }),
  })
  .map(({ bytes, each }): Appended => ({
    bytes,
    regions: each.map(([region]) => region),
    requests: each.map(([, request]) => request),
  }));
type Appended = { bytes: Uint8Array; regions: CachedRegion[]; requests: Uint8Array[] };
const several = fc.array(appended, { minLength: 1, maxLength: 6 });

function append(file: CacheFile, records: readonly Appended[]): void {
  for (const { bytes, regions, requests } of records) file.append(bytes, regions, requests);
}

function write(records: readonly Appended[]): void {
  const { file } = open();
  append(file, records);
  file.close();
}

/** All that a new machine finds, as it was given to append(). */
function readBack(version = VERSION): Appended[] {
  const { file, modules } = open(version);
  const found = modules.flatMap((module) => {
    const body = file.read(module);
    if (body === undefined) return [];
    return [{ bytes: body.module, regions: [...module.regions], requests: [...body.requests] }];
  });
  file.close();
  return found;
}

const plain = ({ bytes, regions, requests }: Appended): string =>
  JSON.stringify([[...bytes], regions, requests.map((request) => [...request])]);

/** A record of one region. */
const one = (bytes: Uint8Array, key: string): Appended => ({
  bytes,
  regions: [{ key, index: 0, links: 0, head: 7 }],
  requests: [Uint8Array.of(1, 2, 3)],
});

describe('CacheFile', () => {
  it('gives back what was appended, by one machine or by several in turn', () => {
    fc.assert(
      fc.property(several, several, (first, second) => {
        freshFolder();
        const a = open();
        const b = open();
        append(a.file, first);
        append(b.file, second);
        append(a.file, first.slice(0, 1));
        a.file.close();
        b.file.close();
        expect(readBack().map(plain)).toEqual([...first, ...second, first[0]!].map(plain));
      }),
      { numRuns: 50 },
    );
  });

  it('keeps the records before a torn one and goes on behind them', () => {
    fc.assert(
      fc.property(several, fc.double({ min: 0, max: 1, noNaN: true }), (records, part) => {
        freshFolder();
        write(records);
        const whole = readFileSync(path());
        writeFileSync(path(), whole.subarray(0, Math.floor(whole.length * part)));
        const left = readBack().map(plain);
        expect(left).toEqual(records.slice(0, left.length).map(plain));
        write(records.slice(0, 1));
        expect(readBack().map(plain)).toEqual([...left, plain(records[0]!)]);
      }),
      { numRuns: 100 },
    );
  });

  it('never gives a wrong module when a bit has flipped', () => {
    fc.assert(
      fc.property(several, fc.nat(), fc.nat(7), (records, at, bit) => {
        freshFolder();
        write(records);
        const bytes = readFileSync(path());
        bytes[at % bytes.length]! ^= 1 << bit;
        writeFileSync(path(), bytes);
        const known = new Set(records.map(plain));
        const found = readBack();
        expect(found.every((record) => known.has(plain(record)))).toBe(true);
        expect(found.length).toBeLessThanOrEqual(records.length);
      }),
      { numRuns: 200 },
    );
  });

  it('takes nothing from foreign contents', () => {
    fc.assert(
      fc.property(several, fc.uint8Array({ maxLength: 400 }), fc.boolean(), (records, noise, behind) => {
        freshFolder();
        write(records);
        if (behind) appendFileSync(path(), noise);
        else writeFileSync(path(), noise, { mode: 0o600 });
        expect(readBack().map(plain)).toEqual(behind ? records.map(plain) : []);
      }),
      { numRuns: 100 },
    );
  });

  it('reads no other engine version, even under this one’s name', () => {
    const other = 'cd'.repeat(32);
    write([one(new Uint8Array(9), '00'.repeat(32))]);
    expect(readBack(other)).toEqual([]);
    renameSync(path(), join(folder, `${other.slice(0, 32)}.bin`));
    expect(readBack(other)).toEqual([]);
  });

  it('begins anew beyond its bound', () => {
    const { file } = open(VERSION, 5000);
    for (let i = 0; i < 40; i++) {
      append(file, [one(new Uint8Array(1000).fill(i), i.toString(16).padStart(64, '0'))]);
      expect(statSync(path()).size).toBeLessThanOrEqual(5000);
    }
    append(file, [one(new Uint8Array(6000), '11'.repeat(32))]);
    file.close();
    const last = readBack().at(-1)!;
    expect(last.bytes[0]).toBe(39);
  });

  it('begins anew with what was used, newest first, and still reads what was found', () => {
    const records = Array.from({ length: 10 }, (_, i) => one(new Uint8Array(400).fill(i), `${i}`.repeat(64)));
    write(records);
    const { file, modules } = open(VERSION, 6000);
    for (const i of [2, 5, 7]) file.read(modules[i]!);
    const added = Array.from({ length: 5 }, (_, i) =>
      one(new Uint8Array(400).fill(100 + i), `a${i}`.repeat(32)),
    );
    append(file, added.slice(0, 4)); // the second finds it full
    expect(plain({ ...records[8]!, bytes: file.read(modules[8]!)!.module })).toBe(plain(records[8]!));
    append(file, added.slice(4));
    file.close();
    expect(readBack().map(plain)).toEqual([2, 5, 7].map((i) => plain(records[i]!)).concat(added.map(plain)));
  });

  it('shows life with each record that it reads or writes', () => {
    const records = Array.from({ length: 40 }, (_, i) =>
      one(new Uint8Array(400).fill(i), i.toString(16).padStart(64, '0')),
    );
    write(records);
    const { file, modules, beats } = open(VERSION, statSync(path()).size);
    expect(beats()).toBeGreaterThanOrEqual(40);
    for (const module of modules) file.read(module);
    const before = beats();
    append(file, [one(new Uint8Array(400), 'ff'.repeat(32))]); // full: it begins anew, with half of them
    file.close();
    expect(readBack().length).toBeLessThan(25);
    expect(beats() - before).toBeGreaterThanOrEqual(40 + 2 * (readBack().length - 1));
  });

  it('keeps the files of two other versions', () => {
    for (let i = 0; i < 5; i++) {
      const version = String(i).repeat(64);
      open(version).file.close();
      utimesSync(join(folder, `${version.slice(0, 32)}.bin`), i, i);
    }
    open().file.close();
    expect(readdirSync(folder).sort()).toEqual(
      ['3', '4'].map((digit) => `${digit.repeat(32)}.bin`).concat(`${VERSION.slice(0, 32)}.bin`),
    );
  });

  it.skipIf(process.platform === 'win32').each([
    ['that others may write', () => chmodSync(path(), 0o620)],
    ['in a folder that others may write', () => chmodSync(folder, 0o777)],
    [
      'that is a symbolic link',
      () => {
        renameSync(path(), `${path()}.real`);
        symlinkSync(`${path()}.real`, path());
      },
    ],
    ['that has a second name', () => linkSync(path(), `${path()}.second`)],
  ])('uses no file %s', (_what, spoil) => {
    const record = one(Uint8Array.of(1, 2), '22'.repeat(32));
    write([record]);
    spoil();
    const { file, modules, complaints } = open();
    const before = readFileSync(path());
    append(file, [record]);
    file.close();
    expect(modules).toEqual([]);
    expect(complaints).toHaveLength(1);
    expect(readFileSync(path()).equals(before)).toBe(true);
  });

  it('does without a folder that cannot be made', () => {
    writeFileSync(folder, 'a file');
    const { file, modules, complaints } = open();
    append(file, [one(new Uint8Array(1), '33'.repeat(32))]);
    expect(modules).toEqual([]);
    expect(complaints).toHaveLength(1);
    expect(existsSync(path())).toBe(false);
  });
});
