// Troupe's public API. launch() runs a guest's kernel in a process of its own; a Session runs it in this one (what the
// command line does).
export { TroupeError, type ErrorCode } from '#shared/base/error.js';
export { FAULT_ACTIONS, type FaultAction, type FaultPlan, type FaultRule } from '#shared/ipc/fault-plan.js';
export type { Accel, EngineTier } from '#actors/vcpu/protocol.js';
export { examineHost, type HostFinding } from '#kernel/accel/host-report.js';
export type { AccelChoice } from '#kernel/accel/choose-accel.js';
export { LOG_LEVELS, type LogLevel } from '#shared/ipc/log.js';
export { TRACE_CHANNELS, type TraceChannel, type TraceSeed } from '#shared/ipc/trace.js';
export type { AssetProgress } from '#kernel/assets/guest-assets.js';
export type { KernelSeries } from '#kernel/assets/kernel-package.js';
export { launch, type ExecOptions, type ExecResult, type LaunchOptions, type Vm } from './launch.js';
export type { EngineStatistics } from './engine-statistics.js';
export type { MachineExit } from './machine.js';
export { parseDisk, parseSize, type DiskConfig, type SupervisionConfig } from './machine-config.js';
export { Session, type SessionOptions } from './session.js';
export { yieldToActors } from '#kernel/supervision/helper-threads.js';
export type { StreamedExec } from './exec-channel.js';
export { formatFault, parseFault, parseFaultOf, parseTimeMs } from '#shared/ipc/fault-text.js';
export { chaos, type ChaosOptions } from './chaos/chaos.js';
export type { ChaosReport } from './chaos/chaos-report.js';
export type { ChaosRun } from './chaos/chaos-run.js';
export { GuestControl } from './control/control-client.js';
export { defaultGuestName, guestNames } from './control/guest-name.js';
export { readFaultPlan } from './fault/plan-file.js';
export type { ActorEvent, ActorEventOf, ActorEventType } from './supervision/actor-event.js';
export type { ActorState, ActorStatus } from './supervision/child.js';
export type { ExitReason } from './supervision/supervisor.js';
