// Troupe's public API. launch() runs a guest's kernel in a process of its own; a Session runs it in this one (what the
// command line does).
export { TroupeError, type ErrorCode } from '#shared/base/error.js';
export type { FaultAction, FaultPlan, FaultRule } from '#shared/ipc/failpoint.js';
export { LOG_LEVELS, type LogLevel } from '#shared/ipc/log.js';
export { TRACE_CHANNELS, type TraceChannel, type TraceSeed } from '#shared/ipc/trace.js';
export type { AssetProgress } from '#kernel/assets/guest-assets.js';
export type { KernelSeries } from '#kernel/assets/kernel-package.js';
export { launch, type ExecOptions, type ExecResult, type LaunchOptions, type Vm } from './launch.js';
export type { MachineExit } from './machine.js';
export { parseDisk, parseSize, type DiskConfig, type SupervisionConfig } from './machine-config.js';
export { Session, type SessionOptions } from './session.js';
export type { StreamedExec } from './exec-channel.js';
export type { ActorStatus } from './supervision/spawn.js';
export type { ExitReason } from './supervision/supervisor.js';
