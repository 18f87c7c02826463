// What `troupe fault`, `troupe actors` and the guest's kernel say to each other over its control socket: one JSON object a line,
// a request and its answer, in order.
import type { ErrorCode } from '#shared/base/error.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import type { ActorStatus } from '../supervision/child.js';

/** Arguments by call. */
export interface ControlCall {
  actors: null;
  inject: FaultRule;
  kill: { readonly actor: string; readonly force: boolean };
}
export type ControlCallName = keyof ControlCall;

/** Results by call. */
export interface ControlResult {
  actors: readonly ActorStatus[];
  inject: null;
  kill: null;
}

export type ControlRequest = {
  [N in ControlCallName]: { readonly name: N; readonly argument: ControlCall[N] };
}[ControlCallName];

export type ControlAnswer =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false;
      readonly code: ErrorCode;
      readonly message: string;
      readonly hint?: string | undefined;
    };

/** Of a line; longer ones end the connection. */
export const MAX_LINE_BYTES = 64 * 1024;
