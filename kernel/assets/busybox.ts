// Reads the names of its applets out of a busybox binary: a run of NUL-terminated strings in sorted order that begins
// with `[` and `[[` and ends with an empty one (busybox 1.3x, `applet_names`). Nothing is executed, so the host's
// processor may be of another kind than the guest's.

const FIRST_NAMES = '[\0[[\0';

/** Names in the binary's order; throws a plain Error when it has no such table. */
export function readAppletNames(binary: Buffer): string[] {
  for (
    let at = binary.indexOf(FIRST_NAMES, 0, 'latin1');
    at >= 0;
    at = binary.indexOf(FIRST_NAMES, at + 1, 'latin1')
  ) {
    const end = binary.indexOf('\0\0', at, 'latin1');
    const names = binary.toString('latin1', at, end < 0 ? undefined : end).split('\0');
    // the same bytes may stand elsewhere, but not before a sorted list with a shell in it
    if (names.includes('sh') && names.every((name, i) => i === 0 || names[i - 1]! < name)) return names;
  }
  throw new Error('not a busybox binary: it has no table of applets');
}
