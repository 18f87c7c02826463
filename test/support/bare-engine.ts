// One vCPU's wasm engine without a machine around it: an arena, RAM from guest-physical 0, a bus and ports that record.
// For tests of instructions and events.

import { codeMapBytes } from '#shared/memory/code-map.js';
import { ArenaAllocator } from '#shared/memory/arena.js';
import { splitRam } from '#shared/memory/guest-memory.js';
import { JUMP_CACHE_BYTES, TLB_BYTES } from '#shared/translate/op-record.js';
import { buildInterpreterModule } from '#shared/translate/interpreter-module.js';
import * as S from '#shared/x86/cpu-state.js';
import { createInterruptFabric } from '#shared/x86/interrupt-delivery.js';
import { Lapic } from '#shared/x86/lapic.js';
import { ROUTINES, SEMANTICS } from '#shared/x86/semantics/index.js';
import { createEngine, type CreatedEngine } from '#actors/vcpu/engine-wasm/create-engine.js';

const PAGE = 4096;

export interface PortAccess {
  readonly port: number;
  readonly bytes: number;
  readonly value: number;
}

export interface BareEngine extends CreatedEngine {
  /** The state page. */
  readonly state: DataView;
  /** Guest RAM. */
  readonly ram: Uint8Array<ArrayBuffer | SharedArrayBuffer>;
  readonly ramView: DataView;
  readonly lapic: Lapic;
  readonly writes: PortAccess[];
  /** What the next port reads give. */
  readonly reads: number[];
}

let image: Parameters<typeof createEngine>[0]['image'] | undefined;

function interpreterImage(): Parameters<typeof createEngine>[0]['image'] {
  if (image === undefined) {
    const { bytes, shapes, helpers, traits } = buildInterpreterModule(SEMANTICS, ROUTINES);
    image = { module: new WebAssembly.Module(bytes), shapes, helpers, traits };
  }
  return image;
}

/** `heat`: executions after which a block is compiled, in place; 0 for never. */
export function buildBareEngine(ramBytes: number, heat = 0): BareEngine {
  const arena = new ArenaAllocator(2 ** 30);
  const allocate = (bytes: number): { offset: number; bytes: number } => arena.allocate(bytes, PAGE);
  const vcpus = [
    {
      state: allocate(S.CPU_STATE_BYTES),
      lapic: allocate(PAGE),
      tlb: allocate(TLB_BYTES),
      jumpCache: allocate(2 * JUMP_CACHE_BYTES),
      codeCache: allocate(4 * 2 ** 20),
      log: allocate(PAGE),
    },
  ];
  const shared = {
    codeMap: allocate(codeMapBytes(ramBytes)),
    dirtyBitmap: allocate(ramBytes / PAGE / 8),
    chipset: allocate(PAGE),
    machineEvent: allocate(64),
  };
  const ramOffset = allocate(ramBytes).offset;
  const pages = Math.ceil(arena.usedBytes / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
  const layout = { ram: splitRam(ramOffset, ramBytes), vcpus, shared };
  const fabric = createInterruptFabric(memory, layout);
  const lapic = new Lapic(fabric, 0, { nowNs: () => performance.now() * 1e6, ringTicker: () => {} });
  const writes: PortAccess[] = [];
  const reads: number[] = [];
  const ports = {
    portRead: () => reads.shift() ?? 0xffff_ffff,
    portWrite: (port: number, bytes: number, value: number) => void writes.push({ port, bytes, value }),
  };
  const bus = { low: -1, high: -1, read: () => {}, write: () => {} };
  const engine = createEngine({
    memory,
    layout,
    vcpu: 0,
    fabric,
    lapic,
    bus,
    ports,
    image: interpreterImage(),
    heat,
  });
  engine.reset.powerOn(0);
  lapic.reset();
  return {
    ...engine,
    state: new DataView(memory.buffer, vcpus[0]!.state.offset, S.CPU_STATE_BYTES),
    ram: new Uint8Array(memory.buffer, ramOffset, ramBytes) as Uint8Array<SharedArrayBuffer>,
    ramView: new DataView(memory.buffer, ramOffset, ramBytes),
    lapic,
    writes,
    reads,
  };
}
