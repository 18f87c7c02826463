// Running guests have names, and under each name a control socket in a folder of the user's: $XDG_RUNTIME_DIR/troupe, or
// troupe/run in the state folder (XDG base directory specification 0.8) where the session has no runtime folder.
import { mkdirSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { TroupeError } from '#shared/base/error.js';

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const SUFFIX = '.sock';
/** sun_path of unix(7), its closing zero left aside. */
const MAX_PATH_BYTES = 107;

/** Of a guest without one. */
export function defaultGuestName(): string {
  return `guest-${process.pid}`;
}

export function stateFolder(): string {
  return join(process.env['XDG_STATE_HOME'] || join(homedir(), '.local/state'), 'troupe');
}

function socketFolder(): string {
  const runtime = process.env['XDG_RUNTIME_DIR'];
  return runtime ? join(runtime, 'troupe') : join(stateFolder(), 'run');
}

/** Throws TroupeError `bad-config` for a name that no guest can have. */
export function socketPath(name: string): string {
  if (!NAME.test(name)) {
    const hint = 'use letters, digits, dots, dashes and underscores, 64 at most';
    throw new TroupeError('bad-config', `'${name}' is no name for a guest`, hint);
  }
  const path = join(socketFolder(), name + SUFFIX);
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    throw new TroupeError(
      'bad-config',
      `the socket path ${path} is too long`,
      'set XDG_RUNTIME_DIR to a short one',
    );
  return path;
}

/** Only its user may look in. */
export function makeSocketFolder(): void {
  mkdirSync(socketFolder(), { recursive: true, mode: 0o700 });
}

/** Names that have a socket; whether the guest still lives shows when one calls it. */
export function guestNames(): string[] {
  try {
    const files = readdirSync(socketFolder());
    return files.filter((f) => f.endsWith(SUFFIX)).map((f) => f.slice(0, -SUFFIX.length));
  } catch {
    return [];
  }
}
