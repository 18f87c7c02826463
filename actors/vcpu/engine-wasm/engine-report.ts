// What a vCPU's engine has done, into its actor's state page (shared/ipc/engine-counters.ts).

import { CounterPage, VCPU_COUNTERS, type VcpuCounts } from '#shared/ipc/engine-counters.js';
import * as S from '#shared/x86/cpu-state.js';
import type { CreatedEngine } from './create-engine.js';

/** Call the result now and then, and where the engine stops. */
export function createEngineReport(
  buffer: ArrayBufferLike,
  offset: number,
  created: () => CreatedEngine,
): () => void {
  // Those of instructions stand in the vCPU's own state page, which is kept as well.
  const gauges = ['instructionsInterpreted', 'instructionsCompiled', 'regionsLive'] as const;
  const page = new CounterPage(buffer, offset, VCPU_COUNTERS, gauges);
  return () => page.write(countsOf(created()));
}

function countsOf({ engine, cpu, blocks, tlb, mmu }: CreatedEngine): VcpuCounts {
  const { regions, exits } = engine;
  return {
    instructionsInterpreted: Number(cpu.i64[S.COUNT_INTERPRETED / 8]!),
    instructionsCompiled: Number(cpu.i64[S.COUNT_COMPILED / 8]!),
    blocksDecoded: blocks.decoded,
    blocksDropped: blocks.dropped,
    regionsRequested: regions.requested,
    regionsInstalled: regions.installed,
    regionsAdopted: regions.adopted,
    regionsLive: regions.live,
    regionsEvicted: regions.evicted,
    regionsLate: regions.late,
    regionsRefused: regions.refused,
    regionBytes: regions.bytes,
    regionMs: regions.spentMs,
    tlbFills: tlb.fills,
    tlbFlushes: tlb.flushes,
    mmioAccesses: mmu.mmioAccesses,
    exceptions: engine.exceptions,
    interrupts: engine.interrupts,
    exitsLookup: exits[S.EXIT_LOOKUP]!,
    exitsPending: exits[S.EXIT_PENDING]!,
    exitsException: exits[S.EXIT_EXCEPTION]!,
    exitsHalt: exits[S.EXIT_HALT]!,
    exitsBranch: exits[S.EXIT_BRANCH]!,
    exitsHot: exits[S.EXIT_HOT]!,
    exitsDropped: exits[S.EXIT_DROPPED]!,
    exitsRepeat: exits[S.EXIT_REPEAT]!,
  };
}
