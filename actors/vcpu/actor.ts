// A vCPU actor: owns an engine, runs it until it halts or is kicked, and sleeps on its PENDING word while it is halted.
// Between two turns of the loop the state is architectural in the arena.

import { waitPending } from '#shared/x86/vcpu-words.js';
import { assert } from '#shared/base/error.js';
import { monotonicNs } from '#shared/base/clock.js';
import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import { raiseMachineEvent, SHUTDOWN } from '#shared/ipc/machine-event.js';
import { createInterruptFabric } from '#shared/x86/interrupt-fabric.js';
import * as S from '#shared/x86/cpu-state.js';
import { createEngine, loadInterpreterImage } from './engine-wasm/create-engine.js';
import type { EngineTier, VcpuParams } from './protocol.js';
import { createBus, traceInstructions } from './traced-bus.js';

/** Executions of a block before its region is compiled; a compilation costs about as much as 100,000 instructions. */
const HEAT: Readonly<Record<EngineTier, number>> = { interp: 0, auto: 20_000, compiled: 1 };

export function createVcpu(context: ActorContext): ActorBehaviour {
  const params = context.params as VcpuParams;
  const { memory, layout, views } = context;
  const vcpu = params.index;
  const fabric = createInterruptFabric(memory, layout);
  const bus = createBus(context, fabric, vcpu, params.debugExit);
  const { lapic } = bus;
  const { engine, cpu, reset, blocks, tlb, mmu } = createEngine({
    memory,
    layout,
    vcpu,
    fabric,
    lapic,
    bus,
    ports: bus,
    image: loadInterpreterImage(),
    heat: HEAT[params.tier],
    ...traceInstructions(context, vcpu),
  });
  const pending = (layout.vcpus[vcpu]!.state.offset + S.PENDING) >>> 2;

  function powerOn(): void {
    reset.powerOn(vcpu);
    lapic.reset();
    cpu.msrs.reset();
    if (params.initial !== undefined) reset.apply(params.initial);
    cpu.i32[S.ACTIVITY / 4] = vcpu === 0 ? S.ACTIVITY_RUNNING : S.ACTIVITY_WAIT_FOR_SIPI;
    cpu.flushTlb(true);
    cpu.modeChanged();
  }

  if (context.generation === 1) powerOn();
  else takeOver();

  /**
   * Goes on from what an earlier generation left in the arena; TLB, jump caches, decoded code and its claims are caches. The kernel
   * starts no replacement for one that died inside the engine, half an instruction may be done there.
   */
  function takeOver(): void {
    assert(cpu.i32[S.INSIDE_ENGINE / 4] === 0, 'the state of the vCPU is exact');
    refresh();
    blocks.takeOver();
  }

  return {
    poll: () => {
      context.failpoint('run');
      cpu.i32[S.INSIDE_ENGINE / 4] = 1;
      const result = engine.run();
      cpu.i32[S.INSIDE_ENGINE / 4] = 0;
      if (result === 'shutdown') {
        raiseMachineEvent(layout, views.i32, SHUTDOWN, vcpu);
        return false;
      }
      return result === 'kicked';
    },
    waitForWork: (timeoutMs) => {
      const { deadlineNs } = lapic.timer;
      const untilDeadline = deadlineNs === 0 ? Infinity : (deadlineNs - monotonicNs()) / 1e6;
      if (untilDeadline > 0) waitPending(views.i32, pending, Math.min(timeoutMs, untilDeadline));
      if (deadlineNs === 0) return;
      cpu.i32[S.INSIDE_ENGINE / 4] = 1; // a timer half expired would be lost
      lapic.timerExpired(monotonicNs());
      cpu.i32[S.INSIDE_ENGINE / 4] = 0;
      lapic.timer.alertTicker();
    },
    pause: () => {},
    resume: () => lapic.timer.alertTicker(),
    save: () => savePages(),
    restore: (state) => restorePages(state),
    reset: powerOn,
    halt: () => {},
    inspect: () => ({
      rip: BigInt.asUintN(64, cpu.i64[S.RIP / 8]!).toString(16),
      activity: cpu.i32[S.ACTIVITY / 4],
      exits: [...engine.exits],
      blocks: { decoded: blocks.decoded, dropped: blocks.dropped },
      tlb: { fills: tlb.fills, flushes: tlb.flushes },
      mmioAccesses: mmu.mmioAccesses,
    }),
  };

  function savePages(): Uint8Array {
    const { state, lapic: page } = layout.vcpus[vcpu]!;
    const bytes = new Uint8Array(state.bytes + page.bytes);
    bytes.set(views.u8.subarray(state.offset, state.offset + state.bytes));
    bytes.set(views.u8.subarray(page.offset, page.offset + page.bytes), state.bytes);
    return bytes;
  }

  function restorePages(saved: Uint8Array): void {
    const { state, lapic: page } = layout.vcpus[vcpu]!;
    views.u8.set(saved.subarray(0, state.bytes), state.offset);
    views.u8.set(saved.subarray(state.bytes), page.offset);
    blocks.dropAll();
    refresh();
  }

  /** The pages were filled by someone else. */
  function refresh(): void {
    lapic.reload();
    lapic.timer.reload();
    cpu.flushTlb(true);
    cpu.modeChanged();
  }
}
