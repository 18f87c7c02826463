// What the kernel tells a vCPU actor at its start.

import type { InitialCpuState } from '#shared/boot/initial-state.js';

export interface VcpuParams {
  readonly index: number;
  /** The boot vCPU's hand-over; the others wait for SIPI. */
  readonly initial?: InitialCpuState;
  /** isa-debug-exit answers at port F4h. */
  readonly debugExit: boolean;
}
