// What happens to the actors of a machine, as the kernel sees it; for listeners, the log of a machine's life and reports.
import type { FaultAction } from '#shared/ipc/fault-plan.js';
import type { ExitReason } from './supervisor.js';

interface OfActor {
  /** Since the machine's start. */
  readonly atMs: number;
  readonly actor: string;
  readonly kind: string;
  readonly generation: number;
}

export type ActorEvent =
  /** A thread ended that was not asked to. */
  | ({ readonly type: 'actor:exit'; readonly reason: ExitReason; readonly message: string } & OfActor)
  /** Its replacement polls; `downMs` after the last one that did was seen to end. */
  | ({ readonly type: 'actor:restart'; readonly downMs: number; readonly fromSpare: boolean } & OfActor)
  /** Supervision gives up; the machine ends. */
  | { readonly type: 'actor:escalate'; readonly atMs: number; readonly message: string }
  /** A rule of the fault plan struck, `count` times since it was last told. */
  | {
      readonly type: 'fault';
      readonly atMs: number;
      readonly actor: string;
      readonly kind: string;
      readonly action: FaultAction;
      /** As `--fault` takes it. */
      readonly rule: string;
      readonly count: number;
    };

export type ActorEventType = ActorEvent['type'];
export type ActorEventOf<T extends ActorEventType> = Extract<ActorEvent, { readonly type: T }>;
