// The wasm engine as a vCPU actor's engine. State is architectural in the arena whenever run() has returned; a halted vCPU
// sleeps on its PENDING word.

import { monotonicNs } from '#shared/base/clock.js';
import { assert } from '#shared/base/error.js';
import type { ActorContext } from '#shared/ipc/actor.js';
import * as S from '#shared/x86/cpu-state.js';
import { createInterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { enterEngine, leaveEngine } from '#shared/x86/vcpu-words.js';
import type { VcpuEngine } from '../engine.js';
import type { EngineTier, VcpuParams } from '../protocol.js';
import { copyPagesIn, copyPagesOut } from '../saved-pages.js';
import { createBus, traceInstructions } from '../traced-bus.js';
import { openCompilerLink } from './compiler-link.js';
import { createEngine, loadInterpreterImage } from './create-engine.js';
import { HaltPoll } from './halt-poll.js';
import { createEngineReport } from './engine-report.js';
import type { RegionTier } from './region-tier.js';

/** Executions of a block before its region is asked for. */
const HEAT: Readonly<Record<EngineTier, number>> = { interp: 0, auto: 4000, compiled: 1 };

export { loadInterpreterImage as warmUp } from './create-engine.js';

export function createWasmEngine(context: ActorContext): VcpuEngine {
  const params = context.params as VcpuParams;
  const { memory, layout, views } = context;
  const vcpu = params.index;
  const fabric = createInterruptFabric(memory, layout);
  const bus = createBus(context, fabric, vcpu, params.debugExit);
  const { lapic } = bus;
  const statePage = layout.actors[context.name]!.statePage;
  const report = params.statistics
    ? createEngineReport(memory.buffer, statePage.offset, () => created)
    : undefined;
  const created = createEngine({
    memory,
    layout,
    vcpu,
    fabric,
    lapic,
    bus,
    ports: bus,
    image: loadInterpreterImage(),
    heat: HEAT[params.tier],
    regionService: openCompilerLink(context),
    generation: context.generation,
    counts: params.statistics,
    beat: context.beat,
    ...(report && { report }),
    ...traceInstructions(context, vcpu),
  });
  const { engine, cpu, reset, blocks, tlb, mmu } = created;
  const pages = layout.vcpus[vcpu]!;
  const pending = (pages.state.offset + S.PENDING) >>> 2;
  const inside = (pages.state.offset + S.INSIDE_ENGINE) >>> 2;

  const haltPoll = new HaltPoll();

  /** The pages were filled by someone else. */
  function refresh(): void {
    lapic.reload();
    lapic.timer.reload();
    cpu.flushTlb(true);
    cpu.modeChanged();
  }

  return {
    run: () => {
      enterEngine(views.i32, inside);
      const result = engine.run();
      leaveEngine(views.i32, inside);
      report?.();
      return result;
    },
    waitForWork: (timeoutMs) => {
      const { deadlineNs } = lapic.timer;
      const untilDeadline = deadlineNs === 0 ? Infinity : (deadlineNs - monotonicNs()) / 1e6;
      if (untilDeadline > 0) haltPoll.wait(views.i32, pending, Math.min(timeoutMs, untilDeadline));
      if (deadlineNs === 0) return;
      enterEngine(views.i32, inside); // a timer half expired would be lost
      lapic.timerExpired(monotonicNs());
      leaveEngine(views.i32, inside);
      lapic.timer.alertTicker();
    },
    powerOn: () => {
      reset.powerOn(vcpu);
      lapic.reset();
      cpu.msrs.reset();
      if (params.initial !== undefined) reset.apply(params.initial);
      cpu.i32[S.ACTIVITY / 4] = vcpu === 0 ? S.ACTIVITY_RUNNING : S.ACTIVITY_WAIT_FOR_SIPI;
      cpu.flushTlb(true);
      cpu.modeChanged();
    },
    // TLB, jump caches, decoded code and its claims are caches.
    takeOver: () => {
      assert(cpu.i32[S.INSIDE_ENGINE / 4] === 0, 'the state of the vCPU is exact');
      refresh();
      blocks.takeOver();
    },
    pause: () => {},
    resume: () => lapic.timer.alertTicker(),
    save: () => copyPagesOut(views.u8, pages),
    restore: (saved) => {
      copyPagesIn(views.u8, pages, saved);
      blocks.dropAll();
      refresh();
    },
    inspect: () => ({
      rip: BigInt.asUintN(64, cpu.i64[S.RIP / 8]!).toString(16),
      activity: cpu.i32[S.ACTIVITY / 4],
      exits: [...engine.exits],
      blocks: { decoded: blocks.decoded, dropped: blocks.dropped },
      tlb: { fills: tlb.fills, flushes: tlb.flushes },
      mmioAccesses: mmu.mmioAccesses,
      regions: describeRegions(engine.regions),
    }),
  };
}

function describeRegions(regions: RegionTier): Record<string, number> {
  const { live, modules, requested, installed, refused, evicted, late, bytes, spentMs } = regions;
  return { live, modules, requested, installed, refused, evicted, late, bytes, spentMs };
}
