// Puts one vCPU's engine together from its part of the arena and its surroundings.

import { existsSync, readFileSync } from 'node:fs';
import { monotonicNs } from '#shared/base/clock.js';
import { CodeMap } from '#shared/memory/code-map.js';
import { GuestMemory } from '#shared/memory/guest-memory.js';
import type { MachineLayout } from '#shared/memory/machine-layout.js';
import { LocalCompiler } from '#shared/translate/local-compiler.js';
import { RecordWriter } from '#shared/translate/record-writer.js';
import { ShapeIndex } from '#shared/translate/region.js';
import type { RegionService } from '#shared/translate/region-service.js';
import { CpuReset } from '#shared/x86/cpu-reset.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import type { Lapic } from '#shared/x86/lapic.js';
import { MsrFile } from '#shared/x86/msr.js';
import { ROUTINES, SEMANTICS } from '#shared/x86/semantics/index.js';
import { BlockCache } from './block-cache.js';
import { BlockDecoder } from './block-decoder.js';
import { CodeFetch } from './code-fetch.js';
import { Cpu, type PortBus } from './cpu.js';
import { Engine, type InterpreterImage } from './engine.js';
import { MAX_REGIONS, RegionTier } from './region-tier.js';
import { FlushRequests } from './flush-request.js';
import { Mmu, type PhysicalBus } from './mmu.js';
import { Tlb } from './tlb.js';

/** The parts of a machine's layout that an engine needs. */
export type EngineLayout = Pick<MachineLayout, 'ram' | 'vcpus' | 'shared'>;

export interface EngineImage extends InterpreterImage {
  /** Shape names in table order. */
  readonly shapes: readonly string[];
  /** By table index, see shared/translate/handler-traits.ts. */
  readonly traits: readonly number[];
}

export interface EngineOptions {
  readonly memory: WebAssembly.Memory;
  readonly layout: EngineLayout;
  readonly vcpu: number;
  readonly fabric: InterruptFabric;
  readonly lapic: Lapic;
  readonly bus: PhysicalBus;
  readonly ports: PortBus;
  readonly image: EngineImage;
  /** Executions after which a block is compiled; 0 keeps everything in the interpreter tier. */
  readonly heat?: number;
  /** Who compiles regions; in place when absent. */
  readonly regionService?: RegionService | undefined;
  /** Compiled regions that are kept at most. */
  readonly maxRegions?: number;
  /** Grows with each worker that runs this vCPU. */
  readonly generation?: number;
  /** Counts guest instructions, in code that is generated for it. */
  readonly counts?: boolean;
  report?(): void;
  /** Shows life while the vCPU waits for another. */
  beat?(): void;
  interceptException?(vector: number, errorCode: number): boolean;
  traceInstruction?(): void;
}

export interface CreatedEngine {
  readonly engine: Engine;
  readonly cpu: Cpu;
  readonly reset: CpuReset;
  readonly blocks: BlockCache;
  readonly tlb: Tlb;
  readonly mmu: Mmu;
}

/** Executions of a block before the compiler is asked what it has for it: that costs little. */
const OFFER_HEAT = 128;
/** Tickets of one generation. */
const TICKETS = 1e6;

let image: EngineImage | undefined;

/** The interpreter module that the build generated; compiled once per thread. */
export function loadInterpreterImage(): EngineImage {
  if (image !== undefined) return image;
  const beside = new URL('../../../shared/translate/', import.meta.url);
  // Tests run the sources; what the build generates is in dist alone.
  const folder = existsSync(new URL('interpreter.wasm', beside))
    ? beside
    : new URL('../../../dist/shared/translate/', import.meta.url);
  const file = (name: string): URL => new URL(name, folder);
  const { shapes, helpers, traits } = JSON.parse(readFileSync(file('interpreter.json'), 'utf8')) as {
    shapes: string[];
    helpers: string[];
    traits: number[];
  };
  image = { module: new WebAssembly.Module(readFileSync(file('interpreter.wasm'))), shapes, helpers, traits };
  return image;
}

let shapes: ShapeIndex | undefined;

/** What handlers mean, for compiling in place; made once per thread. */
function shapeIndex(names: readonly string[]): ShapeIndex {
  shapes ??= new ShapeIndex(SEMANTICS, names);
  return shapes;
}

export function createEngine(options: EngineOptions): CreatedEngine {
  const { memory, layout, vcpu, lapic } = options;
  const u8 = new Uint8Array(memory.buffer);
  const i32 = new Int32Array(memory.buffer);
  const view = new DataView(memory.buffer);
  const own = layout.vcpus[vcpu]!;
  const states = layout.vcpus.map((v) => v.state);
  const ram = new GuestMemory(memory, layout.ram);
  const codeMap = new CodeMap(i32, layout.shared.codeMap, layout.ram.ramOffset, states);
  const tlb = new Tlb(u8, i32, own.tlb);
  tlb.announceRam(ram.layout, codeMap, vcpu);
  const blocks = new BlockCache(u8, i32, own.codeCache, own.jumpCache, codeMap, vcpu);
  const mmu = new Mmu({
    u8,
    i32,
    view,
    state: own.state,
    ram,
    tlb,
    codeMap,
    bus: options.bus,
    vcpu,
    lockWord: (layout.shared.codeMap.offset + layout.shared.codeMap.bytes - 32) >>> 2,
    onOwnCodeWrite: (address) => blocks.dropPage(address - (address % 4096)),
  });
  const flushRequests = new FlushRequests(
    i32,
    states,
    vcpu,
    () => cpu.flushTlb(true),
    () => options.beat?.(),
  );
  const writer = new RecordWriter(view, SEMANTICS, options.image.shapes);
  const heat = options.heat ?? 0;
  const asks = options.regionService?.offers !== undefined && heat > OFFER_HEAT;
  const decoder = new BlockDecoder(view, writer, asks ? OFFER_HEAT : heat, options.counts);
  const shared = { u8, i32, state: own.state, ram, mmu, tlb, codeMap, blocks, vcpu };
  const code = new CodeFetch({ ...shared, decoder, flushRequests });
  const wallNs = (): number => Date.now() * 1e6;
  const msrs = new MsrFile(options.fabric, vcpu, lapic, ram, { nowNs: monotonicNs, wallNs });
  const cpu = new Cpu({ ...shared, code, ports: options.ports, lapic, msrs, vcpuCount: layout.vcpus.length });
  const reset = new CpuReset(memory.buffer, own.state.offset);
  const engine = new Engine({
    memory,
    image: options.image,
    i32,
    view,
    state: own.state,
    cpu,
    mmu,
    blocks,
    code,
    flushRequests,
    lapic,
    reset,
    nowNs: monotonicNs,
    counts: options.counts ?? false,
    regionTier: (imports, table) =>
      new RegionTier({
        view,
        i32,
        cpu: own.state.offset >>> 2,
        blocks,
        code,
        traits: Uint8Array.from(options.image.traits),
        heat,
        asks,
        service: options.regionService ?? new LocalCompiler(() => shapeIndex(options.image.shapes), ROUTINES),
        imports,
        table,
        maxRegions: options.maxRegions ?? MAX_REGIONS,
        firstTicket: (options.generation ?? 1) * TICKETS,
      }),
    ...(options.report && { report: options.report }),
    ...(options.interceptException && { interceptException: options.interceptException }),
    ...(options.traceInstruction && { traceInstruction: options.traceInstruction }),
  });
  return { engine, cpu, reset, blocks, tlb, mmu };
}
