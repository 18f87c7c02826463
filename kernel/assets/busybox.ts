// Reads the names of its applets out of a busybox binary: a run of NUL-terminated strings in sorted order that begins
// with `[` and `[[` and ends with an empty one (busybox 1.3x, `applet_names`). Nothing is executed, so the host's
// processor may be of another kind than the guest's.

const FIRST_NAMES = '\0[\0[[\0';

/** Names in the binary's order; throws a plain Error when it has no such table. */
export function readAppletNames(binary: Buffer): string[] {
  const start = binary.indexOf(FIRST_NAMES, 0, 'latin1');
  const end = start < 0 ? -1 : binary.indexOf('\0\0', start + 1, 'latin1');
  if (end < 0) throw new Error('not a busybox binary: it has no table of applets');
  return binary.toString('latin1', start + 1, end).split('\0');
}
