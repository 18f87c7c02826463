// The wasm engine's run loop: enters generated code, and between entries looks blocks up, delivers events, and serves
// what other threads ask for through the PENDING word. State is architectural in the state page whenever run() returns.

import { clearPending, loadPending, setOwnPending } from '#shared/x86/vcpu-words.js';
import type { Region } from '#shared/base/region.js';
import type { BlockCache } from './block-cache.js';
import type { CodeFetch } from './code-fetch.js';
import type { Cpu } from './cpu.js';
import { GuestFault } from './cpu-context.js';
import { deliverDebug, deliverEvent, DR6_BS } from './helpers/exceptions.js';
import { HELPERS } from './helpers/index.js';
import type { FlushRequests } from './flush-request.js';
import { uncountRest } from './instruction-count.js';
import type { Mmu } from './mmu.js';
import { PendingService, wakeHalted } from './pending-service.js';
import type { RegionImports, RegionSlow, RegionTier } from './region-tier.js';
import { REGION_SLOW_PATHS, regionSlowName } from '#shared/translate/region-slow.js';
import { RECORD_IP_OFFSET } from '#shared/translate/op-record.js';
import type { RunResult } from '../engine.js';
import type { CpuReset } from '#shared/x86/cpu-reset.js';
import * as S from '#shared/x86/cpu-state.js';
import type { Lapic } from '#shared/x86/lapic.js';

export interface InterpreterImage {
  readonly module: WebAssembly.Module;
  /** Names of the module's imports helper.0, helper.1 … */
  readonly helpers: readonly string[];
}

export interface EngineParts {
  readonly memory: WebAssembly.Memory;
  readonly image: InterpreterImage;
  readonly i32: Int32Array;
  readonly view: DataView;
  readonly state: Region;
  readonly cpu: Cpu;
  readonly mmu: Mmu;
  readonly blocks: BlockCache;
  readonly code: CodeFetch;
  readonly flushRequests: FlushRequests;
  readonly lapic: Lapic;
  readonly reset: CpuReset;
  /** Blocks count their instructions. */
  readonly counts: boolean;
  /** Called now and then while the engine runs, for statistics. */
  report?(): void;
  nowNs(): number;
  /** Makes the compiled tier over the interpreter's imports and function table. */
  regionTier(imports: RegionImports, table: WebAssembly.Table): RegionTier;
  /** Sees an exception before it is delivered; true keeps it from the guest and ends run(). For test harnesses. */
  interceptException?(vector: number, errorCode: number): boolean;
  /** Runs one instruction at a time and is called before each, RIP in the state page. */
  traceInstruction?(): void;
}

const TF = 1 << 8;
const RF = 1 << 16;

interface InterpreterImports extends WebAssembly.Imports {
  readonly env: { readonly memory: WebAssembly.Memory };
  readonly slow: Readonly<Record<string, (record: number, argument: number) => number>>;
  readonly helper: RegionImports['helper'];
}

type DeliverRoutine = (cpu: number, vector: number, errorCode: number, resumeFlag: number) => number;

export class Engine {
  readonly #p: EngineParts;
  readonly #enter: (record: number, cpu: number) => number;
  /** Enters what the jump cache has for RIP, in 64-bit code; leaves with EXIT_LOOKUP where it has nothing. */
  readonly #resume: (record: number, cpu: number) => number;
  /** The usual cases of {@link deliverEvent}; see shared/x86/routines/event-delivery.ts. */
  readonly #deliverLong: DeliverRoutine;
  readonly regions: RegionTier;
  readonly #pending: PendingService;
  readonly #i32: Int32Array;
  readonly #base: number;
  /** Statistics: entries into generated code by the value that it left with. */
  readonly exits = new Float64Array(S.EXIT_KINDS);
  exceptions = 0;
  #intercepted = false;

