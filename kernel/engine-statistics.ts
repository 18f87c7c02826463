// What the wasm engine of a machine has done so far, read from the arena.
import { COMPILER_NAME } from '#actors/compiler/protocol.js';
import {
  COMPILER_COUNTERS,
  VCPU_COUNTERS,
  readCounters,
  type CompilerCounts,
  type VcpuCounts,
} from '#shared/ipc/engine-counters.js';
import { vcpuName, type MachineLayout } from '#shared/memory/machine-layout.js';

/** Counts from the machine's start; the vCPUs write theirs some hundred times a second while they run and when they halt. */
export interface EngineStatistics {
  readonly vcpus: readonly VcpuCounts[];
  /** Absent with tier 'interp'. */
  readonly compiler?: CompilerCounts;
}

export function readEngineStatistics(buffer: ArrayBufferLike, layout: MachineLayout): EngineStatistics {
  const read = <Name extends string>(actor: string, names: readonly Name[]): Record<Name, number> =>
    readCounters(buffer, layout.actors[actor]!.statePage.offset, names);
  const vcpus = layout.vcpus.map((_, index) => read(vcpuName(index), VCPU_COUNTERS));
  if (layout.actors[COMPILER_NAME] === undefined) return { vcpus };
  return { vcpus, compiler: read(COMPILER_NAME, COMPILER_COUNTERS) };
}
