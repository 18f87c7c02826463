// What a vCPU actor wants of the engine that runs guest code, whichever it is. Between two calls the vCPU's state belongs
// to the engine: in the arena's pages (wasm) or in the host kernel (KVM). save() and restore() speak one format, so that
// a vCPU can go from one engine to the other.

/** Why run() came back. */
export type RunResult = 'halted' | 'kicked' | 'waiting-for-sipi' | 'shutdown' | 'intercepted';

export interface VcpuEngine {
  /** Runs guest code until it halts, is kicked or shuts down. */
  run(): RunResult;
  /** Sleeps while halted, at most `timeoutMs`; a kick ends it. */
  waitForWork(timeoutMs: number): void;
  /** The state at power-on, with the boot protocol's hand-over. */
  powerOn(): void;
  /**
   * Goes on from what an earlier generation of the actor left. The kernel starts no replacement for one that died where the state was
   * not exact (INSIDE_ENGINE of the state page).
   */
  takeOver(): void;
  /** No guest code runs until {@link resume}. */
  pause(): void;
  resume(): void;
  /** The vCPU's state page and LAPIC page (shared/x86/cpu-state.ts, lapic-layout.ts). */
  save(): Uint8Array;
  restore(saved: Uint8Array): void;
  /** For monitors and tests; structured-cloneable. */
  inspect(): Readonly<Record<string, unknown>>;
}
