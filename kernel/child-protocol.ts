// What a program and the kernel process of its guest say to each other over Node's IPC channel (advanced serialization).
// A call has a number; output of a command comes before its result, under the same number.
import type { ErrorCode } from '#shared/base/error.js';
import type { EngineStatistics } from './engine-statistics.js';
import type { LaunchOptions } from './launch.js';
import type { MachineExit } from './machine.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import type { ActorEvent } from './supervision/actor-event.js';
import type { ActorStatus } from './supervision/child.js';

/** Arguments by call. */
export interface ChildCall {
  open: LaunchOptions;
  exec: { command: string; stdin: Uint8Array | undefined; timeoutMs: number | undefined };
  type: Uint8Array;
  pause: undefined;
  resume: undefined;
  actors: undefined;
  engineStatistics: undefined;
  kill: { actor: string; force: boolean };
  inject: FaultRule;
}
export type ChildCallName = keyof ChildCall;

/** Results by call. */
export interface ChildResult {
  open: undefined;
  exec: number;
  type: undefined;
  pause: undefined;
  resume: undefined;
  actors: ActorStatus[];
  engineStatistics: EngineStatistics | undefined;
  kill: undefined;
  inject: undefined;
}

export type ChildRequest = {
  [N in ChildCallName]: { readonly id: number; readonly name: N; readonly argument: ChildCall[N] };
}[ChildCallName];

export type ChildMessage =
  | { readonly kind: 'stdout' | 'stderr'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | {
      readonly kind: 'error';
      readonly id: number;
      readonly code: ErrorCode | undefined;
      readonly message: string;
      readonly hint: string | undefined;
    }
  | { readonly kind: 'actor-event'; readonly event: ActorEvent }
  | { readonly kind: 'exit'; readonly exit: MachineExit };
