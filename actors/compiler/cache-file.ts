// Compiled regions in a file of the user's, for the next boot. Append-only: a header, then records, each written by one write
// in append mode, so that several machines may share the file. Nothing in it is trusted: a record counts when its check sums
// hold, and the file when it is a plain file that only this user may write. What ends in a torn or foreign record is begun
// anew from its good part; a full file from what this machine used of it.
//
//   header   8 bytes magic, u32 format, u32 0, 32 bytes engine version
//   record   u32 ×4: magic, bytes of the record, regions, bytes of the module; 16 bytes sum of the body, 16 bytes sum of all
//            that describes it; for each region 32 bytes key, i32 index, i32 links, u32 head, u32 bytes of its request; then the body:
//            the module and the requests
//
// Keys are SHA-256 of a request (shared/translate/region-request.ts), heads its `headHash`; sums are the first 16 bytes of a SHA-256. Reading the
// file reads the descriptions only; a body's sum is checked when it is first used.

import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

export interface CachedRegion {
  /** 64 hexadecimal digits. */
  readonly key: string;
  /** −1: cannot be compiled. */
  readonly index: number;
  readonly links: number;
  /** u32: what its region starts with. */
  readonly head: number;
}

/** Where a module is in the file. */
export interface CachedModule {
  readonly regions: readonly CachedRegion[];
  readonly position: number;
  readonly length: number;
  /** Of the regions' requests, which lie behind the module. */
  readonly requestLengths: readonly number[];
  readonly sum: Buffer;
}

export interface CachedBody {
  readonly module: Uint8Array<ArrayBuffer>;
  /** In the regions' order. */
  readonly requests: readonly Uint8Array[];
}

export interface CacheFileOptions {
  readonly folder: string;
  /** 64 hexadecimal digits; code of another engine is foreign. */
  readonly engineVersion: string;
  /** Of the file. */
  readonly limitBytes: number;
  /** Why the cache is not used, or a part of it. */
  readonly complain: (reason: string) => void;
  /** Shows life: reading and rewriting a full file takes longer than a heartbeat may. */
  readonly beat: () => void;
}

const MAGIC = Buffer.from('TroupeRC');
const FORMAT = 2;
const HEADER_BYTES = 48;
const RECORD_MAGIC = 0x4e475254;
const SUM_BYTES = 16;
const RECORD_HEADER_BYTES = 16 + 2 * SUM_BYTES;
const ENTRY_BYTES = 48;
const MAX_REGIONS = 64;
/** Files of other engine versions that are kept. */
const KEPT_VERSIONS = 2;
const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW = 0, O_RDWR } = constants;

export class CacheFile {
  readonly #o: CacheFileOptions;
  readonly #path: string;
  /** Takes what is appended. */
  #file = -1;
  /** Has the modules that were found: the same file until that one is full. */
  #source = -1;
  #bytes = 0;
  /** The sums of modules that were read or appended. */
  readonly #used = new Set<string>();

  private constructor(options: CacheFileOptions) {
    this.#o = options;
    this.#path = join(options.folder, `${options.engineVersion.slice(0, 32)}.bin`);
  }

  /** Never throws: a cache that cannot be used is an empty one that keeps nothing. */
  static open(options: CacheFileOptions): { readonly file: CacheFile; readonly modules: CachedModule[] } {
    const file = new CacheFile(options);
    const modules = file.#guard('is not used', () => file.#open()) ?? [];
    file.#source = file.#file;
    return { file, modules };
  }

