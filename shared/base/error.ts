// The one error class that crosses Troupe's public surface. The host's errors (bad flags, missing files, no
// permission) carry a stable code and a hint that names the fix; the guest's errors are values, never thrown
// across a module; our own bugs are plain assertions that kill the actor.

/** Stable codes of errors that a user or an embedding program can act on. */
export type ErrorCode =
  | 'bad-flag'
  | 'bad-config'
  | 'bad-image'
  | 'bad-kernel'
  | 'file-unreadable'
  | 'too-little-memory'
  | 'missing-tool'
  | 'asset-fetch-failed'
  | 'not-running'
  | 'kvm-unavailable'
  | 'actor-failed'
  | 'timeout';

/** An error with a stable {@link ErrorCode} and, where there is one, the fix. */
export class TroupeError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TroupeError';
    this.code = code;
    this.hint = hint;
  }
}

/** Throws when an invariant of ours is broken: kills the actor, so that its supervisor restarts it. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
