// The KVM engine: KVM_RUN blocks in this worker, and what it exits for is served on the machine's bus. LAPICs are the host
// kernel's, so HLT, IPIs, timers and messages need no exit; the 8259, the IOAPIC and all devices are the machine's own, as
// under the wasm engine. The vCPU's state is in the kernel's descriptor, not in this thread: a worker that dies outside of
// an exit is replaced by one that goes on where it was.

import { type Addon, requireAddon } from '#native/addon.js';
import * as K from '#native/kvm-constants.js';
import { IOAPIC_BASE } from '#shared/acpi/platform.js';
import { monotonicNs, wallNs } from '#shared/base/clock.js';
import { picHasInterrupt } from '#shared/chipset/pic-lines.js';
import type { ActorContext } from '#shared/ipc/actor.js';
import { CHIPSET_BOOT_NS } from '#shared/chipset/page-layout.js';
import { vcpuLockOwner } from '#shared/x86/chipset-lock.js';
import { CpuReset } from '#shared/x86/cpu-reset.js';
import * as S from '#shared/x86/cpu-state.js';
import type { KvmLink } from '#shared/x86/host-interrupts.js';
import { createInterruptFabric, type InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { endOfInterrupt } from '#shared/x86/ioapic-page.js';
import { detachLapicPage } from '#shared/x86/lapic-reset.js';
import { MsrFile } from '#shared/x86/msr.js';
import { clearPending, clearRunFlag, loadPending } from '#shared/x86/vcpu-words.js';
import type { RunResult, VcpuEngine } from '../engine.js';
import type { MachineBus } from '../machine-bus.js';
import type { VcpuParams } from '../protocol.js';
import { copyPagesIn, copyPagesOut } from '../saved-pages.js';
import { createBus } from '../traced-bus.js';
import { setCpuid } from './cpuid-table.js';
import { describeInternalError } from './internal-error.js';
import { ExitDecoder } from './exit-decoder.js';
import { ExternalInterrupt } from './external-interrupt.js';
import { IoapicRoutes } from './ioapic-routes.js';
import { StateTransfer } from './state-transfer.js';

const PAGE = 4096;

export function createKvmEngine(context: ActorContext): VcpuEngine {
  if (context.kvm === undefined) throw new Error('the machine does not run on KVM');
  return new KvmEngine(context, context.kvm);
}

class KvmEngine implements VcpuEngine {
  readonly #context: ActorContext;
  readonly #params: VcpuParams;
  readonly #addon: Addon = requireAddon();
  readonly #link: KvmLink;
  readonly #fd: number;
  readonly #handle: number;
  readonly #fabric: InterruptFabric;
  readonly #bus: MachineBus;
  readonly #decoder: ExitDecoder;
  readonly #transfer: StateTransfer;
  readonly #routes: IoapicRoutes;
  /** Of the boot vCPU: the 8259 knows no other. */
  readonly #external: ExternalInterrupt | undefined;
  readonly #i32: Int32Array;
  readonly #u8: Uint8Array;
  readonly #pending: number;
  readonly #run: number;
  /** INSIDE_ENGINE of the state page: set while an exit is being served. Inside KVM_RUN the state is the kernel's, and whole. */
  readonly #serving: number;
  /** Statistics: exits by reason. */
  readonly #exits = new Float64Array(64);

  constructor(context: ActorContext, link: KvmLink) {
    const params = context.params as VcpuParams;
    const { layout, views, memory } = context;
    const pages = layout.vcpus[params.index]!;
    if (pages.kvmRun === undefined) throw new Error('the arena has no kvm_run page');
    this.#context = context;
    this.#params = params;
    this.#link = link;
    ({ fd: this.#fd, handle: this.#handle } = link.vcpus[params.index]!);
    this.#fabric = createInterruptFabric(memory, layout, context.wire);
    this.#bus = createBus(context, this.#fabric, params.index, params.debugExit);
    this.#u8 = views.u8;
    this.#i32 = views.i32;
    this.#run = pages.kvmRun.offset;
    this.#serving = (pages.state.offset + S.INSIDE_ENGINE) >>> 2;
    this.#pending = (pages.state.offset + S.PENDING) >>> 2;
    this.#decoder = new ExitDecoder(views, this.#run, this.#bus);
    this.#transfer = new StateTransfer(this.#addon, this.#fd, views, pages);
    this.#routes = new IoapicRoutes(this.#addon, link.vmFd, this.#fabric);
    if (params.index !== 0) return;
    this.#external = new ExternalInterrupt(this.#addon, this.#fd, this.#fabric, vcpuLockOwner(0));
  }

  run(): RunResult {
    const i32 = this.#i32;
    const run = this.#run;
    const external = this.#external;
    for (;;) {
      if (external !== undefined && !this.#offerExternalInterrupt(external)) return 'shutdown';
      // In this order: a kick sets PENDING, then immediate_exit. See kickVcpu in native/src/vcpu.cc.
      clearRunFlag(this.#u8, run + K.RUN_IMMEDIATE_EXIT);
      if (loadPending(i32, this.#pending) !== 0) {
        if (this.#servePending()) return this.#settle();
        continue; // the 8259 may have asked
      }
      const reason = this.#addon.runVcpu(this.#handle);
      if (reason < 0) continue;
      if (!this.#serveWhole(reason)) return 'shutdown';
    }
  }

  waitForWork(): void {
    // A halted vCPU waits inside KVM_RUN; there is nothing to sleep for here.
  }

  powerOn(): void {
    const { index, initial } = this.#params;
    const { memory, layout, ram } = this.#context;
    const { lapic } = this.#bus;
    const reset = new CpuReset(memory.buffer, layout.vcpus[index]!.state.offset);
    reset.powerOn(index);
    lapic.reset();
    new MsrFile(this.#fabric, index, lapic, ram, { nowNs: monotonicNs, wallNs }).reset();
    if (initial !== undefined) reset.apply(initial);
    const state = this.#state;
    state.setInt32(S.ACTIVITY, index === 0 ? S.ACTIVITY_RUNNING : S.ACTIVITY_WAIT_FOR_SIPI, true);
    const context = { apicId: index, vcpuCount: layout.vcpus.length, apicEnabled: true };
    setCpuid(this.#addon, this.#fd, context, this.#addon.tscKhz(this.#fd));
    this.#transfer.promiseSteadyTsc();
    this.#push();
  }

  takeOver(): void {
    this.#routes.refresh();
  }

  pause(): void {
    this.#settle();
    this.#external?.takeBack();
  }

  resume(): void {
    this.#addon.clockStopped(this.#fd);
  }

  save(): Uint8Array {
    this.#transfer.pull();
    const saved = copyPagesOut(this.#u8, this.#context.layout.vcpus[this.#params.index]!);
    this.#transfer.forgetPulled();
    detachLapicPage(this.#fabric, this.#params.index);
    return saved;
  }

  restore(saved: Uint8Array): void {
    copyPagesIn(this.#u8, this.#context.layout.vcpus[this.#params.index]!, saved);
    this.#obeyStartup();
    this.#push();
  }

  inspect(): Readonly<Record<string, unknown>> {
    const regs = new Uint8Array(this.#addon.stateBytes('regs'));
    this.#addon.getState(this.#fd, 'regs', regs);
    return {
      rip: new DataView(regs.buffer).getBigUint64(128, true).toString(16),
      exits: [...this.#exits],
    };
  }

  /** INIT and SIPI that an engine with LAPICs of its own was told and had not obeyed yet. */
  #obeyStartup(): void {
    const { index } = this.#params;
    const state = this.#state;
    const reset = new CpuReset(this.#context.memory.buffer, this.#context.layout.vcpus[index]!.state.offset);
    const was = clearPending(this.#i32, this.#pending, S.PENDING_INIT | S.PENDING_SIPI);
    if ((was & S.PENDING_INIT) !== 0) {
      reset.init();
      this.#bus.lapic.resetForInit();
      state.setInt32(S.ACTIVITY, index === 0 ? S.ACTIVITY_RUNNING : S.ACTIVITY_WAIT_FOR_SIPI, true);
    }
    if ((was & S.PENDING_SIPI) === 0) return;
    if (state.getInt32(S.ACTIVITY, true) !== S.ACTIVITY_WAIT_FOR_SIPI) return;
    reset.sipi(state.getInt32(S.SIPI_VECTOR, true) & 0xff);
    state.setInt32(S.ACTIVITY, S.ACTIVITY_RUNNING, true);
  }

  get #state(): DataView {
    const { offset, bytes } = this.#context.layout.vcpus[this.#params.index]!.state;
    return new DataView(this.#context.memory.buffer, offset, bytes);
  }

  /** The pages' state into KVM; the machine's clock goes on from the chipset's boot time. */
  #push(): void {
    // Of another state.
    this.#u8[this.#run + K.RUN_READY_FOR_INTERRUPT_INJECTION] = 0;
    if (this.#params.index === 0) {
      const bootNs = new Float64Array(
        this.#fabric.words.buffer,
        this.#fabric.chipset * 4 + CHIPSET_BOOT_NS,
        1,
      )[0]!;
      const clock = new Uint8Array(this.#addon.stateBytes('clock'));
      const clockNs = BigInt(Math.max(0, Math.floor(monotonicNs() - bootNs)));
      new DataView(clock.buffer).setBigUint64(0, clockNs, true);
      this.#addon.setState(this.#link.vmFd, 'clock', clock);
      this.#routes.refresh();
    }
    this.#transfer.push();
    this.#transfer.forgetPulled();
    detachLapicPage(this.#fabric, this.#params.index);
  }

  /** Completes the last exit without running the guest: only then may its registers be read or written. */
  #settle(): RunResult {
    for (;;) {
      this.#addon.kickVcpu(this.#handle);
      const reason = this.#addon.runVcpu(this.#handle);
      if (reason < 0) break;
      // The access had more than one part.
      if (!this.#serveWhole(reason)) return 'shutdown';
    }
    clearRunFlag(this.#u8, this.#run + K.RUN_IMMEDIATE_EXIT);
    return 'kicked';
  }

  #serveWhole(reason: number): boolean {
    this.#exits[reason]!++;
    this.#i32[this.#serving] = 1;
    const goesOn = this.#serve(reason);
    this.#i32[this.#serving] = 0;
    return goesOn;
  }

  /** False: the guest has shut down. */
  #serve(reason: number): boolean {
    switch (reason) {
      case K.KVM_EXIT_IO:
        this.#decoder.servePort();
        return true;
      case K.KVM_EXIT_MMIO: {
        const address = this.#decoder.serveMmio();
        if (address >= IOAPIC_BASE && address < IOAPIC_BASE + PAGE) this.#routes.refresh();
        return true;
      }
      case K.KVM_EXIT_IOAPIC_EOI:
        endOfInterrupt(this.#fabric, this.#u8[this.#run + K.RUN_EXIT]!);
        return true;
      case K.KVM_EXIT_IRQ_WINDOW_OPEN:
      case K.KVM_EXIT_INTR:
      case K.KVM_EXIT_DEBUG:
      case K.KVM_EXIT_SET_TPR:
        return true;
      case K.KVM_EXIT_SHUTDOWN:
      case K.KVM_EXIT_SYSTEM_EVENT:
        return false;
      default:
        throw new Error(describeInternalError(this.#addon, this.#fd, this.#context, this.#run, reason));
    }
  }

  /** True when the kernel wants the thread. The other bits are only reasons to look around. */
  #servePending(): boolean {
    const was = clearPending(this.#i32, this.#pending, -1);
    return (was & S.PENDING_KICK) !== 0;
  }

  /** KVM says when the vCPU's LINT0 and its flags would take the 8259's interrupt. False: the guest has shut down. */
  #offerExternalInterrupt(external: ExternalInterrupt): boolean {
    const waiting = picHasInterrupt(this.#fabric);
    this.#u8[this.#run + K.RUN_REQUEST_INTERRUPT_WINDOW] = waiting ? 1 : 0;
    if (!waiting || !this.#isReadyForInterrupt) return true;
    // What is left to do of the exit in hand may change that.
    if (this.#settle() === 'shutdown') return false;
    if (!this.#isReadyForInterrupt) return true;
    this.#i32[this.#serving] = 1;
    external.deliver();
    this.#i32[this.#serving] = 0;
    this.#u8[this.#run + K.RUN_READY_FOR_INTERRUPT_INJECTION] = 0;
    this.#u8[this.#run + K.RUN_REQUEST_INTERRUPT_WINDOW] = picHasInterrupt(this.#fabric) ? 1 : 0;
    return true;
  }

  get #isReadyForInterrupt(): boolean {
    return this.#u8[this.#run + K.RUN_READY_FOR_INTERRUPT_INJECTION] !== 0;
  }
}