  /** What was written; undefined when it is something else now. */
  read(module: CachedModule): CachedBody | undefined {
    if (this.#source < 0) return undefined;
    const { length, position, requestLengths } = module;
    const bytes = new Uint8Array(requestLengths.reduce((sum, part) => sum + part, length));
    const whole = this.#guard('cannot be read', () => readWhole(this.#source, bytes, position));
    if (whole !== true || !sumOf(bytes).equals(module.sum)) {
      this.#o.complain('a module in the translation cache is damaged');
      return undefined;
    }
    this.#used.add(module.sum.toString('hex'));
    let end = length;
    const requests = requestLengths.map((part) => bytes.slice(end, (end += part)));
    return { module: bytes.slice(0, length), requests };
  }

  /** Adds a module. When the file is full it begins anew, with what this machine used. */
  append(module: Uint8Array, regions: readonly CachedRegion[], requests: readonly Uint8Array[]): void {
    if (this.#file < 0 || regions.length > MAX_REGIONS) return;
    const record = encodeRecord(module, regions, requests);
    if (HEADER_BYTES + record.length > this.#o.limitBytes) return;
    this.#guard('takes no more', () => {
      // Others may have added to it.
      if (fstatSync(this.#file).size + record.length > this.#o.limitBytes) this.#compact(record.length);
      if (writeSync(this.#file, record) !== record.length) throw new Error('the disk is full');
      this.#used.add(record.toString('hex', SUM_BYTES, 2 * SUM_BYTES));
    });
  }

  close(): void {
    for (const file of new Set([this.#file, this.#source])) if (file >= 0) closeSync(file);
    this.#file = this.#source = -1;
  }

  #guard<T>(what: string, body: () => T): T | undefined {
    try {
      return body();
    } catch (error) {
      this.#o.complain(
        `the translation cache ${what}: ${error instanceof Error ? error.message : 'unknown'}`,
      );
      this.close();
      return undefined;
    }
  }

  #open(): CachedModule[] {
    const { folder, limitBytes } = this.#o;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    expectOwn(lstatSync(folder), folder);
    this.#file = this.#openExisting();
    if (this.#file < 0) {
      this.#renew(0);
      this.#removeOthers();
      return [];
    }
    const stats = fstatSync(this.#file);
    expectOwn(stats, this.#path);
    if (!stats.isFile() || stats.nlink > 1) throw new Error(`${this.#path} is no plain file`);
    this.#bytes = stats.size;
    if (this.#bytes > limitBytes || !this.#headerFits()) {
      this.#o.complain('the translation cache is not of this engine: it begins anew');
      this.#renew(0);
      return [];
    }
    const { modules, end } = this.#readRecords();
    if (end < this.#bytes) {
      this.#o.complain('the translation cache ends in a record that is torn or damaged');
      this.#renew(end);
    }
    return modules;
  }

  #openExisting(): number {
    try {
      return openSync(this.#path, O_RDWR | O_APPEND | O_NOFOLLOW);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return -1;
      throw error;
    }
  }

  #header(): Buffer {
    const header = Buffer.alloc(HEADER_BYTES);
    MAGIC.copy(header);
    header.writeUInt32LE(FORMAT, 8);
    header.write(this.#o.engineVersion, 16, 'hex');
    return header;
  }

  #headerFits(): boolean {
    const header = new Uint8Array(HEADER_BYTES);
    return readWhole(this.#file, header, 0) && this.#header().equals(header);
  }

  /** `end`: of the records that are good. */
  #readRecords(): { readonly modules: CachedModule[]; readonly end: number } {
    const modules: CachedModule[] = [];
    let end = HEADER_BYTES;
    while (end < this.#bytes) {
      this.#o.beat();
      const found = readRecord(this.#file, end, this.#bytes);
      if (found === undefined) break;
      modules.push(found.module);
      end = found.end;
    }
    return { modules, end };
  }

  /** Makes room: half the limit, or what this machine used when that is less, newest first. */
  #compact(recordBytes: number): void {
    this.#bytes = fstatSync(this.#file).size;
    const kept: Uint8Array[] = [];
    let room = this.#o.limitBytes / 2 - recordBytes;
    for (const module of this.#readRecords().modules.reverse()) {
      if (!this.#used.has(module.sum.toString('hex'))) continue;
      const { start, bytes } = placeOf(module);
      room -= bytes;
      if (room < 0) break;
      this.#o.beat();
      const record = new Uint8Array(bytes);
      readWhole(this.#file, record, start);
      kept.push(record);
    }
    this.#renew(0, kept.reverse());
  }

  /** A new file takes this one's place, with its first `keep` bytes and `records`; who has the old one open loses what it adds. */
  #renew(keep: number, records: readonly Uint8Array[] = []): void {
    const fresh = `${this.#path}.${process.pid}-${Math.random().toString(36).slice(2)}`;
    const file = openSync(fresh, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      const start = new Uint8Array(Math.max(keep, HEADER_BYTES));
      if (keep > HEADER_BYTES) readWhole(this.#file, start, 0);
      start.set(this.#header());
      for (const part of [start, ...records]) {
        this.#o.beat();
        if (writeSync(file, part) !== part.length) throw new Error('the disk is full');
      }
      renameSync(fresh, this.#path);
    } catch (error) {
      closeSync(file);
      unlinkSync(fresh);
      throw error;
    }
    if (this.#file >= 0 && this.#file !== this.#source) closeSync(this.#file);
    this.#file = file;
  }

  /** Versions of the engine come and go: the oldest files with them. */
  #removeOthers(): void {
    const { folder } = this.#o;
    const others = readdirSync(folder)
      .map((name) => join(folder, name))
      .filter((path) => path.includes('.bin') && path !== this.#path)
      .map((path) => ({ path, time: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
      .sort((a, b) => b.time - a.time);
    for (const { path } of others.slice(KEPT_VERSIONS)) unlinkSync(path);
  }
}

/** Throws when others than this user could have written it. */
function expectOwn(stats: { readonly uid: number; readonly mode: number }, path: string): void {
  if (process.getuid === undefined) return;
  if (stats.uid !== process.getuid()) throw new Error(`${path} is another user's`);
  if ((stats.mode & 0o022) !== 0) throw new Error(`${path} may be written by others`);
}

function sumOf(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest().subarray(0, SUM_BYTES);
}

function encodeRecord(
  module: Uint8Array,
  regions: readonly CachedRegion[],
  requests: readonly Uint8Array[],
): Buffer {
  const described = RECORD_HEADER_BYTES + regions.length * ENTRY_BYTES;
  const description = Buffer.alloc(described);
  const body = Buffer.concat([module, ...requests]);
  [RECORD_MAGIC, described + body.length, regions.length, module.length].forEach((word, i) =>
    description.writeUInt32LE(word, i * 4),
  );
  sumOf(body).copy(description, 16);
  regions.forEach(({ key, index, links, head }, i) => {
    const at = RECORD_HEADER_BYTES + i * ENTRY_BYTES;
    description.write(key, at, 'hex');
    description.writeInt32LE(index, at + 32);
    description.writeInt32LE(links, at + 36);
    description.writeUInt32LE(head, at + 40);
    description.writeUInt32LE(requests[i]!.length, at + 44);
  });
  descriptionSum(description).copy(description, 16 + SUM_BYTES);
  return Buffer.concat([description, body]);
}

/** Of all that describes a record but the sum itself. */
function descriptionSum(description: Buffer): Buffer {
  return sumOf(description.subarray(0, 16 + SUM_BYTES), description.subarray(RECORD_HEADER_BYTES));
}

/** Where a module's whole record is in the file. */
function placeOf({ regions, position, length, requestLengths }: CachedModule) {
  const described = RECORD_HEADER_BYTES + regions.length * ENTRY_BYTES;
  const bytes = requestLengths.reduce((sum, part) => sum + part, described + length);
  return { start: position - described, bytes };
}

function readRecord(
  file: number,
  position: number,
  fileBytes: number,
): { readonly module: CachedModule; readonly end: number } | undefined {
  const most = Math.min(RECORD_HEADER_BYTES + MAX_REGIONS * ENTRY_BYTES, fileBytes - position);
  const bytes = Buffer.alloc(most);
  if (most < RECORD_HEADER_BYTES || !readWhole(file, bytes, position)) return undefined;
  const [magic, length, count, moduleBytes] = [0, 4, 8, 12].map((at) => bytes.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ];
  const described = RECORD_HEADER_BYTES + count * ENTRY_BYTES;
  if (magic !== RECORD_MAGIC || described > most || position + length > fileBytes) return undefined;
  const description = bytes.subarray(0, described);
  if (!descriptionSum(description).equals(bytes.subarray(16 + SUM_BYTES, RECORD_HEADER_BYTES)))
    return undefined;
  const entries = Array.from({ length: count }, (_, i) => RECORD_HEADER_BYTES + i * ENTRY_BYTES);
  const regions = entries.map((at) => ({
    key: bytes.toString('hex', at, at + 32),
    index: bytes.readInt32LE(at + 32),
    links: bytes.readInt32LE(at + 36),
    head: bytes.readUInt32LE(at + 40),
  }));
  const requestLengths = entries.map((at) => bytes.readUInt32LE(at + 44));
  if (length !== requestLengths.reduce((sum, part) => sum + part, described + moduleBytes)) return undefined;
  const sum = Buffer.from(bytes.subarray(16, 16 + SUM_BYTES));
  return {
    module: { regions, position: position + described, length: moduleBytes, requestLengths, sum },
    end: position + length,
  };
}

function readWhole(file: number, into: Uint8Array, position: number): boolean {
  for (let done = 0; done < into.length;) {
    const count = readSync(file, into, done, into.length - done, position + done);
    if (count === 0) return false;
    done += count;
  }
  return true;
}
