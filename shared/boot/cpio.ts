// Writes a cpio archive in the "new ASCII" format (newc, magic 070701), the one the Linux kernel unpacks as an
// initramfs (Documentation/driver-api/early-userspace/buffer-format.rst). Every entry has the same modification
// time and owner 0:0, so equal entries give equal bytes. Leaves out hard links, checksums (070702) and reading.

/** One member of the archive; `path` is relative, without a leading slash. */
export type CpioEntry =
  | { kind: 'file'; path: string; mode: number; data: Uint8Array }
  | { kind: 'directory'; path: string; mode: number }
  | { kind: 'symlink'; path: string; target: string }
  | { kind: 'character-device'; path: string; mode: number; major: number; minor: number };

const S_IFDIR = 0o040000;
const S_IFCHR = 0o020000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

const HEADER_BYTES = 110; // magic and 13 fields of 8 hexadecimal digits
const TRAILER_NAME = 'TRAILER!!!';

interface Member {
  name: string;
  mode: number;
  links: number;
  rdevMajor: number;
  rdevMinor: number;
  data: Uint8Array;
}

const NO_DATA = new Uint8Array(0);

/**
 * The archive's bytes, a multiple of 4. Throws when a path is empty, absolute, repeated, or lies in a directory
 * that no earlier entry made: the kernel would drop such a member without a word.
 */
export function writeCpio(entries: readonly CpioEntry[], mtimeSeconds = 0): Uint8Array {
  checkPaths(entries);
  const members = entries.map(memberOf);
  members.push({ name: TRAILER_NAME, mode: 0, links: 1, rdevMajor: 0, rdevMinor: 0, data: NO_DATA });
  const encoder = new TextEncoder();
  const names = members.map((member) => encoder.encode(member.name));
  let total = 0;
  members.forEach((member, i) => {
    total += align4(HEADER_BYTES + names[i]!.length + 1) + align4(member.data.length);
  });
  const archive = new Uint8Array(total);
  let at = 0;
  members.forEach((member, i) => {
    const name = names[i]!;
    const isTrailer = i === members.length - 1;
    encoder.encodeInto(
      header(member, isTrailer ? 0 : i + 1, isTrailer ? 0 : mtimeSeconds, name.length + 1),
      archive.subarray(at),
    );
    archive.set(name, at + HEADER_BYTES);
    at += align4(HEADER_BYTES + name.length + 1);
    archive.set(member.data, at);
    at += align4(member.data.length);
  });
  return archive;
}

function memberOf(entry: CpioEntry): Member {
  const member = { name: entry.path, links: 1, rdevMajor: 0, rdevMinor: 0, data: NO_DATA };
  switch (entry.kind) {
    case 'file':
      return { ...member, mode: S_IFREG | entry.mode, data: entry.data };
    case 'directory':
      return { ...member, mode: S_IFDIR | entry.mode, links: 2 };
    case 'symlink':
      return { ...member, mode: S_IFLNK | 0o777, data: new TextEncoder().encode(entry.target) };
    case 'character-device':
      return { ...member, mode: S_IFCHR | entry.mode, rdevMajor: entry.major, rdevMinor: entry.minor };
  }
}

function header(member: Member, inode: number, mtimeSeconds: number, nameBytes: number): string {
  const fields = [
    inode,
    member.mode,
    0, // uid
    0, // gid
    member.links,
    mtimeSeconds,
    member.data.length,
    0, // device of the file system, major
    0, // and minor
    member.rdevMajor,
    member.rdevMinor,
    nameBytes,
    0, // checksum, unused with this magic
  ];
  return '070701' + fields.map(hex8).join('');
}

function hex8(value: number): string {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
    throw new RangeError(`not a cpio field: ${value}`);
  return value.toString(16).toUpperCase().padStart(8, '0');
}

function align4(lengthBytes: number): number {
  return (lengthBytes + 3) & ~3;
}

function checkPaths(entries: readonly CpioEntry[]): void {
  const directories = new Set<string>(['']);
  const seen = new Set<string>();
  for (const entry of entries) {
    const { path } = entry;
    if (path.split('/').some((part) => part === '' || part === '.' || part === '..') || path.includes('\0')) {
      throw new RangeError(`not a path for a cpio member: '${path}'`);
    }
    if (path === TRAILER_NAME || seen.has(path))
      throw new RangeError(`cpio member is there twice: '${path}'`);
    if (!directories.has(path.slice(0, Math.max(0, path.lastIndexOf('/'))))) {
      throw new RangeError(`no directory in the archive holds '${path}'`);
    }
    seen.add(path);
    if (entry.kind === 'directory') directories.add(path);
  }
}
