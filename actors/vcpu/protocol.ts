// What the kernel tells a vCPU actor at its start.

import type { InitialCpuState } from '#shared/boot/initial-state.js';

/**
 * Which tiers of the wasm engine run guest code: the interpreter alone; regions compiled when they are hot (auto) or as
 * soon as possible (compiled).
 */
export const ENGINE_TIERS = ['interp', 'auto', 'compiled'] as const;
export type EngineTier = (typeof ENGINE_TIERS)[number];

/** What runs a guest's code: the host's KVM, our engine, or whichever of them works here. */
export const ACCELS = ['auto', 'kvm', 'wasm'] as const;
export type Accel = (typeof ACCELS)[number];

export interface VcpuParams {
  readonly index: number;
  /** The boot vCPU's hand-over; the others wait for SIPI. */
  readonly initial?: InitialCpuState;
  /** isa-debug-exit answers at port F4h. */
  readonly debugExit: boolean;
  readonly tier: EngineTier;
  /** The wasm engine counts guest instructions and says what it does (shared/ipc/engine-counters.ts). */
  readonly statistics: boolean;
}