  constructor(parts: EngineParts) {
    this.#p = parts;
    this.#i32 = parts.cpu.i32;
    this.#base = parts.state.offset;
    const imports = this.#imports(parts.image.helpers);
    const instance = new WebAssembly.Instance(parts.image.module, imports);
    const helper = Object.fromEntries(
      parts.image.helpers.map((name, i) => [name, imports.helper[String(i)]!]),
    );
    const slow = Object.fromEntries(
      REGION_SLOW_PATHS.map((path) => [path, instance.exports[regionSlowName(path)] as RegionSlow]),
    );
    this.regions = parts.regionTier(
      { env: imports.env, helper, slow, routine: instance.exports },
      instance.exports['table'] as WebAssembly.Table,
    );
    this.#pending = new PendingService({
      ...parts,
      regions: this.regions,
      deliver: (vector, kind) => this.#deliver(vector, kind),
    });
    this.#enter = instance.exports['enter'] as (record: number, cpu: number) => number;
    this.#resume = instance.exports['resume'] as (record: number, cpu: number) => number;
    this.#deliverLong = instance.exports['deliverLong'] as DeliverRoutine;
    parts.cpu.modeChanged();
  }

  /** Statistics: external interrupts delivered. */
  get interrupts(): number {
    return this.#pending.interrupts;
  }

  #imports(names: readonly string[]): InterpreterImports {
    const { mmu, cpu, memory } = this.#p;
    const guard =
      (work: (record: number, argument: number) => void) =>
      (record: number, argument: number): number => {
        try {
          work(record, argument);
          return S.EXIT_NONE;
        } catch (fault) {
          // A region has told RIP.
          if (record !== 0) this.#syncIp(record);
          return this.#fault(fault);
        }
      };
    const helper: Record<string, (record: number, a0: number, a1: number, a2: number) => number> = {};
    for (let i = 0; i < 512; i++) {
      const implementation = HELPERS[names[i] ?? ''];
      const name = names[i];
      if (name !== undefined && implementation === undefined) throw new Error(`no helper called ${name}`);
      helper[String(i)] =
        implementation === undefined
          ? () => S.EXIT_NONE
          : (_record, a0, a1, a2) => {
              try {
                return implementation(cpu, a0, a1, a2);
              } catch (fault) {
                return this.#fault(fault);
              }
            };
    }
    return {
      env: { memory },
      helper,
      slow: {
        read: guard((record, bytes) => mmu.slowRead(record, bytes)),
        write: guard((record, bytes) => mmu.slowWrite(record, bytes)),
        modifyBegin: guard((record, argument) => mmu.slowModifyBegin(record, argument)),
        modifyEnd: guard((record, argument) => mmu.slowModifyEnd(record, argument)),
      },
    };
  }

  /** RIP of a record, in the state page. */
  #syncIp(record: number): void {
    const low = this.#i32[S.BLOCK_RIP / 4]! >>> 0;
    const sum = low + this.#p.view.getUint16(record + RECORD_IP_OFFSET, true);
    let high = this.#i32[S.BLOCK_RIP / 4 + 1]! + (sum > 0xffffffff ? 1 : 0);
    const mode = this.#i32[S.CODE_MODE / 4]! & S.MODE_CODE_MASK;
    let ip = sum | 0;
    if (mode !== S.MODE_64) high = 0;
    if (mode === S.MODE_16) ip &= 0xffff;
    this.#i32[S.RIP / 4] = ip;
    this.#i32[S.RIP / 4 + 1] = high;
  }

  /** Notes a guest's fault for the run loop; passes our own bugs on. */
  #fault(fault: unknown): number {
    this.#p.mmu.abandon();
    if (!(fault instanceof GuestFault)) throw fault;
    this.#i32[S.EXCEPTION_VECTOR / 4] = fault.vector;
    this.#i32[S.EXCEPTION_ERROR_CODE / 4] = fault.errorCode;
    return S.EXIT_EXCEPTION;
  }

  /** Runs until halted, kicked or shut down. */
  run(): RunResult {
    const i32 = this.#i32;
    for (;;) {
      if (i32[S.INTERRUPT_SHADOW / 4] === S.SHADOW_STI) this.#endShadow();
      if (loadPending(i32, S.PENDING / 4) !== 0 && this.#pending.serve()) return 'kicked';
      const activity = i32[S.ACTIVITY / 4]!;
      if (activity !== S.ACTIVITY_RUNNING) {
        if (activity === S.ACTIVITY_SHUTDOWN) return 'shutdown';
        return activity === S.ACTIVITY_HALTED ? 'halted' : 'waiting-for-sipi';
      }
      const { traceInstruction } = this.#p;
      traceInstruction?.();
      const step =
        traceInstruction !== undefined ||
        i32[S.INTERRUPT_SHADOW / 4] !== 0 ||
        this.#p.cpu.debug.armed ||
        (i32[S.RFLAGS_SYSTEM / 4]! & TF) !== 0;
      if (step) this.#runStep();
      else this.#runBlocks();
      if (this.#intercepted) {
        this.#intercepted = false;
        return 'intercepted';
      }
    }
  }

  /** Generated code goes on past the instruction after an STI without ending the shadow. */
  #endShadow(): void {
    const i32 = this.#i32;
    const there = i32[S.RIP / 4] === i32[S.SHADOW_IP / 4] && i32[S.RIP / 4 + 1] === i32[S.SHADOW_IP / 4 + 1];
    if (!there) i32[S.INTERRUPT_SHADOW / 4] = S.SHADOW_NONE;
  }

  /** Enters generated code until it leaves for something other than a block to look up. */
  #runBlocks(): void {
    const i32 = this.#i32;
    i32[S.LINK_SITE / 4] = 0;
    let exit: number = S.EXIT_LOOKUP;
    // Where events and helpers lead is mostly known to the jump cache.
    if ((i32[S.CODE_MODE / 4]! & S.MODE_CODE_MASK) === S.MODE_64)
      exit = this.#left(this.#resume(0, this.#base));
    // What is pending already waits for the first block that is entered, or none ever might.
    for (let entered = false; ; entered = true) {
      let linkSite = 0;
      if (exit === S.EXIT_LOOKUP || exit === S.EXIT_DROPPED || exit === S.EXIT_REPEAT) {
        linkSite = i32[S.LINK_SITE / 4]! >>> 0;
        if (entered && loadPending(i32, S.PENDING / 4) !== 0) return;
      } else if (exit === S.EXIT_HOT) this.#compile();
      else {
        this.#afterExit(exit);
        return;
      }
      const record = this.#findRecord(linkSite);
      if (record < 0) return;
      i32[S.BLOCK_RIP / 4] = i32[S.RIP / 4]!;
      i32[S.BLOCK_RIP / 4 + 1] = i32[S.RIP / 4 + 1]!;
      i32[S.LINK_SITE / 4] = 0;
      exit = this.#left(this.#enter(record, this.#base));
    }
  }

  /** Counts what generated code left with. */
  #left(exit: number): number {
    this.exits[exit]!++;
    if (this.#p.counts) uncountRest(this.#i32, this.#p.view, exit);
    return exit;
  }

  /** The block at RIP ran often: asks for its region. */
  #compile(): void {
    try {
      this.regions.request(this.#p.code.lookup(false));
      this.regions.collect();
    } catch (fault) {
      // The translation changed just now: the run loop will meet the same fault.
      if (!(fault instanceof GuestFault)) throw fault;
    }
  }

  /** The record to enter at RIP; links the site that asked for it when both lie in one page. −1 when the fetch faulted. */
  #findRecord(linkSite: number): number {
    const { blocks, code } = this.#p;
    const i32 = this.#i32;
    const generation = blocks.generation;
    try {
      const block = code.lookup(false);
      if (
        linkSite !== 0 &&
        block.crossing < 0 &&
        generation === blocks.generation &&
        i32[S.BLOCK_RIP / 4]! >>> 12 === i32[S.RIP / 4]! >>> 12 &&
        i32[S.BLOCK_RIP / 4 + 1] === i32[S.RIP / 4 + 1]
      ) {
        this.#p.i32[linkSite >>> 2] = block.record;
      }
      return block.record;
    } catch (fault) {
      this.#fault(fault);
      this.#deliverException();
      return -1;
    }
  }

  /** One instruction: under an interrupt shadow, a single step or an armed breakpoint. SDM vol. 3 §18.3.1. */
  #runStep(): void {
    const i32 = this.#i32;
    const { cpu, code } = this.#p;
    const flags = i32[S.RFLAGS_SYSTEM / 4]!;
    const shadow = i32[S.INTERRUPT_SHADOW / 4]!;
    if (cpu.debug.armed && (flags & RF) === 0 && shadow !== S.SHADOW_SS && this.#breakAtInstruction()) return;
    i32[S.RFLAGS_SYSTEM / 4] = flags & ~RF; // it spares this instruction; IRET may set it for the next
    let record: number;
    try {
      record = code.lookup(true).record;
    } catch (fault) {
      this.#fault(fault);
      this.#deliverException();
      return;
    }
    i32[S.INTERRUPT_SHADOW / 4] = S.SHADOW_NONE;
    cpu.stepTrap = 'before';
    setOwnPending(i32, S.PENDING / 4, S.PENDING_STEP);
    i32[S.BLOCK_RIP / 4] = i32[S.RIP / 4]!;
    i32[S.BLOCK_RIP / 4 + 1] = i32[S.RIP / 4 + 1]!;
    const exit = this.#enter(record, this.#base);
    this.exits[exit]!++;
    if (this.#p.counts) uncountRest(i32, this.#p.view, exit);
    clearPending(i32, S.PENDING / 4, S.PENDING_STEP);
    const resume = i32[S.RFLAGS_SYSTEM / 4]! & RF;
    this.#afterExit(exit);
    if (exit === S.EXIT_EXCEPTION || exit === S.EXIT_SHUTDOWN) {
      cpu.debug.takeHits(); // a fault comes before the traps of what did not complete
      return;
    }
    i32[S.RFLAGS_SYSTEM / 4]! |= resume;
    const held = i32[S.INTERRUPT_SHADOW / 4] === S.SHADOW_SS;
    // Two in a row hold interrupts for one instruction only.
    if (shadow !== S.SHADOW_NONE && !held) i32[S.INTERRUPT_SHADOW / 4] = S.SHADOW_NONE;
    // A load of SS holds traps too: breakpoints show after the next instruction, a step is lost.
    if (!held) this.#trapAfterStep((flags & TF) !== 0);
  }

  /** Delivers the fault of an instruction breakpoint at RIP, if there is one. */
  #breakAtInstruction(): boolean {
    const i32 = this.#i32;
    const { cpu } = this.#p;
    const long = (i32[S.CODE_MODE / 4]! & S.MODE_CODE_MASK) === S.MODE_64;
    const base = i32[(S.SEGMENT + S.CS * S.SEGMENT_BYTES + S.SEGMENT_BASE) / 4]!;
    const low = long ? i32[S.RIP / 4]! : (i32[S.RIP / 4]! + base) | 0;
    const hits = cpu.debug.executionHits(low, long ? i32[S.RIP / 4 + 1]! : 0);
    if (hits === 0) return false;
    this.#deliverDebug(hits, 'fault');
    return true;
  }

  #trapAfterStep(trapFlag: boolean): void {
    const { cpu } = this.#p;
    const i32 = this.#i32;
    const rule = cpu.stepTrap;
    const stepped = rule === 'after' ? (i32[S.RFLAGS_SYSTEM / 4]! & TF) !== 0 : trapFlag && rule === 'before';
    const bits = cpu.debug.takeHits() | (stepped ? DR6_BS : 0);
    if (bits === 0) return;
    wakeHalted(i32);
    this.#deliverDebug(bits, 'trap');
  }

  #deliverDebug(dr6Bits: number, kind: 'fault' | 'trap'): void {
    if (deliverDebug(this.#p.cpu, dr6Bits, kind) === S.EXIT_SHUTDOWN)
      this.#i32[S.ACTIVITY / 4] = S.ACTIVITY_SHUTDOWN;
  }

  #afterExit(exit: number): void {
    const i32 = this.#i32;
    switch (exit) {
      case S.EXIT_EXCEPTION:
        this.#deliverException();
        return;
      case S.EXIT_HALT:
        i32[S.ACTIVITY / 4] = S.ACTIVITY_HALTED;
        i32[S.INTERRUPT_SHADOW / 4] = S.SHADOW_NONE; // HLT was the one instruction after STI
        return;
      case S.EXIT_SHUTDOWN:
        i32[S.ACTIVITY / 4] = S.ACTIVITY_SHUTDOWN;
        return;
      default:
        i32[S.RFLAGS_SYSTEM / 4]! &= ~RF;
    }
  }

  #deliverException(): void {
    const i32 = this.#i32;
    const vector = i32[S.EXCEPTION_VECTOR / 4]!;
    const errorCode = i32[S.EXCEPTION_ERROR_CODE / 4]!;
    i32[S.EXCEPTION_VECTOR / 4] = -1;
    if (this.#p.interceptException?.(vector, errorCode) === true) {
      this.#intercepted = true;
      return;
    }
    this.exceptions++;
    if (this.#deliverLong(this.#base, vector, errorCode, RF) !== 0) return;
    const event =
      errorCode < 0 ? { vector, kind: 'fault' as const } : { vector, errorCode, kind: 'fault' as const };
    if (deliverEvent(this.#p.cpu, event) === S.EXIT_SHUTDOWN) i32[S.ACTIVITY / 4] = S.ACTIVITY_SHUTDOWN;
  }

  #deliver(vector: number, kind: 'external' | 'nmi'): void {
    if (this.#deliverLong(this.#base, vector, -1, 0) !== 0) return;
    if (deliverEvent(this.#p.cpu, { vector, kind }) === S.EXIT_SHUTDOWN)
      this.#i32[S.ACTIVITY / 4] = S.ACTIVITY_SHUTDOWN;
  }
}
