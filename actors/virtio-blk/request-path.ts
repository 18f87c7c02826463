// The disk's request path in WebAssembly (shared/virtio/routines/blk-service.ts) on this thread: serves the queue in the place of
// the actor's sleep. It is left out under a fault rule whose point lies on the other path alone, and under --trace.
import { existsSync, readFileSync } from 'node:fs';
import type { ActorContext } from '#shared/ipc/actor.js';
import type { FailpointName } from '#shared/ipc/failpoint-catalogue.js';
import { doorbellIndex, spinOnDoorbell } from '#shared/ipc/doorbell.js';
import type { VirtioBehaviour } from '#shared/virtio/behaviour.js';
import * as B from '#shared/virtio/routines/service-block.js';
import { PENDING } from '#shared/x86/cpu-state.js';
import type { VirtioBlk } from './device.js';

export interface DiskPlan {
  readonly capacitySectors: number;
  readonly readonly: boolean;
}

interface BlkServiceExports {
  service(block: number, timeoutNs: bigint): number;
}

const QUEUE = 0;
/** What the other path passes for each request and each turn. */
const POINTS: readonly FailpointName[] = [
  'loop',
  'inflight.set',
  'request.received',
  'request.executed',
  'used.writing',
  'used.written',
  'inflight.clearing',
  'request.completed',
  'interrupt.sending',
];

let compiled: WebAssembly.Module | undefined;

/** What the build generated; V8 keeps the code of a module once a process, for all its threads. */
function blkServiceModule(): WebAssembly.Module {
  if (compiled !== undefined) return compiled;
  const beside = new URL('../../shared/virtio/routines/blk-service.wasm', import.meta.url);
  // Tests run the sources; what the build generates is in dist alone.
  const file = existsSync(beside)
    ? beside
    : new URL('../../dist/shared/virtio/routines/blk-service.wasm', import.meta.url);
  compiled = new WebAssembly.Module(readFileSync(file));
  return compiled;
}

/** Ahead, on a thread that waits to become an actor. */
export function warmUp(): void {
  blkServiceModule();
}

export class RequestPath {
  readonly #ctx: ActorContext;
  readonly #device: VirtioBlk;
  readonly #transport: VirtioBehaviour['transport'];
  readonly #bell: number;
  /** Word index. */
  readonly #block: number;
  readonly #exports: BlkServiceExports;

  constructor(ctx: ActorContext, device: VirtioBlk, behaviour: VirtioBehaviour, disk: DiskPlan) {
    this.#ctx = ctx;
    this.#device = device;
    this.#transport = behaviour.transport;
    this.#bell = doorbellIndex(ctx.doorbell);
    this.#block = B.serviceBlock(ctx.statePage).offset >>> 2;
    this.#describe(disk);
    const instance = new WebAssembly.Instance(blkServiceModule(), {
      env: { memory: ctx.memory },
      device: {
        ramWritten: (_: number, offset: number, bytes: number): number => {
          behaviour.ramWritten(offset >>> 0, bytes);
          return 0;
        },
        transfer: (): number => this.#transfer(),
        interrupt: (): number => {
          this.#transport.interruptQueue(QUEUE);
          return 0;
        },
      },
    });
    this.#exports = instance.exports as unknown as BlkServiceExports;
  }

  /** In the place of the actor's sleep. */
  waitForWork(timeoutMs: number): void {
    const isWatched = this.#ctx.trace !== undefined || this.#ctx.hasFaultAt(POINTS);
    if (isWatched || !this.#transport.lendQueue(QUEUE, this.#block)) {
      spinOnDoorbell(this.#ctx.views.i32, this.#bell, timeoutMs);
      return;
    }
    this.#exports.service(this.#block << 2, BigInt(Math.round(timeoutMs * 1e6)));
    this.#transport.queues[QUEUE]!.takeBack(this.#block);
  }

  /** The words of the block that stay as they are. */
  #describe({ capacitySectors, readonly }: DiskPlan): void {
    const { doorbell, layout, name, ram, views } = this.#ctx;
    const vcpus = this.#ctx.wire === undefined ? layout.vcpus : [];
    B.fillServiceBlock(views.u32, this.#block, [
      [B.DOORBELL, doorbell.offset],
      [B.HEARTBEAT, layout.actors[name]!.heartbeat.offset],
      [B.RAM, ram.layout.ramOffset],
      [B.LOW_RAM, ram.layout.lowBytes],
      [B.HIGH_RAM, ram.layout.highBytes],
      [B.CODE_MAP, layout.shared.codeMap.offset],
      [B.READ_ONLY, readonly ? 1 : 0],
      [B.CAPACITY, capacitySectors % 0x1_0000_0000],
      [B.CAPACITY + 4, Math.floor(capacitySectors / 0x1_0000_0000)],
      [B.VCPU_COUNT, vcpus.length],
    ]);
    vcpus.forEach(({ lapic, state }, i) => {
      B.fillServiceBlock(views.u32, this.#block + ((i * B.VCPU_BYTES) >>> 2), [
        [B.VCPUS, lapic.offset],
        [B.VCPUS + 4, state.offset + PENDING],
      ]);
    });
  }

  /** Moves the data of the request in the block. Never throws: the routine has taken the request. */
  #transfer(): number {
    const { u8, u32 } = this.#ctx.views;
    const block = this.#block;
    const type = u32[block + (B.REQUEST_TYPE >>> 2)]!;
    const sectorAt = block + (B.REQUEST_SECTOR >>> 2);
    const sector = u32[sectorAt + 1]! * 0x1_0000_0000 + u32[sectorAt]!;
    const end = u32[block + (B.SEGMENT_COUNT >>> 2)]! - 1;
    const views: Uint8Array[] = [];
    for (let segment = 1; segment < end; segment++) {
      const at = block + ((B.SEGMENTS + segment * B.SEGMENT_BYTES) >>> 2);
      const offset = u32[at]!;
      views.push(u8.subarray(offset, offset + u32[at + 1]!));
    }
    return this.#device.transfer(type, sector, views);
  }
}
